"""Search: which cases hold these words? An index of words, kept by SQLite (FTS5) or PostgreSQL (tsvector)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from secondlook.review.database import is_sqlite

MOST_WORDS = 12
"""Of a question; further ones are left out."""

LONGEST = 400_000
"""Bytes of a case's words that are indexed: PostgreSQL takes no more than a megabyte of them, with their places."""

_LONGEST_WORD = 100
_BETWEEN = re.compile(r"\W+")


def add_to_index(session: Session, cases: Sequence[tuple[int, str]]) -> None:
    """Index cases by their key and the text in which they are to be found."""
    if not cases:
        return
    rows = [(key, _plain(text_).encode()[:LONGEST].decode(errors="ignore")) for key, text_ in cases]
    if is_sqlite(session):
        insert = "INSERT INTO case_text (rowid, content) VALUES (:key, :content)"
        session.execute(text(insert), [{"key": key, "content": content} for key, content in rows])
        return
    # In one piece: the driver would send them one by one.
    insert = (
        "INSERT INTO case_text (case_id, content) SELECT given.key, to_tsvector('simple', given.content) "
        "FROM json_to_recordset(CAST(:rows AS json)) AS given (key integer, content text)"
    )
    session.execute(text(insert), {"rows": json.dumps([{"key": key, "content": content} for key, content in rows])})


def words_of(question: str) -> list[str]:
    """The words that a question asks for, without their capitals and accents.

    >>> words_of("Sgt. O'Neill, 'rang Zoë'")
    ['sgt', 'o', 'neill', 'rang', 'zoe']
    """
    return [word[:_LONGEST_WORD] for word in _plain(question).split()[:MOST_WORDS]]


def matching(session: Session, question: str) -> Select[tuple[int]] | None:
    """A selection of the keys of cases that hold all words of a question, or begin one so; None if it has no word."""
    words = words_of(question)
    if not words:
        return None
    if is_sqlite(session):
        asked = " ".join(f'"{word}"*' for word in words)
        found = table("case_text", column("rowid"), column("case_text"))
        return select(found.c.rowid).where(found.c.case_text.op("MATCH")(asked))
    asked = " & ".join(f"'{word}':*" for word in words)
    holds: ColumnElement[bool] = literal_column("content").op("@@")(func.to_tsquery("simple", asked))
    return select(literal_column("case_id")).select_from(text("case_text")).where(holds)


def _plain(text_: str) -> str:
    """The words alone, as one writes them in a hurry; so both databases cut them alike."""
    if not text_.isascii():
        text_ = "".join(c for c in unicodedata.normalize("NFKD", text_) if not unicodedata.combining(c))
    return _BETWEEN.sub(" ", text_.replace("_", " ")).casefold().strip()
