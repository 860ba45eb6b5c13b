"""Search: which cases hold these words? An index of words, kept by SQLite (FTS5) or PostgreSQL (tsvector)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from secondlook.review.tables import NUL_SHOWN

MOST_WORDS = 12
"""Of a question; further ones are left out."""

_LONGEST = 500_000
"""Characters of one narrative that are indexed: PostgreSQL takes no more than a megabyte of words in one case."""

_WORD = re.compile(r"\w+")


def add_to_index(session: Session, cases: Iterable[tuple[int, str]]) -> None:
    """Index cases by their key and the text in which they are to be found."""
    content = ":content" if _is_sqlite(session) else "to_tsvector('simple', :content)"
    key = "rowid" if _is_sqlite(session) else "case_id"
    rows = [{"key": key_, "content": text_[:_LONGEST].replace("\0", NUL_SHOWN)} for key_, text_ in cases]
    if rows:
        session.execute(text(f"INSERT INTO case_text ({key}, content) VALUES (:key, {content})"), rows)  # noqa: S608


def words_of(question: str) -> list[str]:
    """The words that a question asks for.

    >>> words_of("Sgt. O'Neill, 'rang him'")
    ['Sgt', 'O', 'Neill', 'rang', 'him']
    """
    return _WORD.findall(question)[:MOST_WORDS]


def matching(session: Session, question: str) -> Select[tuple[int]] | None:
    """A selection of the keys of cases that hold all words of a question, or begin one so; None if it has no word."""
    words = words_of(question)
    if not words:
        return None
    if _is_sqlite(session):
        asked = " ".join(f'"{word}"*' for word in words)
        found = table("case_text", column("rowid"), column("case_text"))
        return select(found.c.rowid).where(found.c.case_text.op("MATCH")(asked))
    asked = " & ".join(f"'{word}':*" for word in words)
    holds: ColumnElement[bool] = literal_column("content").op("@@")(func.to_tsquery("simple", asked))
    return select(literal_column("case_id")).select_from(text("case_text")).where(holds)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
