"""Text files: one file is one case, and its name is the id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secondlook.readers.columns import ReadOptions
from secondlook.readers.encodings import detect
from secondlook.schema import Case, Reject


def read(path: Path, name: str, options: ReadOptions) -> Iterator[Case | Reject]:
    """The one case of a text file, exactly as decoded."""
    size = path.stat().st_size
    if size > 4 * options.max_characters:
        yield Reject(name, 1, path.stem, f"the file has {size:,} bytes, more than any narrative may have")
        return
    yield Case(path.stem, path.read_bytes().decode(detect(path), errors="replace"), {}, name, 1)
