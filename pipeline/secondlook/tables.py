"""Tables: how do shards become the files of a run? One by one; what they hold is never held together.

Cases, passages and evidence are written a shard at a time, in input order. Only what ranking needs is
kept until the end: a queue's row for every case, in Arrow's memory.
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

from secondlook.scorer import Outcome, Scorer
from secondlook.shards import outcomes, rejected_rows, scored_rows
from secondlook.spreadsheet import csv_bytes, csv_rows

QUEUE, EVIDENCE, PASSAGES, CASES = (f"{name}.parquet" for name in ("queue", "evidence", "passages", "cases"))
REJECTS = "rejects.csv"
ROWS = 16_384
"""Of the queue, written at a time."""

_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()


def columns(modes: Sequence[str]) -> dict[str, dict[str, pa.DataType]]:
    """What every table holds, in order. Metadata columns stand behind these in the queue and are anybody's."""
    span = {"start": _WHOLE, "end": _WHOLE}
    parts = {"p": _NUMBER, "low": _NUMBER, "high": _NUMBER, "flag": pa.bool_()}
    by_mode = {f"{part}_{mode}": kind for mode in modes for part, kind in parts.items()}
    return {
        QUEUE: {"case_id": _TEXT, "rank": _WHOLE, "priority": _NUMBER} | by_mode,
        EVIDENCE: {"case_id": _TEXT, "mode": _TEXT, **span, "text": _TEXT, "share": _NUMBER},
        PASSAGES: {"case_id": _TEXT, **span} | {f"z_{mode}": _NUMBER for mode in modes},
        CASES: {"case_id": _TEXT, "file": _TEXT, "row": _WHOLE, "narrative": _TEXT},
    }


@dataclass
class Counted:
    """What became of the input items; ``flagged`` by mode."""

    scored: int = 0
    rows_rejected: int = 0
    files_rejected: int = 0
    complete: bool = True
    flagged: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """Where each case of the queue lies, in the order of the queue: its shard, and its place among the cases there."""

    shards: np.ndarray
    places: np.ndarray


class TableWriter:
    """Writes the tables of a run into a folder, a shard at a time.

    Args:
        folder: an empty folder.
        scorer: computes what follows from the log-odds.
    """

    def __init__(self, folder: Path, scorer: Scorer) -> None:
        self._folder = folder
        self._scorer = scorer
        self._modes = scorer.bundle.codebook.mode_ids
        self._open = ExitStack()
        self._kept: list[pa.Table] = []
        self.counted = Counted(flagged=dict.fromkeys(self._modes, 0))

    def __enter__(self) -> Self:
        own = columns(self._modes)
        self._schemas = {name: pa.schema(list(own[name].items())) for name in own}
        self._writers = {
            name: self._open.enter_context(pq.ParquetWriter(self._folder / name, self._schemas[name]))
            for name in (EVIDENCE, PASSAGES, CASES)
        }
        self._rejects = self._open.enter_context((self._folder / REJECTS).open("wb"))
        self._rejects.write(csv_bytes(["file", "row", "case_id", "reason"], []))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, value, trace)

    def add(self, number: int, shard: pa.Table) -> None:
        """Write the rows of a shard, and keep what the queue needs of it."""
        self._count_rejects(shard)
        scored = scored_rows(shard)
        if not len(scored):
            return
        found = list(outcomes(scored, self._scorer))
        self._writers[CASES].write_table(scored.select(self._schemas[CASES].names))
        self._write(PASSAGES, _passage_columns(scored, len(self._modes), self._modes))
        self._write(EVIDENCE, _evidence_columns(scored, found))
        kept = self._queue_columns(scored, found)
        kept["shard"] = pa.array(np.full(len(scored), number), pa.int32())
        kept["place"] = pa.array(np.arange(len(scored)), pa.int32())
        self._kept.append(pa.table(kept))
        self.counted.scored += len(scored)
        for mode in self._modes:
            self.counted.flagged[mode] += sum(one.flags[mode] for one in found)

    def write_queue(self) -> Ranked:
        """Rank the cases by falling priority, ties by case id, and write the queue."""
        if not self._kept:
            pq.write_table(self._schemas[QUEUE].empty_table(), self._folder / QUEUE)
            return Ranked(np.zeros(0, int), np.zeros(0, int))
        kept = pa.concat_tables(self._kept)
        order = pc.sort_indices(kept, [("priority", "descending"), ("case_id", "ascending")]).to_numpy()
        names = list(dict.fromkeys(name for part in self._kept for name in _metadata_names(part["metadata"])))
        titles = _titles(names, self._schemas[QUEUE].names)
        schema = pa.schema([*self._schemas[QUEUE], *((title, pa.string()) for title in titles)])
        with pq.ParquetWriter(self._folder / QUEUE, schema) as writer:
            for start in range(0, len(order), ROWS):
                rows = kept.take(pa.array(order[start : start + ROWS]))
                rank = pa.array(np.arange(start + 1, start + 1 + len(rows)), pa.int64())
                own = {name: rank if name == "rank" else rows[name] for name in self._schemas[QUEUE].names}
                extra = dict(zip(titles, _metadata_columns(rows["metadata"], names), strict=True))
                writer.write_table(pa.table(own | extra, schema))
        return Ranked(*(kept[name].to_numpy()[order] for name in ("shard", "place")))

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        self._writers[name].write_table(pa.table(dict(table), self._schemas[name]))

    def _count_rejects(self, shard: pa.Table) -> None:
        rejects = rejected_rows(shard)
        self._rejects.write(csv_rows((item.file, item.row, item.case_id, item.reason) for item in rejects))
        of_rows = sum(item.row is not None for item in rejects)
        self.counted.rows_rejected += of_rows
        self.counted.files_rejected += len(rejects) - of_rows
        self.counted.complete &= not any(item.rest_unread for item in rejects)

    def _queue_columns(self, scored: pa.Table, found: Sequence[Outcome]) -> dict[str, pa.Array]:
        kept = {"case_id": scored["case_id"], "priority": pa.array([one.priority for one in found], _NUMBER)}
        for mode in self._modes:
            kept[f"p_{mode}"] = pa.array([one.scores[mode] for one in found], _NUMBER)
            kept[f"low_{mode}"] = pa.array([one.intervals[mode][0] for one in found], _NUMBER)
            kept[f"high_{mode}"] = pa.array([one.intervals[mode][1] for one in found], _NUMBER)
            kept[f"flag_{mode}"] = pa.array([one.flags[mode] for one in found], pa.bool_())
        return kept | {"metadata": scored["metadata"]}


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
