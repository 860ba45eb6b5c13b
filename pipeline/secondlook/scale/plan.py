"""The plan: which rows of which files make a unit of work? The stretches that one process would have cut.

First every row group is surveyed where it lies: for each row the digest of its case id and the length of its
narrative, or that it is no case. From these few bytes follows what needs all rows at once: which ids come
twice, and where stretches end. So a unit is scored without knowing of any other, and becomes the same shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from secondlook.readers import ReadOptions, as_item
from secondlook.readers.checks import Checker, duplicate, shown_id
from secondlook.readers.parquet import Source, UnreadableRowsError, read_parquet, read_row_group
from secondlook.readers.rows import Problem, Row
from secondlook.schema import Case, Reject
from secondlook.shards import CHARACTERS, Stretch, items_digest

ID_BYTES = 16
NO_CASE = -1

Open = Callable[[str], Source]
"""Opens a place: a path, or an address in an object store."""


class Slice(BaseModel):
    """Rows of a file that follow one another.

    ``name`` is what the file is called in a run, ``place`` where it lies. Its rows are those of row group
    ``group``, whose first row has the number ``first``; without a group, those of the whole file, which is
    damaged and must be read from its start. ``skip`` of them come before the slice.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    place: str
    group: int | None
    first: int
    skip: int
    rows: int


class Unit(BaseModel):
    """What makes a shard: slices, and files of which nothing can be read.

    ``duplicates`` are the places in the unit of cases whose id belongs to an earlier one, and where that is.
    """

    number: int
    pieces: tuple[Slice | Reject, ...]
    duplicates: Mapping[int, tuple[str, int]]

    @property
    def rows(self) -> int:
        """How many items it has."""
        return sum(_rows_of(piece) for piece in self.pieces)


@dataclass(frozen=True)
class Survey:
    """A whole row group, or a file of which nothing can be read, and what is known of its rows.

    ``ids`` are digests of case ids. *Shape:* ``(rows, 2)``. ``lengths`` are those of narratives, or NO_CASE.
    *Shape:* ``(rows,)``.
    """

    piece: Slice | Reject
    ids: NDArray[np.uint64]
    lengths: NDArray[np.int64]

    @classmethod
    def of_reject(cls, reject: Reject) -> Survey:
        """A file of which nothing can be read."""
        return cls(reject, np.zeros((1, 2), np.uint64), np.full(1, NO_CASE))


def survey(piece: Slice, options: ReadOptions, place: Open) -> Survey | None:
    """Read all rows of a slice, and keep what the plan needs; None if the row group is damaged."""
    ids, lengths = bytearray(), []
    try:
        for item in _items(_rows(piece, options, place), piece.name, options):
            if isinstance(item, Case):
                ids += hashlib.blake2b(item.case_id.encode(), digest_size=ID_BYTES).digest()
                lengths.append(len(item.narrative))
            else:
                ids += bytes(ID_BYTES)
                lengths.append(NO_CASE)
    except UnreadableRowsError:
        return None
    if piece.group is None:
        piece = piece.model_copy(update={"rows": len(lengths)})
    elif len(lengths) != piece.rows:
        return None
    return Survey(piece, np.frombuffer(ids, np.uint64).reshape(-1, 2), np.array(lengths, np.int64))


def plan(surveys: Sequence[Survey], shard_cases: int) -> Iterator[Unit]:
    """Cut all rows, in input order, into the stretches that :func:`shards.cut_stretches` cuts."""
    if not surveys:
        return
    starts = np.cumsum([0, *(len(one.lengths) for one in surveys)])
    lengths = np.concatenate([one.lengths for one in surveys])
    again, first = _duplicates(np.concatenate([one.ids for one in surveys]), np.flatnonzero(lengths != NO_CASE))
    lengths[again] = NO_CASE
    read = np.concatenate([[0], np.cumsum(np.maximum(lengths, 0))])
    start = number = 0
    while start < len(lengths):
        full = int(np.searchsorted(read, read[start] + CHARACTERS))
        end = min(start + shard_cases, full, len(lengths))
        own = slice(*np.searchsorted(again, [start, end]))
        places = zip((again[own] - start).tolist(), first[own].tolist(), strict=True)
        duplicates = {place: _location(surveys, starts, row) for place, row in places}
        yield Unit(number=number, pieces=tuple(_pieces(surveys, starts, start, end)), duplicates=duplicates)
        start, number = end, number + 1


