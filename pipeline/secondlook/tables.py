"""Tables: how do shards become the files of a run? One by one; what they hold is never held together.

Cases, passages and evidence are written a shard at a time, in input order. Only what ranking needs is
kept until the end: a queue's row and a signature for every case, in Arrow's and NumPy's memory. Texts wait on a shelf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from secondlook.copies import Signature
from secondlook.dates import read_dates
from secondlook.ranking import Ranking, Scores, date_text, queue_columns, rank
from secondlook.schema import ScoredCase
from secondlook.scorer import Outcome, Scorer
from secondlook.shards import cases, outcomes, rejected_rows, scored_rows, signatures
from secondlook.shelf import Shelf
from secondlook.spreadsheet import csv_bytes, csv_rows

QUEUE, EVIDENCE, PASSAGES, CASES = (f"{name}.parquet" for name in ("queue", "evidence", "passages", "cases"))
REJECTS = "rejects.csv"
REJECT_COLUMNS = ("file", "row", "case_id", "reason", "set_aside")
ROWS_JOINED = "rows"
"""A column of cases and rejects where rows are joined: how many, with the one that ``row`` names."""

CLEARED = "cleared"
"""A column of cases with triage: whether the first pass alone scored the case."""

ROWS = 16_384
"""Of the queue, written at a time."""

MAY_BE_EMPTY = frozenset({"date_received", "duplicate_of", "similarity", "audit_stratum"})
"""Columns of ours in which a cell may say nothing."""

_TEXT, _WHOLE, _NUMBER, _MOMENT = pa.string(), pa.int64(), pa.float64(), pa.timestamp("ms")
_PLACE = {
    "date_received": _MOMENT,
    "explanation": _TEXT,
    "duplicate_of": _TEXT,
    "similarity": _NUMBER,
    "drawn_for_audit": pa.bool_(),
    "audit_stratum": _WHOLE,
    "inclusion_probability": _NUMBER,
}
"""What ranking adds to a case's scores."""


def columns(modes: Sequence[str], join_rows: bool = False, triage: bool = False) -> dict[str, dict[str, pa.DataType]]:
    """What every table holds, in order. Metadata columns stand behind these in the queue and are anybody's."""
    span = {"start": _WHOLE, "end": _WHOLE}
    more = ({ROWS_JOINED: _WHOLE} if join_rows else {}) | ({CLEARED: pa.bool_()} if triage else {})
    return {
        QUEUE: {"case_id": _TEXT, "rank": _WHOLE, "priority": _NUMBER} | _by_mode(modes) | _PLACE,
        EVIDENCE: {"case_id": _TEXT, "mode": _TEXT, **span, "text": _TEXT, "share": _NUMBER},
        PASSAGES: {"case_id": _TEXT, **span} | {f"z_{mode}": _NUMBER for mode in modes},
        CASES: {"case_id": _TEXT, "file": _TEXT, "row": _WHOLE, "narrative": _TEXT} | more,
    }


def _by_mode(modes: Sequence[str]) -> dict[str, pa.DataType]:
    parts = {"p": _NUMBER, "low": _NUMBER, "high": _NUMBER, "flag": pa.bool_()}
    return {f"{part}_{mode}": kind for mode in modes for part, kind in parts.items()}


@dataclass
class Counted:
    """What became of the input items; ``flagged`` by mode. Rows that were set aside are not among the rejected.

    ``rows_joined`` were read as a part of a row before them, whatever became of that one. Of the scored, ``cleared``
    were scored by the first pass alone.
    """

    scored: int = 0
    rows_rejected: int = 0
    rows_set_aside: int = 0
    rows_joined: int = 0
    files_rejected: int = 0
    complete: bool = True
    cleared: int = 0
    flagged: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """The ranked cases of a run. ``scored`` and ``kept`` have them in the order of the input, as the shelf does.

    ``metadata`` are the names of the input's own columns.
    """

    ranking: Ranking
    scored: Scores
    metadata: Sequence[str]
    kept: pa.Table
    shelf: Shelf
    modes: Sequence[str]

    def fetch(self, rows: Sequence[int]) -> list[ScoredCase]:
        """The cases of some rows, in the order asked for, without what ranking says of them."""
        kept = self.kept.take(pa.array(rows, pa.int64())).to_pylist()
        return [
            ScoredCase(
                case=case,
                rank=0,
                priority=0.0,
                scores={mode: row[f"p_{mode}"] for mode in self.modes},
                intervals={mode: (row[f"low_{mode}"], row[f"high_{mode}"]) for mode in self.modes},
                flags={mode: row[f"flag_{mode}"] for mode in self.modes},
                evidence=evidence,
            )
            for row, (case, evidence) in zip(kept, self.shelf.get(rows), strict=True)
        ]


