"""Readers: from files as offices have them to cases, every row accounted for.

:func:`read_cases` yields one :class:`~secondlook.schema.Case` or one
:class:`~secondlook.schema.Reject` for every row of every input, in order. Bad data never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from secondlook.errors import InputError
from secondlook.readers.checks import Checker
from secondlook.readers.columns import ReadOptions
from secondlook.readers.files import read_file, walk
from secondlook.schema import Case, Reject

__all__ = ["ReadOptions", "read_cases"]


def read_cases(inputs: Sequence[Path], options: ReadOptions | None = None) -> Iterator[Case | Reject]:
    """Read every row of the inputs: tables, text files and folders of them.

    Raises:
        InputError: there is no input, or one does not exist.
    """
    if not inputs:
        raise InputError("there is nothing to read: give a file or a folder")
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
    return _read_all(inputs, options or ReadOptions())


def _read_all(inputs: Sequence[Path], options: ReadOptions) -> Iterator[Case | Reject]:
    checker = Checker(options.max_characters)
    for path in inputs:
        for file in walk(path):
            if isinstance(file, Reject):
                yield file
                continue
            for item in read_file(file, options):
                yield checker.check(item) if isinstance(item, Case) else item
