"""E-mails (.eml): the plain text of the body, else the text of its HTML. Attachments are named, not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import (
    CloseBoundaryNotFoundDefect,
    InvalidBase64CharactersDefect,
    InvalidBase64LengthDefect,
    InvalidBase64PaddingDefect,
    NoBoundaryInMultipartDefect,
    StartBoundaryNotFoundDefect,
)
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from secondlook.readers.encoding import decode
from secondlook.readers.rows import Problem, Row

_DAMAGE = (
    CloseBoundaryNotFoundDefect,
    InvalidBase64CharactersDefect,
    InvalidBase64LengthDefect,
    InvalidBase64PaddingDefect,
    NoBoundaryInMultipartDefect,
    StartBoundaryNotFoundDefect,
)
_ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_MAIL_HEADERS = {"from", "to", "date", "subject", "received", "message-id", "return-path", "mime-version"}
_SHOWN_HEADERS = ("subject", "from", "date")
_TEXTS = {"text/plain", "text/html"}
_BLOCKS = frozenset(
    {"address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"}
    | {"ol", "p", "pre", "table", "tr", "ul"}
)
_CELLS = {"td", "th"}
_INVISIBLE = {"script", "style", "title"}


def read_mail(path: Path) -> Row | Problem:
    """The one row of an e-mail."""
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    if not _MAIL_HEADERS & {name.lower() for name in message}:
        return Problem(None, "its name ends in .eml, but it has no headers of an e-mail; rename it to .txt")
    parts = list(_parts(message))
    if any(part.get_content_type() in _ENCRYPTED for part in parts):
        return Problem(None, "the e-mail is encrypted; save it decrypted, or its text as .txt")
    try:
        narrative = _join(_bodies(message))
    except _UnclosedError:
        return Problem(
            None, "the HTML of the e-mail is cut short or damaged (an element is never closed); export it again"
        )
    # Only now: the defects of a part's base64 show when it is decoded.
    if any(isinstance(defect, _DAMAGE) for part in parts for defect in part.defects):
        return Problem(None, "the e-mail is cut short or damaged (part of it is missing); export it again")
    attachments = [part.get_filename() or part.get_content_type() for part in parts if _is_attached(part)]
    if attachments and not narrative.strip():
        return Problem(None, "the e-mail has attachments but no text; save them as files of their own")
    metadata = {name: _header(message, name) for name in _SHOWN_HEADERS}
    metadata["attachments"] = json.dumps(attachments, ensure_ascii=False) if attachments else None
    return Row(1, path.stem, narrative, metadata)


def _parts(part: Message) -> Iterator[Message]:
    """A part and those within it; not those of an e-mail that is attached to it."""
    yield part
    if part.get_content_maintype() == "multipart":
        for child in _children(part):
            yield from _parts(child)


def _join(texts: list[str]) -> str:
    return "\n".join(texts)


def _bodies(part: Message) -> list[str]:
    """The texts of a part."""
    kind = part.get_content_type()
    if kind == "multipart/alternative":
        return _best(part)
    if part.get_content_maintype() == "multipart":
        return [text for child in _children(part) for text in _bodies(child)]
    if _is_attached(part):
        return []
    text = _decoded(part)
    return [text_of_html(text) if kind == "text/html" else text]


def _best(part: Message) -> list[str]:
    """One of several forms of a text: the plain one, unless there is nothing in it."""
    children = sorted(_children(part), key=lambda child: child.get_content_type() != "text/plain")
    # One after another, so that damage in a form that is not needed does no harm.
    forms = (_bodies(child) for child in children)
    return next((form for form in forms if _join(form).strip()), [])


def _children(part: Message) -> list[Message]:
    payload: Any = part.get_payload()
    return list(payload) if isinstance(payload, list) else []


def _is_attached(part: Message) -> bool:
    if part.get_content_maintype() == "multipart":
        return False
    named = part.get_content_disposition() == "attachment" or part.get_filename() is not None
    return named or part.get_content_type() not in _TEXTS


def _decoded(part: Message) -> str:
    content: Any = part.get_payload(decode=True)
    try:
        text: str = content.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError, ValueError):
        text = decode(content)
    return text


def _header(message: EmailMessage, name: str) -> str | None:
    try:
        value = message[name]
        text = "" if value is None else str(value)
    except Exception:  # the parser of headers has raised IndexError, AttributeError, ValueError, ...
        text = next(raw for key, raw in message.raw_items() if key.lower() == name)
    # Bytes that the parser kept as surrogates: headers must be ASCII, but not every program knows.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    return (_iso(text) if name == "date" else text) or None


def _iso(date: str) -> str:
    """The date as a table would have it; as written if it is none.

    >>> _iso("Fri, 1 Mar 2024 09:30:00 +0100"), _iso("yesterday")
    ('2024-03-01T09:30:00+01:00', 'yesterday')
    """
    try:
        moment: datetime = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return date
    return moment.isoformat()


def text_of_html(html: str) -> str:
    r"""The visible text of HTML, a line for each block.

    >>> text_of_html("<style>p {}</style><p>She said:<br>&ldquo;no&rdquo; </p><p>He left.")
    'She said:\n“no”\n\nHe left.'

    Raises:
        _UnclosedError: what follows a tag is not text, and does not end.
    """
    parser = _Visible()
    parser.feed(html)
    cut_tag = parser.rawdata.startswith("<") and parser.rawdata != "<"
    parser.close()
    if cut_tag or parser.hidden:
        raise _UnclosedError
    lines = [" ".join(line.split()) for line in "".join(parser.texts).split("\0")]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


class _UnclosedError(Exception):
    """Text is hidden by an element or a tag that is never closed."""


class _Visible(HTMLParser):
    """Collects texts, with a NUL where a line ends: the line ends of the source are mere blanks.

    ``hidden`` is the element, if any, whose content is not shown.
    """

    # As releases of Python differ in them, and the text must not.
    CDATA_CONTENT_ELEMENTS = ("script", "style")  # type: ignore[misc]
    RCDATA_CONTENT_ELEMENTS = ()  # type: ignore[misc]

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.hidden: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self.hidden = None
        elif tag in _INVISIBLE:
            self.hidden = self.hidden or tag
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in (self.hidden, "svg"):  # whose end closes a title within it
            self.hidden = None
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.texts.append(data.replace("\0", "\ufffd"))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.texts.append("\0")
        elif tag in _CELLS:
            self.texts.append(" ")