class TableWriter:
    """Writes the tables of a run into a folder, a shard at a time.

    Args:
        folder: an empty folder.
        scorer: computes what follows from the log-odds.
        shelf: empty; where the cases wait for the queue.
    """

    def __init__(self, folder: Path, scorer: Scorer, shelf: Shelf) -> None:
        self._folder = folder
        self._scorer = scorer
        self._shelf = shelf
        self._modes = scorer.bundle.codebook.mode_ids
        self._join_rows = scorer.config.join_rows
        self._open = ExitStack()
        metadata = {"metadata": pa.map_(_TEXT, _TEXT)}
        own = {"case_id": _TEXT, "date_received": _MOMENT, CLEARED: pa.bool_()}
        self._kept_schema = pa.schema(own | _by_mode(self._modes) | metadata)
        self._kept = [self._kept_schema.empty_table()]
        self._signatures: list[Signature] = []
        self.counted = Counted(flagged=dict.fromkeys(self._modes, 0))

    def __enter__(self) -> Self:
        own = columns(self._modes, self._join_rows, self._scorer.config.triage)
        self._schemas = {name: pa.schema(list(own[name].items())) for name in own}
        self._writers = {
            name: self._open.enter_context(pq.ParquetWriter(self._folder / name, self._schemas[name]))
            for name in (EVIDENCE, PASSAGES, CASES)
        }
        self._rejects = self._open.enter_context((self._folder / REJECTS).open("wb"))
        self._rejects.write(csv_bytes(REJECT_COLUMNS + (ROWS_JOINED,) * self._join_rows, []))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, value, trace)

    def add(self, shard: pa.Table) -> None:
        """Write the rows of a shard, and keep what the queue needs of it."""
        self._count_rejects(shard)
        self.counted.rows_joined += pc.sum(shard["rows"]).as_py() - len(shard)
        scored = scored_rows(shard)
        if not len(scored):
            return
        found = list(outcomes(scored, self._scorer))
        self._writers[CASES].write_table(scored.select(self._schemas[CASES].names))
        self._write(PASSAGES, _passage_columns(scored, len(self._modes), self._modes))
        self._write(EVIDENCE, _evidence_columns(scored, found))
        for case, outcome in zip(cases(scored), found, strict=True):
            self._shelf.add(case, outcome.evidence)
        self._keep(scored, found)
        self.counted.scored += len(scored)
        self.counted.cleared += pc.sum(scored[CLEARED]).as_py()
        for mode in self._modes:
            self.counted.flagged[mode] += sum(one.flags[mode] for one in found)

    def write_queue(self) -> Ranked:
        """Rank the cases and write the queue."""
        codebook, config = self._scorer.bundle.codebook, self._scorer.config
        together = pa.concat_tables(self._kept)
        metadata, kept = together["metadata"], together.drop_columns("metadata").combine_chunks()
        scored = self._scores(kept)
        ranking = rank(scored, codebook, config, lambda row: self._shelf.get([row])[0][0].narrative)
        own = self._schemas[QUEUE].names
        names = list(dict.fromkeys(name for part in self._kept for name in _metadata_names(part["metadata"])))
        titles = _titles(names, own)
        schema = pa.schema([*self._schemas[QUEUE], *((title, pa.string()) for title in titles)])
        with pq.ParquetWriter(self._folder / QUEUE, schema) as writer:
            for start in range(0, len(ranking), ROWS):
                places = range(start, min(start + ROWS, len(ranking)))
                rows = pa.array(ranking.rows[places.start : places.stop])
                found = {name: kept[name].take(rows) for name in kept.column_names}
                found["rank"] = pa.array(np.arange(places.start + 1, places.stop + 1))
                found["priority"] = pa.array(ranking.priority[places.start : places.stop])
                found |= queue_columns(ranking, scored, codebook, config, places)
                extra = dict(zip(titles, _metadata_columns(metadata.take(rows), names), strict=True))
                writer.write_table(pa.table({name: found[name] for name in own} | extra, schema))
        return Ranked(ranking, scored, names, kept, self._shelf, self._modes)

    def _scores(self, kept: pa.Table) -> Scores:
        return Scores(
            case_ids=kept["case_id"].combine_chunks(),
            scores=self._of_every_mode(kept, "p"),
            flags=self._of_every_mode(kept, "flag"),
            received=kept["date_received"].to_numpy(),
            signatures=np.concatenate(self._signatures) if self._signatures else None,
            cleared=kept[CLEARED].to_numpy(zero_copy_only=False) if self._scorer.config.triage else None,
        )

    def _of_every_mode(self, kept: pa.Table, part: str) -> np.ndarray:
        """*Shape:* ``(cases, modes)``."""
        return np.column_stack([kept[f"{part}_{mode}"].to_numpy() for mode in self._modes])

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        self._writers[name].write_table(pa.table(dict(table), self._schemas[name]))

    def _count_rejects(self, shard: pa.Table) -> None:
        rejects = rejected_rows(shard)
        self._rejects.write(
            csv_rows((r.file, r.row, r.case_id, r.reason, r.set_aside) + (r.rows,) * self._join_rows for r in rejects)
        )
        set_aside, of_files = sum(r.set_aside for r in rejects), sum(r.row is None for r in rejects)
        self.counted.rows_set_aside += set_aside
        self.counted.files_rejected += of_files
        self.counted.rows_rejected += len(rejects) - set_aside - of_files
        self.counted.complete &= not any(item.rest_unread for item in rejects)

    def _keep(self, scored: pa.Table, found: Sequence[Outcome]) -> None:
        """Keep what ranking and the queue need of the cases of a shard."""
        config = self._scorer.config
        kept: dict[str, Any] = {name: scored[name] for name in ("case_id", CLEARED, "metadata")}
        for mode in self._modes:
            kept[f"p_{mode}"] = [one.scores[mode] for one in found]
            kept[f"low_{mode}"] = [one.intervals[mode][0] for one in found]
            kept[f"high_{mode}"] = [one.intervals[mode][1] for one in found]
            kept[f"flag_{mode}"] = [one.flags[mode] for one in found]
        dates: list[str | None] = [None] * len(scored)
        if config.date_column:
            said = pc.map_lookup(scored["metadata"], pa.scalar(config.date_column), "first").to_pylist()
            dates = [date_text(text, config) for text in said]
        kept["date_received"] = pa.array(read_dates(dates, config.date_order))
        self._kept.append(pa.table(kept, self._kept_schema))
        if (own := signatures(scored)) is not None:
            self._signatures.append(own)


