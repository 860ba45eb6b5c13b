"""What a file holds by its first bytes, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from secondlook.readers.encoding import bare_utf16
from secondlook.readers.unpacking import MAX_DIRECTORY_BYTES, directory_bytes, is_bounded

_HEAD = 1 << 16
_CHUNK = 1 << 20
_MAX_NUL_SHARE = 0.1
_LONGEST_MIMETYPE = 100
_PDF = b"%PDF-"
_LATEST_PDF_MARK = 1024
"""Viewers accept a few bytes of a mail gateway or a web server before it."""


class Kind(NamedTuple):
    """A kind of content: what to call it, and what to do where another is expected."""

    description: str
    remedy: str


TEXT = Kind("plain text", "give it the ending of what it is: .csv, .tsv, .jsonl, .txt or .eml")
RICH_TEXT = Kind("rich text (RTF)", "save it as .docx")
PARQUET = Kind("a Parquet table", "rename it to .parquet")
WORKBOOK = Kind("an Excel workbook", "rename it to .xlsx")
DOCUMENT = Kind("a Word document", "rename it to .docx")
MACROS = Kind("a Word document with macros", "save it as a Word document without macros (.docx)")
OPEN_DOCUMENT = Kind("an OpenDocument file", "save it as .docx or .xlsx")
OFFICE = Kind("an Office file that is neither a document nor a workbook", "save its text as .docx")
ZIP = Kind("a zip archive", "rename it to .zip")
BROKEN_ZIP = Kind("a zip archive, damaged or cut short", "copy or export it again")
HUGE_ZIP = Kind("a zip archive with more members than are read", "unpack it and name the folder as an input")
OLE = Kind("an encrypted or old .xls, .doc or .msg file", "save it as .xlsx, .docx or .eml, without a password")
ENCRYPTED = Kind("an encrypted Office file", "save it without a password")
PDF = Kind("a PDF", "rename it to .pdf")
GZIP = Kind("a gzip archive", "unpack it first")
PICTURE = Kind("a picture", "type or scan its text")
BINARY = Kind("binary data", "export it again in the format that its name says")

_MAGIC = (
    (_PDF, PDF),
    (b"{\\rtf", RICH_TEXT),
    (b"\x1f\x8b\x08", GZIP),
    (b"\x89PNG\r\n\x1a\n", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
)
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_WANTED = {
    ".csv": TEXT,
    ".tsv": TEXT,
    ".txt": TEXT,
    ".jsonl": TEXT,
    ".ndjson": TEXT,
    ".parquet": PARQUET,
    ".xlsx": WORKBOOK,
    ".docx": DOCUMENT,
    ".eml": TEXT,
    ".pdf": PDF,
    ".zip": ZIP,
}
_REMEDIES = {
    ".doc": OLE.remedy,
    ".docm": MACROS.remedy,
    ".msg": "save it as .eml",
    ".odt": "save it as .docx",
    ".rtf": RICH_TEXT.remedy,
    ".xls": "save it as .xlsx",
}


def suffix_problem(suffix: str) -> str | None:
    """Why a file with this ending, in lower case, is not read; None if it may be."""
    if suffix in _WANTED:
        return None
    remedy = f"{_REMEDIES[suffix]}; " if suffix in _REMEDIES else ""
    return f"it is not a kind of file that is read here ({remedy}reads: {', '.join(_WANTED)})"


def content_problem(path: Path) -> str | None:
    """Why the file is not what its name says; None if it may be."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(_HEAD)
        kind = _kind(file, head)
    if not head:
        return None if suffix == ".txt" else "the file is empty; export it again"
    wanted = _WANTED[suffix]
    if wanted is PDF and kind in (TEXT, BINARY) and _PDF in head[:_LATEST_PDF_MARK]:
        kind = PDF
    if kind == wanted:
        return None
    return f"its name ends in {suffix}, but it holds {kind.description}; {kind.remedy}"


def _kind(file: BinaryIO, head: bytes) -> Kind:
    if head.startswith(b"PAR1") and _tail(file) == b"PAR1":
        return PARQUET
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(file)
    if head.startswith(_OLE_MAGIC):
        return ENCRYPTED if _holds(file, _ENCRYPTED_PACKAGE) else OLE
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return BINARY if _looks_binary(head) else TEXT


def _tail(file: BinaryIO) -> bytes:
    file.seek(max(0, file.seek(0, 2) - 4))
    return file.read()


def _holds(file: BinaryIO, wanted: bytes) -> bool:
    file.seek(0)
    before = b""
    while chunk := file.read(_CHUNK):
        if wanted in before + chunk:
            return True
        before = chunk[-len(wanted) :]
    return False


def _zip_kind(file: BinaryIO) -> Kind:
    if directory_bytes(file) > MAX_DIRECTORY_BYTES:
        return HUGE_ZIP
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            sound = "mimetype" in names and is_bounded(archive.getinfo("mimetype"))
            declared = archive.open("mimetype").read(_LONGEST_MIMETYPE) if sound else b""
    except Exception:  # zipfile raises whatever its unpackers meet: BadZipFile, zlib.error, RuntimeError, ...
        return BROKEN_ZIP
    if declared.startswith(b"application/vnd.oasis.opendocument"):
        return OPEN_DOCUMENT
    return _office_kind(names) if "[Content_Types].xml" in names else ZIP


def _office_kind(names: set[str]) -> Kind:
    if any("xl/" in name for name in names):
        return WORKBOOK
    if not any(name.startswith("word/") for name in names):
        return OFFICE
    return MACROS if any(name.lower().endswith("vbaproject.bin") for name in names) else DOCUMENT


def _looks_binary(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or bare_utf16(head):
        return False
    return head.count(0) > _MAX_NUL_SHARE * len(head)
