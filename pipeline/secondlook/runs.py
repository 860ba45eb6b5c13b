"""A run folder, read back: whatever happened to its files, every problem gets a name.

Only a folder that is no run at all raises. A file that is missing, damaged or changed is a
:class:`Mismatch`, and what the other files hold can still be looked at.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from secondlook.config import Strict, parse
from secondlook.errors import RunError
from secondlook.schema import Span
from secondlook.score import FILES, FORMAT, KIND, NAMES
from secondlook.spreadsheet import csv_bytes
from secondlook.storage import MANIFEST, file_digest, holds, inventory, is_named, write_whole
from secondlook.tables import CASES, CLEARED, EVIDENCE, MAY_BE_EMPTY, PASSAGES, QUEUE, REJECTS, ROWS_JOINED, columns

RESTORE = "restore the folder from a copy, or score the inputs again"
TOLERANCE = 1e-9
"""How far the same number may lie apart when it is computed elsewhere: sums run in another order there."""

Array = NDArray[np.float64]
_Count = Annotated[int, Field(ge=0)]
_Columns = Mapping[str, pa.DataType]


class Counts(Strict):
    """What became of the input rows; ``flagged`` counts flags by mode, in the codebook's order.

    ``joined`` were read as a part of a row before them, whatever became of that one.
    Of the scored, ``cleared`` were so by the first pass alone, ``copies`` are read as others, ``drawn`` for the audit;
    ``undated`` lack a date that was asked for.
    """

    rows: _Count
    scored: _Count
    joined: _Count
    rejected: _Count
    set_aside: _Count
    files_rejected: _Count
    complete: bool
    flagged: dict[str, _Count]
    cleared: _Count
    copies: _Count
    drawn: _Count
    undated: _Count


class NamedBundle(Strict):
    """The bundle that a run was scored with."""

    name: str
    digest: str


class Choices(Strict):
    """The configuration of a run and its digest."""

    digest: str
    values: dict[str, Any]


class RunManifest(Strict):
    """The contents of a run's ``manifest.json``."""

    format: str
    counts: Counts
    inputs: dict[str, str]
    bundle: NamedBundle
    config: Choices
    versions: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that does not fit: the file, the case if it is one case's, what, and what to do about it."""

    file: str
    what: str
    remedy: str
    case_id: str | None = None

    def __str__(self) -> str:
        case = "" if self.case_id is None else f", case {self.case_id}"
        return f"{self.file}{case}: {self.what}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A line of ``rejects.csv``; ``row`` is None and ``case_id`` empty where a whole file was rejected.

    ``set_aside`` says that it could have been scored, and that the run was not asked to, ``rows`` how many
    were joined into it, with the one that ``row`` names.
    """

    file: str
    row: int | None
    case_id: str
    reason: str
    set_aside: bool = False
    rows: int = 1


@dataclass(frozen=True)
class StoredRun:
    """What could be read of a run. ``tables`` holds the files whose columns fit, ``rejects`` is None if damaged."""

    folder: Path
    manifest: RunManifest
    tables: Mapping[str, pd.DataFrame]
    rejects: Sequence[StoredReject] | None
    problems: tuple[Mismatch, ...]

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that the run was scored for."""
        return tuple(self.manifest.counts.flagged)


@dataclass(frozen=True, slots=True)
class StoredCase:
    """What the files say of one case; None where a file or its row is missing.

    ``passages_known`` says whether there is a table of passages at all; ``evidence`` is mode, span, text and share;
    ``cleared`` whether the first pass alone scored it, None without triage.
    *Shape of* ``log_odds``: ``(passages, modes)``.
    """

    case_id: str
    narrative: str | None
    row: Mapping[str, Any] | None
    passages_known: bool
    spans: list[Span]
    log_odds: Array
    evidence: list[tuple[str, Span, str, float]] | None
    cleared: bool | None = None


