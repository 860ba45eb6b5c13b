"""E-mails (.eml): the plain text of the body, else the text of its HTML. Attachments are named, not read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import CloseBoundaryNotFoundDefect, NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from secondlook.readers.encoding import decode
from secondlook.readers.rows import Problem, Row

_CUT_SHORT = (CloseBoundaryNotFoundDefect, NoBoundaryInMultipartDefect, StartBoundaryNotFoundDefect)
_ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_MAIL_HEADERS = {"from", "to", "date", "subject", "received", "message-id", "return-path", "mime-version"}
_SHOWN_HEADERS = ("subject", "from", "date")
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
    if any(isinstance(defect, _CUT_SHORT) for part in parts for defect in part.defects):
        return Problem(None, "the e-mail is cut short or damaged (the end of a part is missing); export it again")
    attachments: list[str] = []
    narrative = _join(_bodies(message, attachments))
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


def _bodies(part: Message, attachments: list[str]) -> list[str]:
    """The texts of a part; names what is attached to it on the way."""
    kind = part.get_content_type()
    if kind == "multipart/alternative":
        return _best(part, attachments)
    if part.get_content_maintype() == "multipart":
        return [text for child in _children(part) for text in _bodies(child, attachments)]
    if kind in ("text/plain", "text/html") and not _is_attached(part):
        text = _decoded(part)
        return [text_of_html(text) if kind == "text/html" else text]
    attachments.append(part.get_filename() or kind)
    return []


def _best(part: Message, attachments: list[str]) -> list[str]:
    """One of several forms of a text: the plain one, unless there is nothing in it."""
    forms = [(child.get_content_type() != "text/plain", _bodies(child, attachments)) for child in _children(part)]
    written = [form for form in forms if _join(form[1]).strip()]
    return min(written, key=lambda form: form[0])[1] if written else []


def _children(part: Message) -> list[Message]:
    payload: Any = part.get_payload()
    return list(payload) if isinstance(payload, list) else []


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


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
    """
    parser = _Visible()
    parser.feed(html)
    parser.close()
    lines = [" ".join(line.split()) for line in "".join(parser.texts).split("\0")]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


class _Visible(HTMLParser):
    """Collects texts, with a NUL where a line ends: the line ends of the source are mere blanks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._invisible = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._invisible = 0 if tag == "body" else self._invisible + (tag in _INVISIBLE)
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._invisible -= tag in _INVISIBLE and self._invisible > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._invisible:
            self.texts.append(data.replace("\0", "\ufffd"))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.texts.append("\0")
        elif tag in _CELLS:
            self.texts.append(" ")