def _passage_columns(scored: pa.Table, modes: int, names: Sequence[str]) -> dict[str, Any]:
    starts, ends, log_odds = (scored[name].combine_chunks() for name in ("starts", "ends", "log_odds"))
    values = pc.list_flatten(log_odds).to_numpy().reshape(-1, modes)
    own = {
        "case_id": scored["case_id"].take(pc.list_parent_indices(starts)),
        "start": pc.list_flatten(starts),
        "end": pc.list_flatten(ends),
    }
    return own | {f"z_{mode}": np.ascontiguousarray(values[:, column]) for column, mode in enumerate(names)}


def _evidence_columns(scored: pa.Table, found: Sequence[Outcome]) -> dict[str, Any]:
    rows = []
    for case_id, narrative, outcome in zip(scored["case_id"], scored["narrative"], found, strict=True):
        text = narrative.as_py()
        for item in outcome.evidence:
            rows.append((case_id.as_py(), item.mode, *item.span, text[slice(*item.span)], item.share))
    names = ("case_id", "mode", "start", "end", "text", "share")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _titles(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Columns for metadata; none replaces one of ours, nor another."""
    own = dict.fromkeys(taken)
    for name in names:
        while name in own:
            name = f"meta_{name}"
        own[name] = None
    return list(own)[len(taken) :]


def _metadata_names(maps: pa.ChunkedArray) -> list[str]:
    names: list[str] = pc.unique(maps.combine_chunks().keys).to_pylist()
    return names


def _metadata_columns(maps: pa.ChunkedArray, names: Sequence[str]) -> Iterator[pa.Array]:
    """A column for every name, in one pass over the entries."""
    flat = maps.combine_chunks()
    rows = np.repeat(np.arange(len(flat)), np.diff(flat.offsets.to_numpy()))
    codes = pc.index_in(flat.keys, pa.array(names, pa.string())).to_numpy()
    by_name = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[by_name], np.arange(len(names) + 1))
    for start, end in pairwise(ends):
        entries = np.full(len(flat), -1)
        entries[rows[by_name[start:end]]] = by_name[start:end]
        yield flat.items.take(pa.array(entries, mask=entries < 0))