def read_run(folder: Path) -> StoredRun:
    """Read a run folder and check every file's SHA-256.

    Raises:
        RunError: the folder is no run, or of another format, or its manifest is damaged.
    """
    manifest = read_manifest(folder)
    problems = check_files(folder, manifest)
    tables = {}
    more = (manifest.config.values.get(choice) is True for choice in ("join_rows", "triage"))
    for name, kinds in columns(tuple(manifest.counts.flagged), *more).items():
        found = _read_table(folder / name, kinds)
        if isinstance(found, pd.DataFrame):
            tables[name] = found
        elif found:
            problems.append(found)
    rejects = _read_rejects(folder / REJECTS)
    if isinstance(rejects, Mismatch):
        problems.append(rejects)
    return StoredRun(folder, manifest, tables, rejects if isinstance(rejects, list) else None, tuple(problems))


def read_manifest(folder: Path) -> RunManifest:
    """What a run says of itself.

    Raises:
        RunError: the folder is no run, or of another format, or its manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder}: is not a run: it has no {MANIFEST}; give the folder that scoring wrote") from None
    except (OSError, ValueError, RecursionError) as cause:
        raise RunError(f"{path}: cannot be read ({type(cause).__name__}); {RESTORE}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise RunError(
            f"{path}: the run has the format '{str(found)[:80]}' and this version reads '{FORMAT}'; "
            "install the version that made it, or score the inputs again"
        )
    return parse(path, data, RunManifest, RunError)


def check_files(folder: Path, manifest: RunManifest) -> list[Mismatch]:
    """What of a run's files is missing, or is not what the manifest says."""
    pages = {name for name in {*manifest.files, *inventory(folder)} if is_named(name, NAMES)}
    names = sorted((FILES | pages) - {MANIFEST})
    checked = {name: _check_file(folder, name, manifest.files.get(name)) for name in names}
    problems = [
        Mismatch(MANIFEST, f"gives a digest of '{name}', which is no part of a run", RESTORE)
        for name in sorted(manifest.files.keys() - checked.keys())
    ]
    return problems + [problem for problem in checked.values() if problem]


