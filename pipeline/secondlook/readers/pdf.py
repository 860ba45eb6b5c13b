"""PDF files with a text layer: the text of each page as pypdf extracts it, a line end between pages.

pypdf goes on where a file is damaged, and only logs what it left out. Part of a narrative must not pass
for the whole, so such a file is rejected.
"""

from __future__ import annotations

import json
import logging
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from pypdf.generic import is_null_or_none

from secondlook.readers.rows import Problem, Row

_END = b"%%EOF"
_LATEST_END = 4096
_MAX_PAGES = 5_000
_MARKUP = {"/Text", "/FreeText"}
_FIELDS = {"/Tx", "/Ch", "/Btn"}
_UNANSWERED = {"", "/Off"}
_LEFT_OUT = re.compile(
    "^Object .*not defined|^Invalid stream|^Error -|Impossible to decode|contents are not|page tree entry"
    "|whereas|is skipped|, skipping %|skipping the entry|ignoring the stream|Limiting to|may be missing"
    "|might not be read"
)
"""What pypdf logs where text may be lost; its other messages tell of what it could repair."""


def read_pdf(path: Path) -> Row | Problem:
    """The one row of a PDF. ``page_starts`` in its metadata are the offsets at which the pages begin."""
    content = path.read_bytes()
    if _END not in content[-_LATEST_END:]:
        return Problem(None, "the PDF is damaged or cut short (its end is missing); copy or export it again")
    log = _Log()
    logging.getLogger("pypdf").addHandler(log)
    try:
        item = _read(path)
    finally:
        logging.getLogger("pypdf").removeHandler(log)
    if isinstance(item, Row) and log.left_out:
        return Problem(None, "parts of the PDF cannot be read (damage, or an attack); print it to a new PDF")
    return item


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.left_out = False

    def emit(self, record: logging.LogRecord) -> None:
        self.left_out |= bool(_LEFT_OUT.search(str(record.msg)))


def _read(path: Path) -> Row | Problem:
    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        return Problem(None, "the PDF is encrypted; save it without a password")
    if not reader.pages:
        return Problem(None, "the PDF has no pages; export it again")
    if len(reader.pages) > _MAX_PAGES:
        return Problem(None, f"it has more than {_MAX_PAGES:,} pages; split it")
    if _has_answers(reader):
        return Problem(None, "it is a form whose answers are not text of its pages; print it to a new PDF")
    pages = [page.extract_text() for page in reader.pages]
    if not any(page.strip() for page in pages):
        return Problem(None, "the PDF has no text layer, so it needs OCR; run OCR on it, or type its text")
    return Row(1, path.stem, "\n".join(pages), _metadata(reader, pages))


def _has_answers(reader: PdfReader) -> bool:
    fields: Any = reader.get_fields() or {}
    return any(_is_answered(field) for field in fields.values()) or bool(reader.xfa)


def _is_answered(field: Any) -> bool:
    """Whether something is typed into a field, chosen or ticked. Fields inherit what kind they are."""
    value = field.get("/V")
    if field.get_inherited("/FT") not in _FIELDS or is_null_or_none(value):
        return False
    return str(value or "").strip() not in _UNANSWERED


def _metadata(reader: PdfReader, pages: list[str]) -> dict[str, str | None]:
    starts = list(accumulate((len(page) + 1 for page in pages[:-1]), initial=0))
    metadata: dict[str, str | None] = {"pages": str(len(pages)), "page_starts": json.dumps(starts)}
    if without := [number for number, page in enumerate(pages, start=1) if not page.strip()]:
        metadata["pages_without_text"] = json.dumps(without)
    if attachments := sorted(reader.attachments):
        metadata["attachments"] = json.dumps(attachments, ensure_ascii=False)
    if any(_has_comments(page) for page in reader.pages):
        metadata["not_read"] = json.dumps(["comments"])
    return metadata


def _has_comments(page: Any) -> bool:
    notes = [note.get_object() for note in page.annotations or []]
    return any(note.get("/Subtype") in _MARKUP and note.get("/Contents") for note in notes)
