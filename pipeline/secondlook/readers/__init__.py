"""From files to cases: every input row becomes one Case, a part of one, or one Reject that says why not.

Reading streams. Bad data never raise: a table, a sheet, a document, a member of an archive or a row
that cannot be read is rejected with a reason, and the reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from secondlook.errors import InputError
from secondlook.readers.archive import Room, read_archive
from secondlook.readers.checks import Checker, printable, shown_id
from secondlook.readers.delimited import read_delimited
from secondlook.readers.joining import join_rows
from secondlook.readers.jsonl import read_jsonl
from secondlook.readers.kinds import content_problem, suffix_problem
from secondlook.readers.options import ReadOptions
from secondlook.readers.parquet import read_parquet
from secondlook.readers.plain import read_plain
from secondlook.readers.rows import Problem, Row
from secondlook.readers.sandbox import DOCUMENTS, Sandbox
from secondlook.readers.xlsx import read_xlsx
from secondlook.schema import Case, Reject
from secondlook.storage import yes

__all__ = ["NO_ROWS", "ReadOptions", "as_item", "file_problem", "list_files", "read_cases"]

_Reader = Callable[[Path, ReadOptions], Iterator[Row | Problem]]

_READERS: dict[str, _Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_plain,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    ".xlsx": read_xlsx,
}
_DEFAULTS = ReadOptions()

NO_ROWS = "there are no rows in it; remove it or export it again"


def read_cases(inputs: Sequence[Path], options: ReadOptions = _DEFAULTS) -> Iterator[Case | Reject]:
    """The cases of files and folders in input order, with a Reject for every row that is none.

    Folders are walked in sorted order. A file without any row is one Reject.

    Raises:
        InputError: there are no inputs, or one does not exist.
    """
    if not inputs:
        raise InputError("there is nothing to read; name at least one file or folder")
    for path in inputs:
        if not yes(path.exists):
            raise InputError(f"{_name(path)}: does not exist; check the path")
    return _read_all(inputs, options)


def _read_all(inputs: Sequence[Path], options: ReadOptions) -> Iterator[Case | Reject]:
    checker = Checker(options.max_characters, options.join_rows)
    sandbox = Sandbox()
    try:
        for path in inputs:
            files = _walk(path) if yes(path.is_dir) else [path]
            for file in files:
                for item in _items(file, options, sandbox, Room(), within_folder=file is not path):
                    yield as_item(item, _name(file), checker)
    finally:
        sandbox.close()


def list_files(inputs: Sequence[Path]) -> Iterator[tuple[str, Path, bool]]:
    """Every file of the inputs in the order in which they are read.

    Returns what it is called in a run, its path, and whether it was found within a folder.

    Raises:
        InputError: an input does not exist.
    """
    for path in inputs:
        if not yes(path.exists):
            raise InputError(f"{_name(path)}: does not exist; check the path")
        for file in _walk(path) if yes(path.is_dir) else [path]:
            yield _name(file), file, file is not path


def file_problem(path: Path, *, within_folder: bool) -> Problem | None:
    """Why nothing is read from a path, whatever is in it; None if its reader may try."""
    try:
        reason = _reason(path, within_folder)
    except OSError as error:
        return _unreadable(error)
    return Problem(None, reason) if reason else None


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, in sorted order; the folder itself if there are none."""
    empty = True
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path == folder or (yes(path.is_dir) and not yes(path.is_symlink)):
            entries = _entries(path)
            waiting.extend(entries or [])
            if entries is not None:
                continue
        empty = False
        yield path
    if empty:
        yield folder


def _entries(folder: Path) -> list[Path] | None:
    """What a folder holds, last name first; None if it may not be listed."""
    try:
        return sorted(folder.iterdir(), reverse=True)
    except OSError:
        return None


def as_item(item: Row | Problem, name: str, checker: Checker) -> Case | Reject:
    """The case in a row of a file of this name, or why there is none."""
    place = f"{name}/{item.member}" if item.member else name
    if item.sheet:
        place += f"#{printable(item.sheet)}"
    if isinstance(item, Row):
        return checker.check(place, item)
    return Reject(place, item.number, shown_id(item.case_id), item.reason, item.rest_unread, rows=item.rows)


def _items(
    path: Path, options: ReadOptions, sandbox: Sandbox, room: Room, within_folder: bool = False
) -> Iterator[Row | Problem]:
    """What a file holds; one Problem if that is nothing."""
    found = False
    try:
        for item in _content(path, options, sandbox, room, within_folder):
            found = True
            yield item
    except OSError as error:
        found = True
        yield _unreadable(error)
    if not found:
        yield Problem(None, NO_ROWS)


def _content(
    path: Path, options: ReadOptions, sandbox: Sandbox, room: Room, within_folder: bool
) -> Iterator[Row | Problem]:
    suffix = path.suffix.lower()
    if problem := file_problem(path, within_folder=within_folder):
        yield problem
    elif suffix == ".zip":
        yield from read_archive(path, room, lambda member: _items(member, options, sandbox, room))
    elif suffix in DOCUMENTS:
        yield sandbox.read(path, options)
    else:
        rows = _READERS[suffix](path, options)
        yield from join_rows(rows, options.max_characters) if options.join_rows else rows


def _unreadable(error: OSError) -> Problem:
    reason = f"it cannot be read to its end ({error.strerror}); check its permissions and the free disk space"
    return Problem(None, reason, rest_unread=True)


def _reason(path: Path, within_folder: bool) -> str | None:
    if within_folder and path.is_symlink():
        return "it is a symbolic link, which is not followed; name its target as an input"
    if path.is_dir():
        return "the folder is empty or may not be listed; check its path and its permissions"
    if problem := suffix_problem(path.suffix.lower()):
        return problem
    if not path.is_file():
        return "it is not an ordinary file; copy its content into one"
    return content_problem(path)


def _name(path: Path) -> str:
    """The path as given; what could not be written out, or would break a line of a table, is escaped."""
    return printable(path.as_posix())
