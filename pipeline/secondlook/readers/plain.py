"""Plain text files: each is one narrative, its case id the file's name without the ending."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secondlook.readers.encoding import open_text
from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row


def read_plain(path: Path, options: ReadOptions) -> Iterator[Row | Problem]:
    """The one row of a text file. Of a text over the limit no more is read than shows that it is."""
    with open_text(path) as stream:
        yield Row(1, path.stem, stream.read(options.max_characters + 1), {})
