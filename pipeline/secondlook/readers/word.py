"""Word documents (.docx): the text of the body with its tables, then the footnotes and endnotes.

Tracked changes count as accepted: what was inserted or moved here is text, what was deleted or moved
away is not. Check boxes are the characters that show them. Headers, footers, comments and pictures are
not text of the case; that a document has them is told in its metadata.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docx
from docx.oxml.parser import parse_xml

from secondlook.readers.rows import Problem, Row
from secondlook.readers.symbols import check_box, check_box_control, choice, symbol
from secondlook.readers.unpacking import bomb

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATHS = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_CHOICES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_PICTURES = (
    "{http://schemas.openxmlformats.org/drawingml/2006/main}blip",
    "{urn:schemas-microsoft-com:vml}imagedata",
)

_TEXT = {f"{_WORD}t", f"{_MATHS}t"}
_CHARACTERS = {
    f"{_WORD}tab": "\t",
    f"{_WORD}br": "\n",
    f"{_WORD}cr": "\n",
    f"{_WORD}noBreakHyphen": "\u2011",
    f"{_WORD}softHyphen": "\u00ad",
}
_SHOWN: dict[str, Callable[[Any], str | None]] = {
    f"{_WORD}sym": symbol,
    f"{_WORD}checkBox": check_box,
    f"{_WORD}ddList": choice,
}
_NO_TEXT = {
    f"{_WORD}del",
    f"{_WORD}moveFrom",
    f"{_WORD}pPr",
    f"{_WORD}rPr",
    f"{_WORD}tblPr",
    f"{_WORD}sectPr",
    f"{_CHOICES}Fallback",  # the same text again, for older programs
}
_MARK_DELETED = f"{_WORD}pPr/{_WORD}rPr/{_WORD}del"
_ROW_DELETED = f"{_WORD}trPr/{_WORD}del"
_CELL_DELETED = f"{_WORD}tcPr/{_WORD}cellDel"
_ENTITIES = "its XML declares entities, which no Word document does (an attack, or damage); save it again in Word"
_PROLOG = 1 << 16
_NOTES = ("footnotes", "endnotes")
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")
_NOT_READ = {"comments": "comments", "header": "headers", "footer": "footers", "aFChunk": "embedded documents"}


def read_word(path: Path) -> Row | Problem:
    """The one row of a Word document."""
    if problem := _package_problem(path):
        return Problem(None, problem)
    part = docx.Document(str(path)).part
    body: Any = part.element
    related = {rel.reltype.rsplit("/", 1)[-1]: rel for rel in part.rels.values() if not rel.is_external}
    notes = [parse_xml(related[kind].target_part.blob) for kind in _NOTES if kind in related]
    if any(root.getroottree().docinfo.internalDTD is not None for root in (body, *notes)):
        return Problem(None, _ENTITIES)
    narrative = "".join(_document(body, notes))
    not_read = [name for kind, name in _NOT_READ.items() if kind in related] + _not_shown(body, notes)
    if "pictures" in not_read and not narrative.strip():
        return Problem(None, "it holds pictures but no text, so it needs OCR; run OCR on it, or type its text")
    return Row(1, path.stem, narrative, {"not_read": json.dumps(not_read)} if not_read else {})


def _package_problem(path: Path) -> str | None:
    with zipfile.ZipFile(path) as package:
        members = package.infolist()
        if problem := bomb(members):
            return f"the document {problem}; save it as plain text (.txt)"
        if len({member.filename for member in members}) < len(members):
            return "it holds two parts of one name, so that which is meant cannot be told; save it again in Word"
        if any(_declares_entities(package, member) for member in members):
            return _ENTITIES
    return None


def _declares_entities(package: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if not member.filename.endswith((".xml", ".rels")):
        return False
    with package.open(member) as part:
        # Without NULs, UTF-16 reads like ASCII.
        return b"<!DOCTYPE" in part.read(_PROLOG).replace(b"\0", b"")


def _not_shown(body: Any, notes: list[Any]) -> list[str]:
    """The kinds of things in the text that have no characters."""
    symbols = any(symbol(element) is None for root in (body, *notes) for element in root.iter(f"{_WORD}sym"))
    found = {
        "pictures": next(body.iter(*_PICTURES), None) is not None,
        "symbols": symbols,
        "controls": next(body.iter(f"{_WORD}control"), None) is not None,
    }
    return [name for name, is_there in found.items() if is_there]


def _document(body: Any, notes: list[Any]) -> Iterator[str]:
    yield from _texts(body)
    for root in notes:
        for note in root:
            if note.get(f"{_WORD}type") not in _SEPARATORS:
                yield from _texts(note)


def _texts(element: Any) -> Iterator[str]:
    """The texts within an element: a line for each paragraph, a tab between the cells of a row."""
    for child in element:
        if child.tag in _NO_TEXT:
            continue
        if child.tag in _TEXT:
            yield child.text or ""
        elif child.tag in _CHARACTERS:
            yield _CHARACTERS[child.tag]
        elif child.tag in _SHOWN:
            yield _SHOWN[child.tag](child) or ""
        elif child.tag == f"{_WORD}sdt":
            text = "".join(_texts(child))
            yield text if text.strip() else (check_box_control(child) or "") + text
        elif child.tag == f"{_WORD}p":
            yield from _paragraph(child)
        elif child.tag == f"{_WORD}tr":
            yield from _row(child)
        elif child.tag == f"{_WORD}txbxContent":
            yield "\n" + "".join(_texts(child))
        else:
            yield from _texts(child)


def _paragraph(paragraph: Any) -> Iterator[str]:
    yield from _texts(paragraph)
    if paragraph.find(_MARK_DELETED) is None:
        yield "\n"


def _row(row: Any) -> Iterator[str]:
    if row.find(_ROW_DELETED) is not None:
        return
    cells = [cell for cell in row.iter(f"{_WORD}tc") if _row_of(cell) is row and cell.find(_CELL_DELETED) is None]
    yield "\t".join("".join(_texts(cell)).removesuffix("\n") for cell in cells) + "\n"


def _row_of(cell: Any) -> Any:
    """The row that a cell stands in; content controls may lie between."""
    return next(cell.iterancestors(f"{_WORD}tr"))
