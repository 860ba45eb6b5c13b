"""What Word shows that is no text of a run: symbols of a font, check boxes and drop-down lists.

A tick can be the answer to the question before it, so boxes become the characters that show them.
"""

from __future__ import annotations

from typing import Any

from docx.oxml.ns import nsmap

_WORD = f"{{{nsmap['w']}}}"
_WORD_2010 = "{http://schemas.microsoft.com/office/word/2010/wordml}"
_TICKED, _EMPTY = "☒", "☐"
_SYMBOLS = {
    "symbol": {0xD6: "√"},
    "webdings": {0x61: "✓", 0x63: "☐", 0x72: "✗"},
    "wingdings": {0x6F: "☐", 0x78: "☒", 0xA8: "☐", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"},
    "wingdings 2": {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0xA3: "☐"},
    "wingdings 3": {},
}
"""By font: ticks and boxes, at the places where fonts older than Unicode have them."""

_PRIVATE = range(0xE000, 0xF900)
_OFF = {"0", "false", "off"}


def symbol(element: Any) -> str | None:
    """The character that a ``w:sym`` stands for; None if that is not known."""
    try:
        code = int(element.get(f"{_WORD}char") or "", 16)
    except ValueError:
        return None
    font = _SYMBOLS.get((element.get(f"{_WORD}font") or "").lower())
    if font is not None:
        # Word writes 0xFE of such a font as F0FE.
        return font.get(code & 0xFF)
    known = code <= 0x10FFFF and code not in _PRIVATE and chr(code).isprintable()
    return chr(code) if known else None


def check_box(element: Any) -> str:
    """A ``w:checkBox`` of an old form: as it was last left, else as it was made."""
    state = element.find(f"{_WORD}checked")
    return _box(element.find(f"{_WORD}default") if state is None else state, f"{_WORD}val")


def check_box_control(element: Any) -> str | None:
    """The box of a content control (``w:sdt``); None if it is none."""
    control = element.find(f"{_WORD}sdtPr/{_WORD_2010}checkbox")
    return None if control is None else _box(control.find(f"{_WORD_2010}checked"), f"{_WORD_2010}val")


def choice(element: Any) -> str:
    """What is chosen in a ``w:ddList`` of an old form; the first entry if nothing says otherwise."""
    entries = [entry.get(f"{_WORD}val") or "" for entry in element.iter(f"{_WORD}listEntry")]
    states = [element.find(f"{_WORD}{name}") for name in ("result", "default")]
    places = [int(state.get(f"{_WORD}val")) for state in states if state is not None]
    return entries[next(iter(places), 0)] if entries else ""


def _box(state: Any, value: str) -> str:
    """Without a value, the mere presence of the element means yes."""
    return _EMPTY if state is None or (state.get(value) or "1").lower() in _OFF else _TICKED
