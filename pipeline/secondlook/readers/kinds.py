"""What a file holds by its first bytes, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

from secondlook.readers.encoding import bare_utf16

_HEAD = 1 << 16
_MAX_NUL_SHARE = 0.1


class Kind(NamedTuple):
    """A kind of content: what to call it, and what to do where another is expected."""

    description: str
    remedy: str


TEXT = Kind("plain text", "give it the ending of what it is: .csv, .tsv, .jsonl or .txt")
PARQUET = Kind("a Parquet table", "rename it to .parquet")
WORKBOOK = Kind("an Excel workbook", "rename it to .xlsx")
DOCUMENT = Kind("a Word document", "save it as plain text (.txt)")
ZIP = Kind("a zip archive, damaged or of another program", "unpack it first, or export it again")
OLE = Kind("an encrypted or old .xls or .doc file", "save it as .xlsx, without a password")
PDF = Kind("a PDF", "export its text")
GZIP = Kind("a gzip archive", "unpack it first")
PICTURE = Kind("a picture", "type or scan its text")
BINARY = Kind("binary data", "export the table again as CSV (UTF-8)")

_MAGIC = (
    (b"PK\x05\x06", ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (b"%PDF-", PDF),
    (b"\x1f\x8b\x08", GZIP),
    (b"\x89PNG\r\n\x1a\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
)
_WANTED = {".parquet": PARQUET, ".xlsx": WORKBOOK}


def content_problem(path: Path) -> str | None:
    """Why the file is not what its name says; None if it may be."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(_HEAD)
        tail = _tail(file.seek(0, 2), path)
    if not head:
        return None if suffix == ".txt" else "the file is empty; export it again"
    kind, wanted = _kind(path, head, tail), _WANTED.get(suffix, TEXT)
    if kind == wanted:
        return None
    return f"its name ends in {suffix}, but it holds {kind.description}; {kind.remedy}"


def _kind(path: Path, head: bytes, tail: bytes) -> Kind:
    if head.startswith(b"PAR1") and tail == b"PAR1":
        return PARQUET
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return BINARY if _looks_binary(head) else TEXT


def _tail(size: int, path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - 4))
        return file.read()


def _zip_kind(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return ZIP
    if any("xl/" in name for name in names):
        return WORKBOOK
    return DOCUMENT if any(name.startswith("word/") for name in names) else ZIP


def _looks_binary(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or bare_utf16(head):
        return False
    return head.count(0) > _MAX_NUL_SHARE * len(head)
