"""Text as offices save it: in UTF-8, UTF-16 or a code page that nothing names.

UTF-8 hardly ever fits by chance, so it is tried first. In code pages every byte is some character;
which is meant shows in the words: “don’t” saved on a Mac becomes “donÕt” in cp1252, and no one
writes a capital there. What no Western code page explains is left to charset-normalizer.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import charset_normalizer

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = ("cp1252", "mac_roman", "cp850")
_MAX_ODD_SHARE = 0.2
_COMMON_SYMBOLS = "‘’“”„–—…•·§°©®™£€¥¢¡¿«»´¹²³¼½¾±×÷\u00a0\u00ad"
_SYMBOLS_WITHIN_WORDS = "‘’´–—…·\u00a0\u00ad"
_CAPITAL_WORDS = "ÀÈÉÓ"
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_CHUNK = 1 << 20
_HEAD = 1 << 12
_SAMPLE = 1 << 15

_MARK_UNDECODABLE = "secondlook.undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """A lone surrogate, which no text has: only the row with the bad byte is rejected for it."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_MARK_UNDECODABLE, _mark_undecodable)


def open_text(path: Path) -> TextIO:
    """The file as text, without its byte order mark, line ends untouched.

    Undecodable bytes become lone surrogates, so that the rows that hold them can be told.
    """
    with path.open("rb") as file:
        encoding = detect(file)
    return path.open(encoding=encoding, errors=_MARK_UNDECODABLE, newline="")


def decode(content: bytes) -> str:
    """Bytes as text, as ``open_text`` would read them from a file."""
    return content.decode(detect(io.BytesIO(content)), errors=_MARK_UNDECODABLE)


def detect(file: BinaryIO) -> str:
    """The encoding of a file, read from its start.

    >>> import io
    >>> [detect(io.BytesIO("It cost £5, “he” said".encode(e))) for e in ("utf-8", "cp1252", "mac_roman")]
    ['utf-8-sig', 'cp1252', 'mac_roman']
    """
    head = file.read(_HEAD)
    marked = next((encoding for mark, encoding in _BOMS if head.startswith(mark)), None) or bare_utf16(head)
    if marked:
        return marked
    if _is_utf8(file):
        return "utf-8-sig"
    return _guess(_sample(file))


def bare_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark, as some databases export it: every other byte of ASCII is NUL."""
    half = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if half and odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if half and even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _is_utf8(file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(file):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _sample(file: BinaryIO) -> bytes:
    """The first lines that are not ASCII: whole ones, as half a character would mislead."""
    sample = bytearray()
    for chunk in _chunks(file):
        for line in chunk.splitlines():
            if high := _HIGH_BYTE.search(line):
                start = max(0, high.start() - 100) if len(line) > _SAMPLE else 0
                sample += line[start : start + _SAMPLE] + b"\n"
            if len(sample) >= _SAMPLE:
                return bytes(sample)
    return bytes(sample)


def _guess(sample: bytes) -> str:
    # Mostly sound UTF-8 with a stray byte: files are joined and cut; the rows concerned are rejected.
    if len(_UTF8_SEQUENCE.findall(sample)) > len(_HIGH_BYTE.findall(_UTF8_SEQUENCE.sub(b"", sample))):
        return "utf-8-sig"
    for encoding in _WESTERN:
        if _odd_share(sample.decode(encoding, errors="replace")) <= _MAX_ODD_SHARE:
            return encoding
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def _odd_share(text: str) -> float:
    """The share of non-ASCII characters that stand where no Western language puts them."""
    padded = f" {text} "
    places = [place for place, character in enumerate(padded) if not character.isascii()]
    odd = sum(_is_odd(*padded[place - 1 : place + 2]) for place in places)
    return odd / max(1, len(places))


def _is_odd(before: str, character: str, after: str) -> bool:
    alone = not before.isalpha() and not after.isalpha()
    within = before.isalpha() and after.isalpha()
    if not character.isalpha():
        return character not in _COMMON_SYMBOLS or (within and character not in _SYMBOLS_WITHIN_WORDS)
    if character.isupper() and (before.islower() or (alone and character not in _CAPITAL_WORDS)):
        return True
    if before.isdigit() or after.isdigit():
        return character not in "ªº"
    return within and not before.isascii() and not after.isascii()