def table_parts(folder: Path, name: str, modes: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """A table of a run, so many rows at a time, so that one of any length can be read.

    Raises:
        RunError: it is damaged, or lacks a column.
    """
    kinds = columns(modes)[name]
    try:
        with pq.ParquetFile(folder / name) as file:
            for batch in file.iter_batches(rows):
                part = pa.Table.from_batches([batch])
                part.validate(full=True)
                if fault := next(_faults(part, kinds), None):
                    raise RunError(str(Mismatch(name, fault, RESTORE)))
                yield part
    except RunError:
        raise
    except Exception as cause:  # damaged bytes fail in many ways; the message could quote a narrative
        what = f"is damaged and cannot be read as Parquet ({type(cause).__name__})"
        raise RunError(str(Mismatch(name, what, RESTORE))) from None


def stored_cases(run: StoredRun) -> Iterator[StoredCase]:
    """The cases of a run as its files have them, in the queue's order."""
    tables = run.tables
    narratives = dict(zip(tables[CASES]["case_id"], tables[CASES]["narrative"], strict=True)) if CASES in tables else {}
    cases = tables.get(CASES)
    cleared = dict(zip(cases["case_id"], cases[CLEARED], strict=True)) if cases is not None and CLEARED in cases else {}
    queue = rows_by_case(tables[QUEUE]) if QUEUE in tables else {}
    passages, evidence = (_places(tables.get(name)) for name in (PASSAGES, EVIDENCE))
    for case_id in dict.fromkeys([*queue, *narratives]):
        own = tables[PASSAGES].iloc[passages[case_id]] if case_id in passages else None
        shown = tables[EVIDENCE].iloc[evidence[case_id]] if case_id in evidence else None
        yield StoredCase(
            case_id=case_id,
            narrative=narratives.get(case_id),
            row=queue.get(case_id),
            passages_known=PASSAGES in tables,
            spans=[] if own is None else _spans(own),
            log_odds=np.zeros((0, len(run.modes))) if own is None else own[[f"z_{m}" for m in run.modes]].to_numpy(),
            evidence=_evidence(shown) if EVIDENCE in tables else None,
            cleared=cleared.get(case_id),
        )


def rows_by_case(table: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """The rows of a table that has one for a case; the last one where it has several."""
    names = [str(name) for name in table.columns]
    values = zip(*(table[name].tolist() for name in names), strict=True)
    rows = (dict(zip(names, row, strict=True)) for row in values)
    return {row["case_id"]: row for row in rows}


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table that any spreadsheet opens; what is not known is an empty cell.

    Raises:
        RunError: the file would lie in a run, which scoring then takes for something else and refuses to replace, or
            cannot be written.
    """
    parent = path.parent.resolve()
    if run := next((folder for folder in (parent, *parent.parents) if holds(folder, KIND)), None):
        raise RunError(
            f"{path}: lies in the run {run}, which holds nothing but its own files; give --out another place"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, csv_bytes(columns, rows))
    except OSError as cause:
        raise RunError(f"{path}: cannot be written ({cause.strerror}); give --out another place") from None


def _places(table: pd.DataFrame | None) -> dict[str, NDArray[np.intp]]:
    """Where the rows of each case stand in a table."""
    if table is None:
        return {}
    return {str(case_id): np.asarray(rows) for case_id, rows in table.groupby("case_id", sort=False).indices.items()}


def _spans(rows: pd.DataFrame) -> list[Span]:
    return [Span(int(start), int(end)) for start, end in zip(rows["start"], rows["end"], strict=True)]


def _evidence(rows: pd.DataFrame | None) -> list[tuple[str, Span, str, float]]:
    if rows is None:
        return []
    return list(zip(rows["mode"], _spans(rows), rows["text"], rows["share"].astype(float), strict=True))


def _check_file(folder: Path, name: str, digest: str | None) -> Mismatch | None:
    """Whether a file is there, and is what the manifest says."""
    try:
        found = file_digest(folder / name)
    except FileNotFoundError:
        return Mismatch(name, "is missing", RESTORE)
    except OSError as cause:
        return Mismatch(name, f"cannot be read ({cause.strerror})", "allow it to be read, or restore it")
    if digest is None:
        return Mismatch(MANIFEST, f"gives no digest of {name}", RESTORE)
    if found != digest:
        return Mismatch(name, "was changed since the run was written: its SHA-256 is another", RESTORE)
    return None


def _read_table(path: Path, kinds: _Columns) -> pd.DataFrame | Mismatch | None:
    """The columns of a table; None if there is no such file, which is named already."""
    if not path.is_file():
        return None
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
        if fault := next(_faults(table, kinds), None):
            return Mismatch(path.name, fault, RESTORE)
        frame: pd.DataFrame = table.select(list(kinds)).to_pandas()
    except Exception as cause:  # damaged bytes fail in many ways; the message could quote a narrative
        return Mismatch(path.name, f"is damaged and cannot be read as Parquet ({type(cause).__name__})", RESTORE)
    return frame


def _faults(table: pa.Table, kinds: _Columns) -> Iterator[str]:
    for name, kind in kinds.items():
        places = table.schema.get_all_field_indices(name)
        if len(places) != 1:
            yield f"has {len(places)} columns '{name}' where it should have one"
        elif table.schema.field(places[0]).type != kind:
            yield f"column '{name}' holds {table.schema.field(places[0]).type} where it should hold {kind}"
        elif (empty := table.column(places[0]).null_count) and name not in MAY_BE_EMPTY:
            yield f"column '{name}' has {empty} empty cells"


def _read_rejects(path: Path) -> list[StoredReject] | Mismatch | None:
    """The lines of ``rejects.csv``; None if there is no such file, which is named already."""
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            return [
                StoredReject(
                    file=line["file"] or "",
                    row=int(line["row"]) if line["row"] else None,
                    case_id=line["case_id"],
                    reason=line["reason"],
                    set_aside=bool(int(line["set_aside"])),
                    rows=int(line.get(ROWS_JOINED) or 1),
                )
                for line in lines
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as cause:
        return Mismatch(path.name, f"is damaged and cannot be read ({type(cause).__name__})", RESTORE)
