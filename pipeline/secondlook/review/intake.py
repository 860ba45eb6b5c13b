"""Intake: how does a run get onto the desk? Once, whole or not at all, and never held in memory as a whole.

The files of a run have its cases in two orders: texts and evidence in that of the input, the queue in its own. So the
texts wait on a shelf, in a file without a name, until the queue asks for them. That, and the order in which cases are
unlike each other, is done before the desk is written to, so that reviewers wait for the writing alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from secondlook.bundle import Bundle
from secondlook.config import ReviewConfig
from secondlook.errors import DeskError, RunError
from secondlook.review import record, search
from secondlook.review.assignment import arms_of, lot_of
from secondlook.review.database import Desk, Lock, align_keys, insert_rows
from secondlook.review.record import Action, storable
from secondlook.review.tables import Arm, Base, CaseRow, EvidenceRow, FieldRow, Run, ScoreRow, Status, mode_bit
from secondlook.runs import RESTORE, RunManifest, check_files, read_manifest, table_parts
from secondlook.schema import Case, Evidence, Span
from secondlook.shelf import Shelf
from secondlook.storage import MANIFEST, file_digest
from secondlook.tables import CASES, EVIDENCE, QUEUE, columns

MOST_FIELDS = 50
"""Of the input's own columns, the first so many can be filtered by."""

LONGEST_FIELD = 200
"""Characters of a value that can be filtered by."""

_ROWS = 250

_SAID = (
    *("case_id", "rank", "priority", "explanation", "received"),
    *("drawn_for_audit", "audit_stratum", "inclusion_probability"),
    *("file", "row", "narrative", "details"),
)
"""What a case's digest is over, beside its original, its scores and its evidence."""

Row = dict[str, Any]


@dataclass
class _Shelved:
    """The texts of a run: by case id their numbers on the shelf, and by number their place in the order of variety."""

    shelf: Shelf
    numbers: dict[str, int]
    diversity: NDArray[np.int64]


@dataclass
class _Rows:
    """What goes into the tables of some cases."""

    cases: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    evidence: list[Row] = field(default_factory=list)
    fields: list[Row] = field(default_factory=list)
    texts: list[tuple[int, str]] = field(default_factory=list)


def add_run(
    desk: Desk,
    folder: Path,
    bundle: Bundle | None,
    config: ReviewConfig,
    now: datetime,
    progress: Progress | None = None,
) -> Run:
    """Put a run on the desk; one that is there already stays as it is.

    Args:
        desk: where to.
        folder: what scoring wrote. Every file's digest is checked first.
        bundle: what it was scored with, if it is at hand; another one is taken for none (see :func:`without_bundle`).
        config: which cases are read twice.
        now: the moment it is added.
        progress: where to say how far it is.

    Raises:
        DeskError: the folder is no run, is damaged or of another version, or the desk cannot be written.
    """
    try:
        manifest = read_manifest(folder)
        digest = file_digest(folder / MANIFEST)
        with desk.reading() as session:
            if found := find_run(session, digest):
                return found
        if problems := check_files(folder, manifest):
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise DeskError(f"{folder}: the run cannot be put on the desk: {problems[0]}{more}")
        with Shelf(_room(desk, folder)) as shelf:
            shelved = _shelve(folder, manifest, shelf, config)
            with desk.writing(Lock.INTAKE) as session:
                return find_run(session, digest) or _Intake(
                    session, folder, manifest, _new_run(folder, manifest, digest, bundle, now), config
                ).add(shelved, progress)
    except RunError as cause:
        raise DeskError(str(cause)) from None
    except OSError as cause:
        raise DeskError(
            f"{folder}: cannot be put on the desk ({cause.strerror}); free some space, or allow it"
        ) from None


def find_run(session: Session, digest: str) -> Run | None:
    """The run on the desk whose manifest has this SHA-256."""
    return session.scalars(select(Run).where(Run.digest == digest)).one_or_none()


def without_bundle(run: Run) -> str | None:
    """What to say of a run whose bundle was not at hand; None where it was."""
    if run.thresholds:
        return None
    return (
        f"{run.name}: its bundle '{run.bundle_name}' ({run.bundle_digest[:12]}) was not at hand: modes are shown by "
        "their ids, and operating points and cases near them are not known; on another desk, give --bundle its folder"
    )


