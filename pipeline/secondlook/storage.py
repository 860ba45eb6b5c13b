"""Folders written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import uuid4

MANIFEST = "manifest.json"


@contextmanager
def whole_folder(folder: Path, kind: str, names: Collection[str]) -> Iterator[Path]:
    """A fresh folder to write into, which takes the place of ``folder`` when the block ends well.

    If it does not, the fresh folder is removed and an earlier ``folder`` stays as it was. Only a
    folder that is empty, or whose manifest names a format of this ``kind`` and that holds nothing but
    files of these ``names`` (see :func:`is_named`), is ever replaced; its permissions are kept.

    Raises:
        OSError: something cannot be written; FileExistsError: ``folder`` holds something else.
    """
    folder = folder.resolve()
    check_replaceable(folder, kind, names)
    with fresh_folder(folder) as fresh:
        yield fresh


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of ``folder``, whatever that holds, when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    fresh.mkdir()
    try:
        if folder.exists():
            shutil.copymode(folder, fresh)
        yield fresh
        swap(fresh, folder, folder.with_name(f".{folder.name}-{uuid4().hex[:8]}"))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_replaceable(folder: Path, kind: str, names: Collection[str]) -> None:
    """Raise FileExistsError where replacing the folder would destroy anything but an earlier one of its kind."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not holds(folder, kind):
        raise FileExistsError(f"{folder} holds other files")
    if others := [name for name in inventory(folder) if not is_named(name, names)]:
        raise FileExistsError(f"{folder} holds other files, too ({', '.join(others[:3])})")


def inventory(folder: Path) -> list[str]:
    """What a folder and those below it hold, as sorted paths with slashes: files, links, and folders that are empty."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir() or not any(path.iterdir()))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def is_named(path: str, names: Collection[str]) -> bool:
    """Whether a path is one of some names; these may have wildcards, which end at a slash.

    >>> is_named("pages/list-001.html", {"pages/list-*.html"}), is_named("a/pages/list-1.html", {"pages/list-*.html"})
    (True, False)
    """
    parts = path.split("/")
    return any(len(parts) == name.count("/") + 1 and all(map(fnmatchcase, parts, name.split("/"))) for name in names)


def holds(folder: Path, kind: str) -> bool:
    """Whether a folder's manifest names a format of this kind, whatever its version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return str(manifest["format"]).startswith(f"{kind}/")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def yes(question: Callable[[], bool]) -> bool:
    """A path's answer; no where it cannot say: in a folder that may not be entered, by a name that is too long."""
    try:
        return question()
    except OSError:
        return False


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def swap(fresh: Path, folder: Path, aside: Path) -> None:
    """Put a folder in the place of another, which is moved ``aside`` for the moment that takes, and then removed."""
    if not folder.exists():
        os.replace(fresh, folder)
        return
    os.replace(folder, aside)
    try:
        os.replace(fresh, folder)
    except BaseException:
        if not folder.exists():
            os.replace(aside, folder)
        raise
    remove_folder(aside)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is there whole or not at all: a kill leaves no half of it under its name."""
    if folder.exists():
        aside = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
        os.replace(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, even where the power fails; OSError if it cannot be written."""
    fresh = path.with_name(f".{path.name}-{uuid4().hex[:8]}")
    try:
        fresh.write_bytes(content)
        to_disk(fresh)
        os.replace(fresh, path)
        to_disk(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files so that all are there or, where one cannot be written, none; OSError says which."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    fresh = {path: path.with_name(f".{path.name}-{uuid4().hex[:8]}") for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh[path].write_bytes(content)
            to_disk(fresh[path])
        for path in files:
            os.replace(fresh[path], path)
    except BaseException:
        for path, content_before in before.items():
            if content_before is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content_before:
                path.write_bytes(content_before)
        raise
    finally:
        for path in fresh.values():
            path.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk and not only in the system's memory."""
    if os.name == "nt" and path.is_dir():  # Windows writes folders through, and opens none
        return
    opened = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder's place for this process alone, by a lock file beside it.

    The system lets go of the lock however the process ends.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"{folder} is in use") from None
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for a lock that is no longer there takes a new one.
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
