"""What makes a row a case: an id of its own, and a narrative that is text.

Reasons say what to do next. They may quote an id, never a narrative.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from secondlook.readers.rows import Row
from secondlook.schema import Case, Reject

MAX_JUNK_SHARE = 0.05
"""Text has hardly any control characters; bytes that are no text have about a quarter."""

MAX_NULS = 3
"""Some exports leave a stray NUL at the end of a field; more mean that the bytes were no text."""

_JUNK = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd]")
_LONGEST_SHOWN_ID = 80
_LONGEST_ID = 500
_NOT_UNICODE = "is not valid text (undecodable bytes or lone surrogates); save the file again as UTF-8"


class Checker:
    """Checks rows, and remembers the ids of the cases among them."""

    def __init__(self, max_characters: int, join_rows: bool = False) -> None:
        self._max_characters = max_characters
        self._join_rows = join_rows
        self._places: dict[str, tuple[str, int]] = {}

    def check(self, file: str, row: Row) -> Case | Reject:
        """The case in the row, or why there is none.

        An id belongs to the first case that has it; a row rejected for another reason leaves it free.
        """
        case_id, narrative = trim(row.case_id or ""), row.narrative or ""
        reason = (
            id_problem(case_id)
            or narrative_problem(narrative, self._max_characters, row.rows)
            or metadata_problem(row.metadata, self._max_characters)
            or self._duplicate(case_id, file)
        )
        if reason:
            return Reject(file, row.number, shown_id(case_id), reason, rows=row.rows)
        self._places[case_id] = (file, row.number)
        return Case(case_id, narrative, row.metadata, file, row.number, row.rows)

    def _duplicate(self, case_id: str, file: str) -> str | None:
        if case_id not in self._places:
            return None
        first = self._places[case_id]
        return duplicate(case_id, *first, apart=self._join_rows and first[0] == file)


def duplicate(case_id: str, file: str, row: int, apart: bool = False) -> str:
    """The reason for a case whose id belongs to an earlier one.

    ``apart``: both are in one table, and would have been joined if no other case stood between them.
    """
    return (
        f"duplicate: the case id {shown_id(case_id)!r} was first seen at {file}:{row}, which is kept;"
        f"{' sort the table by the id so that its rows follow one another, or' * apart}"
        " give each case an id of its own"
    )


def id_problem(case_id: str) -> str | None:
    """Why an id, already stripped, cannot be used; None if it can.

    >>> id_problem("2024/117"), id_problem("")
    (None, 'there is no case id; give the row one')
    """
    if not case_id:
        return "there is no case id; give the row one"
    if not _is_unicode(case_id):
        return f"the case id {_NOT_UNICODE}"
    if len(case_id) > _LONGEST_ID:
        return f"the case id has {len(case_id):,} characters; name the right --id-column"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in case_id):
        return "the case id has line breaks or control characters; remove them, or name the right --id-column"
    return None


def narrative_problem(narrative: str, max_characters: int, rows: int = 1) -> str | None:
    """Why a narrative, joined from so many rows, cannot be read; None if it can."""
    if is_blank(narrative):
        return "the narrative is missing or empty; add its text or leave the row out"
    if len(narrative) > max_characters:
        return too_long("narrative", max_characters)
    return text_problem(narrative, rows)


def is_blank(narrative: str) -> bool:
    """Whether a narrative has nothing but white space and zero-width characters."""
    return not any(_is_visible(character) for character in narrative)


def text_problem(narrative: str, rows: int = 1) -> str | None:
    """Why a narrative, joined from so many rows, is no text; None if it is."""
    if not _is_unicode(narrative):
        return f"the narrative {_NOT_UNICODE}"
    nuls, junk = narrative.count("\0"), len(_JUNK.findall(narrative))
    if nuls > MAX_NULS * rows or junk > MAX_JUNK_SHARE * len(narrative):
        return "the narrative looks like binary data, not text (control characters); export its text again"
    return None


def metadata_problem(metadata: Mapping[str, str | None], max_characters: int) -> str | None:
    """Why the metadata of a row cannot be kept; None if they can."""
    for name, value in metadata.items():
        if value is None:
            continue
        if len(value) > max_characters:
            return too_long(f"field {shown_id(name)!r}", max_characters)
        if not _is_unicode(value):
            return f"the field {shown_id(name)!r} {_NOT_UNICODE}"
    return None


def too_long(what: str, limit: int) -> str:
    """The reason for a text over the limit.

    >>> too_long("narrative", 10000)
    'the narrative has more than the 10,000 characters that are read; split it, or raise max_characters'
    """
    return f"the {what} has more than the {limit:,} characters that are read; split it, or raise max_characters"


def shown_id(case_id: str | None) -> str | None:
    """An id fit for a terminal and a log: cut, and control characters escaped.

    >>> shown_id("A-17"), shown_id("a\\x1b[2J"), shown_id(" ")
    ('A-17', 'a\\\\x1b[2J', None)
    """
    text = trim(case_id or "")
    if len(text) > _LONGEST_SHOWN_ID:
        text = text[: _LONGEST_SHOWN_ID - 1] + "…"
    return printable(text) or None


def printable(text: str) -> str:
    """The text with everything escaped that moves a cursor, turns the writing or cannot be written out.

    >>> printable("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def trim(text: str) -> str:
    """The text without white space and zero-width characters at its ends."""
    start, end = 0, len(text)
    while start < end and not _is_visible(text[start]):
        start += 1
    while end > start and not _is_visible(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_visible(character: str) -> bool:
    """Neither white space nor a format character: zero-width spaces and joiners, BOM, bidi marks."""
    return not character.isspace() and unicodedata.category(character) != "Cf"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