def case_digests(session: Session, cases: Sequence[CaseRow]) -> Iterator[str]:
    """The digests of cases, computed again from what is stored; give few enough to be held."""
    keys = [case.id for case in cases]
    originals = dict(
        session.execute(
            select(CaseRow.id, CaseRow.case_id).where(CaseRow.id.in_({c.original_id for c in cases if c.original_id}))
        )
        .tuples()
        .all()
    )
    long = {
        key: (narrative, details)
        for key, narrative, details in session.execute(
            select(CaseRow.id, CaseRow.narrative, CaseRow.details).where(CaseRow.id.in_(keys))
        )
    }
    scores = _by_case(session.execute(select(*_columns(ScoreRow, _SCORE)).where(ScoreRow.case_id.in_(keys))).mappings())
    evidence = _by_case(
        session.execute(select(*_columns(EvidenceRow, _PASSAGE)).where(EvidenceRow.case_id.in_(keys))).mappings()
    )
    for case in cases:
        said = {name: getattr(case, name) for name in _SAID if name not in ("narrative", "details")}
        said["narrative"], said["details"] = long[case.id]
        original = originals.get(case.original_id) if case.original_id else None
        yield _digest(said, original, scores.get(case.id, []), evidence.get(case.id, []))


_SCORE = ("mode", "score", "low", "high", "flag")
_PASSAGE = ("mode", "start", "end", "share")


def _columns(table: type[ScoreRow | EvidenceRow], names: Sequence[str]) -> list[Any]:
    return [getattr(table, name) for name in ("case_id", *names)]


def _by_case(rows: Any) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["case_id"], []).append(row)
    return found


def _digest(
    case: Mapping[str, Any],
    original: str | None,
    scores: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, Any]],
) -> str:
    said = [
        [case[name] for name in _SAID],
        original,
        sorted([row[name] for name in _SCORE] for row in scores),
        sorted([row[name] for name in _PASSAGE] for row in evidence),
    ]
    content = json.dumps(said, sort_keys=True, separators=(",", ":"), default=datetime.isoformat)
    return hashlib.sha256(content.encode()).hexdigest()


def _new_run(folder: Path, manifest: RunManifest, digest: str, bundle: Bundle | None, now: datetime) -> Run:
    """A run as its row, without its cases."""
    if bundle is not None and bundle.digest == manifest.bundle.digest:
        codebook = bundle.codebook.model_dump(
            mode="json", include={"name": True, "version": True, "modes": {"__all__": set(_MODE)}}
        )
        thresholds = {mode: settings.operating_point.threshold for mode, settings in bundle.modes.items()}
    else:
        modes = [dict(zip(_MODE, (mode, mode, "", 1.0, "required"), strict=True)) for mode in manifest.counts.flagged]
        codebook, thresholds = {"name": manifest.bundle.name, "version": "", "modes": modes}, {}
    return Run(
        digest=digest,
        cases_digest="",
        name=folder.resolve().name,
        folder=str(folder.resolve()),
        bundle_name=manifest.bundle.name,
        bundle_digest=manifest.bundle.digest,
        config_digest=manifest.config.digest,
        codebook=codebook,
        thresholds=thresholds,
        cases=manifest.counts.scored,
        added_at=now,
    )


_MODE = ("id", "title", "definition", "severity", "evidence")


def _room(desk: Desk, folder: Path) -> Path:
    """A folder on whose disk texts may wait: where the desk keeps them, or where the run does."""
    return Path(str(desk.engine.url.database)).resolve().parent if desk.is_sqlite else folder


def _shelve(folder: Path, manifest: RunManifest, shelf: Shelf, config: ReviewConfig) -> _Shelved:
    """Put texts and evidence on the shelf, and find the order in which cases are unlike each other."""
    from secondlook.review.learning import diversity_order  # scikit-learn takes a second to load

    modes = list(manifest.counts.flagged)
    evidence = groupby(_records(folder, EVIDENCE, modes), itemgetter("case_id"))
    waiting = next(evidence, None)
    numbers: dict[str, int] = {}

    def narratives() -> Iterator[str]:
        nonlocal waiting
        for row in _records(folder, CASES, modes):
            own: tuple[Evidence, ...] = ()
            if waiting and waiting[0] == row["case_id"]:
                own = tuple(Evidence(e["mode"], Span(e["start"], e["end"]), e["share"]) for e in waiting[1])
                waiting = next(evidence, None)
            numbers[row["case_id"]] = len(numbers)
            shelf.add(Case(row["case_id"], row["narrative"], {}, row["file"], row["row"]), own)
            yield row["narrative"]

    order = diversity_order(narratives(), config.seed)
    if waiting or len(numbers) != manifest.counts.scored:
        raise RunError(f"{folder}: its files do not have the same cases; {RESTORE}")
    diversity = np.empty(len(order), np.int64)
    diversity[order] = np.arange(1, len(order) + 1)
    return _Shelved(shelf, numbers, diversity)


