"""Zip archives: each member is read as a file of its own would be, and named archive.zip/member.

A member is unpacked into a temporary folder under a name of ours, and removed once it is read. Names
that point out of the archive are refused nonetheless: no honest program writes them.
"""

from __future__ import annotations

import errno
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from secondlook.readers.checks import printable
from secondlook.readers.kinds import suffix_problem
from secondlook.readers.rows import Problem, Row
from secondlook.readers.sandbox import DOCUMENTS
from secondlook.readers.unpacking import MAX_UNPACKED_BYTES, UNBOUNDED, bomb, is_bounded

MAX_MEMBERS = 10_000
MAX_LEVELS = 2

_ONE_CASE = DOCUMENTS | {".txt"}
_ENCRYPTED = 1
_DRIVE = re.compile("[A-Za-z]:")
_DAMAGE = (None, errno.EINVAL)
"""The numbers of an OSError that the content of an archive can cause; others come of the system."""

_ReadFile = Callable[[Path], Iterator[Row | Problem]]


@dataclass(slots=True)
class Room:
    """What an archive, with those within it, may still unpack."""

    bytes_left: int = MAX_UNPACKED_BYTES
    members_left: int = MAX_MEMBERS
    levels_left: int = MAX_LEVELS


def read_archive(path: Path, room: Room, read_file: _ReadFile) -> Iterator[Row | Problem]:
    """What ``read_file`` finds in every member, in the archive's order."""
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.file_size or not member.is_dir()]
        if problem := _archive_problem(members, room):
            yield Problem(None, problem)
            return
        room.bytes_left -= sum(member.file_size for member in members if is_bounded(member))
        room.members_left -= len(members)
        room.levels_left -= 1
        seen: set[str] = set()
        try:
            for member in members:
                for item in _read_member(archive, member, seen, read_file):
                    yield _named(item, member.filename)
        finally:
            room.levels_left += 1


def _archive_problem(members: list[zipfile.ZipInfo], room: Room) -> str | None:
    if room.levels_left <= 0:
        return "an archive within an archive within an archive is not read; unpack it first"
    if len(members) > room.members_left:
        return f"the archive has more than the {MAX_MEMBERS:,} members that are read; unpack it and name the folder"
    problem = bomb([member for member in members if is_bounded(member)], room.bytes_left)
    return f"the archive {problem}; unpack it and name the folder, if you know what it holds" if problem else None


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, seen: set[str], read_file: _ReadFile
) -> Iterator[Row | Problem]:
    suffix = _path(member.filename).suffix.lower()
    problem = _member_problem(member, seen) or suffix_problem(suffix)
    seen.add(member.filename)
    if problem:
        yield Problem(None, problem)
        return
    with tempfile.TemporaryDirectory(prefix="secondlook-") as folder:
        copy = Path(folder, f"member{suffix}")
        if _unpack(archive, member, copy):
            yield from read_file(copy)
        else:
            yield Problem(None, "it cannot be unpacked (damaged, or packed in an unusual way); make the archive again")


def _member_problem(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = member.orig_filename
    if "\0" in name or _DRIVE.match(name) or {"..", "/"} & set(_path(name).parts):
        return "its name points out of the archive or has a NUL, as an attack would; make the archive again"
    if member.is_dir():
        return "its name is that of a folder, but it holds data; make the archive again"
    if member.filename in seen:
        return "its name is in the archive twice, and the first is kept; rename one and make the archive again"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a symbolic link, which is not followed; put the file itself into the archive"
    if member.flag_bits & _ENCRYPTED:
        return "it is encrypted; unpack the archive with its password and name the folder"
    if not is_bounded(member):
        return f"it {UNBOUNDED}; make the archive again as an ordinary zip"
    if name.startswith("__MACOSX/"):
        return "it is what macOS notes beside a file, not a text of yours; nothing is lost"
    return None


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, copy: Path) -> bool:
    try:
        with archive.open(member) as packed, copy.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except OSError as error:
        if error.errno in _DAMAGE:
            return False
        raise  # a full disk, say
    except Exception:  # zipfile raises whatever its unpackers meet: BadZipFile, zlib.error, LZMAError, EOFError, ...
        return False
    return True


def _named(item: Row | Problem, name: str) -> Row | Problem:
    """The item as of this member. Of a file that is one case, the name is the id."""
    path = _path(name)
    shown = printable(name)
    member = f"{shown}/{item.member}" if item.member else shown
    if isinstance(item, Row) and not item.member and path.suffix.lower() in _ONE_CASE:
        return replace(item, member=member, case_id=path.stem)
    return replace(item, member=member)