class UnitReader:
    """Reads units one after the other; goes on in a row group where the one before ended, if it can."""

    def __init__(self, options: ReadOptions, place: Open) -> None:
        self._options, self._open = options, place
        self._piece: Slice | None = None

    def read(self, unit: Unit) -> Stretch:
        """The items of a unit.

        Raises:
            UnreadableRowsError: rows that were surveyed cannot be read any more.
        """
        items: list[Case | Reject] = []
        for piece in unit.pieces:
            if isinstance(piece, Reject):
                items.append(piece)
            else:
                items.extend(_items(self._rows(piece), piece.name, self._options))
        if len(items) != unit.rows:
            raise UnreadableRowsError("the file has fewer rows than before")
        for place, first in unit.duplicates.items():
            case = items[place]
            if isinstance(case, Case):
                reason = duplicate(case.case_id, *first)
                items[place] = Reject(case.file, case.row, shown_id(case.case_id), reason)
        return Stretch(unit.number, items_digest(items), items)

    def _rows(self, piece: Slice) -> Iterator[Row | Problem]:
        last = self._piece
        same = last is not None and (last.place, last.group, last.first) == (piece.place, piece.group, piece.first)
        if last is not None and same and piece.skip >= last.skip + last.rows:
            between = piece.skip - last.skip - last.rows
        else:
            self._found, between = _rows(piece, self._options, self._open), 0
        self._piece = None  # until these are read
        yield from islice(self._found, between, between + piece.rows)
        self._piece = piece


def _rows_of(piece: Slice | Reject) -> int:
    return piece.rows if isinstance(piece, Slice) else 1


def _items(rows: Iterator[Row | Problem], name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """Rows as cases or rejects, each as if there were no other."""
    for row in rows:
        yield as_item(row, name, Checker(options.max_characters))


def _rows(piece: Slice, options: ReadOptions, place: Open) -> Iterator[Row | Problem]:
    """The rows from the slice's first on."""
    if piece.group is None:
        return islice(read_parquet(place(piece.place), options), piece.skip, None)
    return read_row_group(place(piece.place), options, piece.group, piece.first, piece.skip)


def _duplicates(ids: NDArray[np.uint64], cases: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of cases whose id belongs to an earlier one, in order, and for each the row of the first that has it."""
    if not len(cases):
        return cases, cases
    own = ids[cases]
    order = np.lexsort((own[:, 1], own[:, 0]))  # stable: rows with the same id stay in input order
    same = np.concatenate([[False], (own[order[1:]] == own[order[:-1]]).all(axis=1)])
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    rows, firsts = cases[order[same]], cases[order[first[same]]]
    by_row = np.argsort(rows)
    return rows[by_row], firsts[by_row]


def _location(surveys: Sequence[Survey], starts: NDArray[np.int64], row: int) -> tuple[str, int]:
    """File and number of a row that is a case."""
    at = int(np.searchsorted(starts, row, side="right")) - 1
    piece = surveys[at].piece
    assert isinstance(piece, Slice)  # noqa: S101 (there is no case in a file of which nothing can be read)
    return piece.name, piece.first + row - int(starts[at])


def _pieces(surveys: Sequence[Survey], starts: NDArray[np.int64], start: int, end: int) -> Iterator[Slice | Reject]:
    """What lies between two rows."""
    at = int(np.searchsorted(starts, start, side="right")) - 1
    while at < len(surveys) and starts[at] < end:
        piece, begins = surveys[at].piece, int(starts[at])
        low, high = max(start - begins, 0), min(end - begins, len(surveys[at].lengths))
        if isinstance(piece, Reject):
            yield piece
        elif high > low:
            yield piece.model_copy(update={"skip": low, "rows": high - low})
        at += 1


def file_slices(name: str, place: str, rows: Sequence[int]) -> Iterator[Slice]:
    """The row groups of a file that have rows."""
    first = 1
    for group, count in enumerate(rows):
        if count:
            yield Slice(name=name, place=place, group=group, first=first, skip=0, rows=count)
        first += count


def whole_file(name: str, place: str) -> Slice:
    """A damaged file, to be read from its start; how many rows it has, the survey says."""
    return Slice(name=name, place=place, group=None, first=1, skip=0, rows=0)