def _records(folder: Path, name: str, modes: Sequence[str]) -> Iterator[Row]:
    for part in table_parts(folder, name, modes, _ROWS):
        yield from part.to_pylist()


class _Intake:
    """Writes the rows of one run."""

    def __init__(self, session: Session, folder: Path, manifest: RunManifest, run: Run, config: ReviewConfig) -> None:
        self._session = session
        self._folder = folder
        self._modes = list(manifest.counts.flagged)
        self._own = frozenset(columns(self._modes)[QUEUE])
        self._run = run
        self._config = config
        self._original = ("", 0)

    def add(self, shelved: _Shelved, progress: Progress | None) -> Run:
        """Write the run, its cases, and the entry in the record."""
        self._session.add(self._run)
        self._session.flush()
        # Keys follow the ranks, so that cases that are shown together lie together.
        self._before = self._session.scalars(select(func.coalesce(func.max(CaseRow.id), 0))).one()
        task = progress.add_task("putting the run on the desk", total=self._run.cases) if progress else None
        digests: list[str] = []
        for part in table_parts(self._folder, QUEUE, self._modes, _ROWS):
            self._filters = [name for name in part.column_names if name not in self._own][:MOST_FIELDS]
            rows = self._rows(part.to_pylist(), shelved)
            if [row["rank"] for row in rows.cases] != list(range(len(digests) + 1, len(digests) + 1 + len(rows.cases))):
                raise RunError(f"{self._folder}: {QUEUE}: its ranks do not count up from 1; {RESTORE}")
            self._insert(rows)
            digests += (row["digest"] for row in rows.cases)
            if progress and task is not None:
                progress.advance(task, len(rows.cases))
        if len(digests) != self._run.cases:
            raise RunError(f"{self._folder}: {QUEUE}: has {len(digests)} of {self._run.cases} cases; {RESTORE}")
        self._finish(record.together(digests))
        return self._run

    def _rows(self, queue: Sequence[Row], shelved: _Shelved) -> _Rows:
        rows = _Rows()
        try:
            numbers = [shelved.numbers[row["case_id"]] for row in queue]
        except KeyError:
            raise RunError(f"{self._folder}: its files do not have the same cases; {RESTORE}") from None
        for row, number, (case, evidence) in zip(queue, numbers, shelved.shelf.get(numbers), strict=True):
            self._add_case(rows, row, case, evidence, int(shelved.diversity[number]))
        return rows

    def _add_case(self, rows: _Rows, row: Row, case: Case, evidence: Sequence[Evidence], diversity: int) -> None:
        key = self._before + row["rank"]
        details = {name: value for name, value in row.items() if name not in self._own and value is not None}
        scores = [
            {"mode": mode} | {part: row[f"{sign}_{mode}"] for part, sign in _SIGNS.items()} for mode in self._modes
        ]
        passages = [dict(zip(_PASSAGE, (e.mode, *e.span, e.share), strict=True)) for e in evidence]
        original, original_id = self._original_of(row, key)
        arms = self._arms(row)
        own = {
            "case_id": storable(row["case_id"]),
            "explanation": storable(row["explanation"]),
            "received": row["date_received"] and row["date_received"].replace(tzinfo=UTC),
            "file": storable(case.file),
            "row": case.row,
            "narrative": case.narrative,
            "details": details,
        }
        own |= {name: row[name] for name in _SAID if name not in own}
        rows.cases.append(
            own
            | {
                "id": key,
                "run_id": self._run.id,
                "digest": _digest(own, original, scores, passages),
                "original_id": original_id,
                "copies": 0,
                "status": Status.OPEN,
                "arms": arms,
                "unprompted": Arm.UNPROMPTED in arms,
                "next_arm": arms[0],
                "uncertainty": uncertainty({s["mode"]: s["score"] for s in scores}, self._run.thresholds),
                "flagged": sum(mode_bit(self._run.codebook, s["mode"]) for s in scores if s["flag"]),
                "diversity": diversity,
                "lot": lot_of(self._config, self._run.digest, row["case_id"]),
            }
        )
        placed = {"case_id": key, "run_id": self._run.id}
        rows.scores += (score | placed | {"rank": row["rank"]} for score in scores)
        rows.evidence += (passage | {"case_id": key} for passage in passages)
        rows.fields += (placed | {"name": name, "value": value} for name, value in _fields(row, self._filters))
        rows.texts.append((key, words_of_case(row["case_id"], case.narrative, details)))

    def _original_of(self, row: Row, key: int) -> tuple[str | None, int | None]:
        """The id and the key of the case that this one copies; copies stand directly behind it."""
        copied = row["duplicate_of"]
        if copied is None:
            self._original = (row["case_id"], key)
            return None, None
        if copied != self._original[0]:
            raise RunError(f"{self._folder}: {QUEUE}: a copy does not stand behind its original; {RESTORE}")
        return storable(copied), self._original[1]

    def _arms(self, row: Row) -> list[Arm]:
        """A copy is read with its original, and so never twice."""
        if row["duplicate_of"] is not None:
            return [Arm.PROMPTED]
        return arms_of(self._config, self._run.digest, row["case_id"])

    def _insert(self, rows: _Rows) -> None:
        for name, own in (
            (CaseRow.__tablename__, rows.cases),
            (ScoreRow.__tablename__, rows.scores),
            (EvidenceRow.__tablename__, rows.evidence),
            (FieldRow.__tablename__, rows.fields),
        ):
            insert_rows(self._session, Base.metadata.tables[name], own)
        search.add_to_index(self._session, rows.texts)

    def _finish(self, cases_digest: str) -> None:
        run = {"run": self._run.id}
        self._session.execute(text(_COUNT_COPIES), run)
        align_keys(self._session, Base.metadata.tables[CaseRow.__tablename__])
        self._run.cases_digest = cases_digest
        record.append(self._session, record.SYSTEM, Action.RUN_ADDED, run=self._run.digest, detail=sealed(self._run))


