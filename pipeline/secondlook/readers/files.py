"""Files and folders: what is read how, chosen by suffix and checked against the content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secondlook.readers import delimited, documents, jsonl, parquet, workbook
from secondlook.readers.columns import ReadOptions
from secondlook.schema import Case, Reject


@dataclass(frozen=True, slots=True)
class File:
    """A file to read and its name in the records."""

    path: Path
    name: str


Reader = Callable[[Path, str, ReadOptions], Iterator[Case | Reject]]

_READERS: dict[str, Reader] = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".jsonl": jsonl.read,
    ".ndjson": jsonl.read,
    ".parquet": parquet.read,
    ".xlsx": workbook.read,
    ".txt": documents.read,
}
_SIGNATURES = {
    b"PK\x03\x04": ("a zip archive or an Office file", (".xlsx",)),
    b"PAR1": ("a Parquet file", (".parquet",)),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an encrypted or old Office file", ()),
    b"%PDF-": ("a PDF", ()),
    b"\x1f\x8b": ("a gzip archive", ()),
    b"\x7fELF": ("a program", ()),
    b"\x89PNG": ("an image", ()),
    b"\xff\xd8\xff": ("an image", ()),
}


def walk(path: Path) -> Iterator[File | Reject]:
    """The files of an input: itself, or those below a folder in sorted order."""
    if not path.is_dir():
        yield File(path, path.as_posix())
        return
    empty = True
    for file in sorted(path.rglob("*")):
        if file.is_symlink():
            empty = False
            yield Reject(file.as_posix(), None, None, "is a link, and links are not followed: give the file itself")
        elif file.is_file():
            empty = False
            yield File(file, file.as_posix())
    if empty:
        yield Reject(path.as_posix(), None, None, "the folder holds no files")


def read_file(file: File, options: ReadOptions) -> Iterator[Case | Reject]:
    """The rows of one file; a file that cannot be read at all is one reject without a row."""
    reader = _READERS.get(file.path.suffix.lower())
    reason = _unreadable(file.path)
    if reader is None or reason:
        known = ", ".join(_READERS)
        yield Reject(file.name, None, None, reason or f"is not a kind of file that is read here (read: {known})")
        return
    try:
        yield from reader(file.path, file.name, options)
    except OSError as cause:
        yield Reject(file.name, None, None, f"could not be read to its end ({cause.strerror or type(cause).__name__})")


def _unreadable(path: Path) -> str | None:
    """Why the content does not fit the suffix, or None."""
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as cause:
        return f"cannot be opened ({cause.strerror})"
    suffix = path.suffix.lower()
    for signature, (kind, suffixes) in _SIGNATURES.items():
        if head.startswith(signature) and suffix not in suffixes:
            return f"its name ends in '{suffix}' and it holds {kind}: save it as CSV, XLSX, Parquet, JSONL or TXT"
    if suffix == ".xlsx" and not head.startswith(b"PK\x03\x04"):
        return "its name ends in '.xlsx' and it is not an XLSX workbook: save it again as XLSX or CSV"
    if suffix == ".parquet" and not head.startswith(b"PAR1"):
        return "its name ends in '.parquet' and it is not a Parquet file"
    return None
