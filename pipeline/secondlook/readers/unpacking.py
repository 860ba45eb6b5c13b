"""How much may be unpacked: a small zip file can hold more than any memory or disk."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO
from zipfile import ZipInfo

MAX_UNPACKED_BYTES = 500_000_000
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 50_000_000
"""Small files may compress very well; it is large ones that fill the memory."""

MAX_DIRECTORY_BYTES = 8_000_000
"""zipfile holds the whole list of members in memory, whatever their number."""

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = (1 << 16) - 1
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_END_64_BYTES = 56


def bomb(members: Sequence[ZipInfo], room: int | None = None) -> str | None:
    """Why the members must not be unpacked; None if they may.

    Judged by the sizes declared: zipfile never unpacks more of a member than these.
    """
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    swollen = unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > MAX_RATIO * packed
    if unpacked <= (MAX_UNPACKED_BYTES if room is None else room) and not swollen:
        return None
    return f"unpacks to {unpacked:,} bytes, more than is safe to read"


def directory_bytes(file: BinaryIO) -> int:
    """The size of a zip file's list of members as its end records it; 0 if there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _LONGEST_COMMENT - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + _END_BYTES:
        return 0
    (declared,) = struct.unpack_from("<L", tail, end + 12)
    end_64 = end - _LOCATOR_BYTES - _END_64_BYTES
    if end_64 >= 0 and tail.startswith(_LOCATOR, end - _LOCATOR_BYTES):
        # zipfile believes this record, whatever the other says.
        (declared,) = struct.unpack_from("<Q", tail, end_64 + 40)
    return min(size, int(declared))