_SIGNS = {"score": "p", "low": "low", "high": "high", "flag": "flag"}

_COUNT_COPIES = """
UPDATE cases SET copies = (SELECT count(*) FROM cases AS copy WHERE copy.original_id = cases.id)
WHERE id IN (SELECT original_id FROM cases WHERE run_id = :run AND original_id IS NOT NULL)
"""


def uncertainty(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> float:
    """How near the nearest score lies to its operating point: 1 on it, 0 as far from it as can be.

    >>> uncertainty({"a": 0.5, "b": 0.1}, {"a": 0.5, "b": 0.5}), uncertainty({"a": 0.5}, {})
    (1.0, 0.0)
    """
    near = (
        1 - min(1.0, abs(scores[mode] - threshold) / max(threshold, 1 - threshold))
        for mode, threshold in thresholds.items()
    )
    return max(near, default=0.0)


def sealed(run: Run) -> dict[str, Any]:
    """What the record keeps of a run when it is added, so that a later change of its rows is found."""
    told = json.dumps([run.codebook, run.thresholds], sort_keys=True, separators=(",", ":"))
    return {
        "name": run.name,
        "bundle": {"name": run.bundle_name, "digest": run.bundle_digest},
        "config_digest": run.config_digest,
        "thresholds": run.thresholds,
        "codebook_digest": hashlib.sha256(told.encode()).hexdigest(),
        "cases": run.cases,
        "cases_digest": run.cases_digest,
    }


def words_of_case(case_id: str, narrative: str, details: Mapping[str, str]) -> str:
    """The text in which a case is to be found."""
    return "\n".join((case_id, narrative, *details.values()))


def _fields(row: Row, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values to filter by, cut to what that needs; what is empty is left out."""
    own: dict[str, str] = {}
    for name in names:
        if row[name] and not row[name].isspace():
            own.setdefault(storable(name)[:LONGEST_FIELD], row[name][:LONGEST_FIELD])
    yield from own.items()
