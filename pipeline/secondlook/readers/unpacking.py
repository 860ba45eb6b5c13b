"""How much may be unpacked: a small zip file can hold more than any memory or disk."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

MAX_UNPACKED_BYTES = 500_000_000
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 50_000_000
"""Small files may compress very well; it is large ones that fill the memory."""

UNBOUNDED = "is packed in a way that may unpack to any size (bzip2, LZMA)"

MAX_DIRECTORY_BYTES = 8_000_000
"""zipfile holds the whole list of members in memory, whatever their number."""

_END = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = (1 << 16) - 1
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_END_64 = b"PK\x06\x06"
_END_64_BYTES = 56


def bomb(members: Sequence[ZipInfo], room: int | None = None) -> str | None:
    """Why the members must not be unpacked; None if they may.

    Judged by the sizes declared: zipfile never unpacks more of a member than these, where it is packed as usual. With
    other methods it unpacks all that a piece of the file holds before it looks at the size.
    """
    if not all(is_bounded(member) for member in members):
        return UNBOUNDED
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    swollen = unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > MAX_RATIO * packed
    if unpacked <= (MAX_UNPACKED_BYTES if room is None else room) and not swollen:
        return None
    return f"unpacks to {unpacked:,} bytes, more than is safe to read"


def is_bounded(member: ZipInfo) -> bool:
    """Whether a member is packed so that no more of it is unpacked than is asked for."""
    return member.compress_type in (ZIP_STORED, ZIP_DEFLATED)


def directory_bytes(file: BinaryIO) -> int:
    """The size of a zip file's list of members as its end records it; 0 if there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _LONGEST_COMMENT - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES))
    tail = file.read()
    end = _end(tail)
    if end < 0 or len(tail) < end + _END_BYTES:
        return 0
    (declared,) = struct.unpack_from("<L", tail, end + 12)
    locator = end - _LOCATOR_BYTES
    if locator >= _END_64_BYTES and tail.startswith(_LOCATOR, locator):
        # zipfile believes such a record, whatever the other says: older releases the one before the locator,
        # newer ones the one that it points to.
        (place,) = struct.unpack_from("<Q", tail, locator + 8)
        file.seek(min(size, place))
        records = (tail[locator - _END_64_BYTES : locator], file.read(_END_64_BYTES))
        found = [record for record in records if record.startswith(_END_64) and len(record) == _END_64_BYTES]
        declared = max((struct.unpack_from("<Q", record, 40)[0] for record in found), default=declared)
    return min(size, int(declared))


def _end(tail: bytes) -> int:
    """Where the end record begins, found as zipfile finds it; below 0 if there is none.

    A record without a comment is the last thing in a file, and may itself hold the bytes that mark one.
    """
    last = len(tail) - _END_BYTES
    if last >= 0 and tail.startswith(_END, last) and tail.endswith(b"\0\0"):
        return last
    return tail.rfind(_END)
