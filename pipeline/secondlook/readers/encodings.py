"""The encoding of a text file, found from its bytes."""

from __future__ import annotations

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

SAMPLE = 1_000_000

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNMARKED_WIDE = ("utf-16-le", "utf-16-be")


def detect(path: Path) -> str:
    """The name of the codec that reads a file.

    A byte order mark decides; else UTF-8 if the whole file is valid UTF-8; else Windows-1252, which
    offices' exports mostly are, unless its letters make no sense there and charset-normalizer knows better.
    """
    with path.open("rb") as stream:
        head = stream.read(SAMPLE)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if wide := _wide(head):
        return wide
    if _is_utf8(path):
        return "utf-8"
    return _single_byte(head)


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of plain English is nought."""
    even, odd = head[0:2000:2].count(0), head[1:2000:2].count(0)
    size = max(1, len(head[:2000]) // 2)
    if odd > 0.6 * size and even < 0.1 * size:
        return _UNMARKED_WIDE[0]
    if even > 0.6 * size and odd < 0.1 * size:
        return _UNMARKED_WIDE[1]
    return None


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(SAMPLE):
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _single_byte(head: bytes) -> str:
    """Windows-1252 where the bytes above 127 are punctuation and a few accents, as in English text."""
    high = [byte for byte in head if byte > 127]
    western = sum(
        0x80 <= byte <= 0x9F
        or byte in b"\xa0\xa3\xa7\xa9\xab\xb0\xb7\xbb\xe0\xe1\xe4\xe7\xe8\xe9\xea\xed\xf1\xf3\xf6\xfa\xfc"
        for byte in high
    )
    undefined = sum(byte in b"\x81\x8d\x8f\x90\x9d" for byte in high)
    if not undefined and len(high) < 0.05 * len(head) and western >= 0.5 * len(high):
        return "cp1252"
    best = from_bytes(head[:100_000]).best()
    return best.encoding if best is not None else "cp1252"
