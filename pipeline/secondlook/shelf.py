"""Shelf: where do cases wait until the queue is written? In a file without a name, found by their number.

The queue takes them in an order of its own: a page holds cases from all over the input, and for nearly each of them a
shard would have to be unpacked. Records here are neither packed nor mapped into memory: reading one touches its bytes
and nothing else. However the process ends, nothing of the file is left.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from secondlook.schema import Case, Evidence, Span

Shelved = tuple[Case, tuple[Evidence, ...]]
"""A case and the evidence behind its scores."""


class Shelf:
    """Cases with their evidence, numbered from 0 as they come.

    Args:
        folder: whose disk they wait on; narratives go nowhere else.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with the shelf)
        self._starts = [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, case: Case, evidence: Sequence[Evidence]) -> None:
        """Keep one more; OSError if there is no room."""
        found = [(item.mode, *item.span, item.share) for item in evidence]
        own = (case.case_id, case.narrative, list(case.metadata.items()), case.file, case.row, found)
        record = json.dumps(own, ensure_ascii=False, separators=(",", ":")).encode()
        self._file.write(record)
        self._starts.append(self._starts[-1] + len(record))

    def get(self, numbers: Sequence[int]) -> list[Shelved]:
        """Some of them in the order asked for, read in the order in which they lie."""
        found = {number: self._read(number) for number in sorted(set(numbers))}
        return [found[number] for number in numbers]

    def _read(self, number: int) -> Shelved:
        start, end = self._starts[number : number + 2]
        self._file.seek(start)
        case_id, narrative, metadata, file, row, evidence = json.loads(self._file.read(end - start))
        shown = tuple(Evidence(mode, Span(start, end), share) for mode, start, end, share in evidence)
        return Case(case_id, narrative, dict(metadata), file, row), shown
