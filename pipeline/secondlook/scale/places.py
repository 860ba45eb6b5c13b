"""Places: where do the Parquet files lie, and what is in them? On a disk, or in an object store.

An address such as ``s3://bucket/cases`` or ``gs://bucket/cases`` is opened by pyarrow, which takes credentials
where the store's own tools do. Everything else is a path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from secondlook.errors import InputError, RunError
from secondlook.readers import NO_ROWS, ReadOptions, as_item, file_problem, list_files
from secondlook.readers.checks import Checker, printable
from secondlook.readers.kinds import suffix_problem
from secondlook.readers.parquet import Source, row_groups
from secondlook.readers.rows import Problem
from secondlook.scale.plan import Slice, file_slices
from secondlook.schema import Reject
from secondlook.score import NAMES
from secondlook.storage import MANIFEST, is_named

PARQUET = ".parquet"
_AT_A_TIME = 16
"""Footers are small, and far away."""

_PIECE = 1 << 20


@dataclass(frozen=True)
class Found:
    """A file of the input: what it is called in a run, and where it lies."""

    name: str
    place: str
    within_folder: bool = False

    @property
    def is_parquet(self) -> bool:
        """Whether its name says so."""
        return self.name.lower().endswith(PARQUET)


def is_address(place: str) -> bool:
    """Whether a place lies in an object store: ``s3://bucket/cases``."""
    return "://" in place


def open_place(place: str) -> Source:
    """A file, ready to be read; OSError if it cannot be."""
    if not is_address(place):
        return Path(place)
    system, path = fs.FileSystem.from_uri(place)
    opened: BinaryIO = system.open_input_file(path)
    return opened


def find_files(inputs: Sequence[str]) -> list[Found]:
    """All files of the inputs, in the order in which they are read.

    Raises:
        InputError: an input does not exist, or is of a kind that only one process reads.
    """
    found = [file for place in inputs for file in (_in_store(place) if is_address(place) else _on_disk(place))]
    for file in found:
        if not file.is_parquet and suffix_problem(Path(file.name).suffix.lower()) is None:
            raise InputError(
                f"{file.name}: the engine ray reads Parquet only; convert it (pandas: "
                "read_csv(…, dtype=str).to_parquet(…)), or leave --engine out"
            )
    return found


def find_slices(files: Sequence[Found], options: ReadOptions) -> Iterator[Slice | Reject]:
    """The row groups of files, by their footers, and a reject for every file without any; in order."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for pieces in pool.map(lambda file: list(_pieces(file, options)), files):
            yield from pieces


def column_names(files: Sequence[Found]) -> set[str]:
    """The columns that any of the files has, by their footers; damaged files have none."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return {name for names in pool.map(_column_names, files) for name in names}


def digest(address: str) -> str:
    """SHA-256 of a file in an object store; what cannot be read is rejected later, with a reason."""
    together = hashlib.sha256()
    try:
        system, path = fs.FileSystem.from_uri(address)
        with system.open_input_stream(path) as file:
            while piece := file.read(_PIECE):
                together.update(piece)
    except (OSError, pa.ArrowException):
        return "unreadable"
    return together.hexdigest()


def state(address: str) -> Any:
    """What changes when a file in an object store is written."""
    system, path = fs.FileSystem.from_uri(address)
    info = system.get_file_info(path)
    return info.size, info.mtime_ns


def check_empty(address: str, replace: bool) -> None:
    """Raise RunError where an address holds something, unless that is a run and it may be replaced."""
    system, path = _store(address, RunError)
    try:
        inside = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=True))
    except OSError as cause:
        raise RunError(f"{address}: cannot be read ({cause})") from None
    held = [info.path.removeprefix(path).strip("/") for info in inside if info.type == fs.FileType.File]
    # A copy that was stopped has no manifest yet, and is a part of a run all the same.
    if held and not (replace and all(is_named(name, NAMES) for name in held)):
        raise RunError(f"{address}: holds something; give --out a new place, or --overwrite to replace a run there")


def upload(folder: Path, address: str) -> None:
    """Copy a run to an address, its manifest last: without one, it is no run."""
    system, path = _store(address, RunError)
    try:
        if system.get_file_info(path).type == fs.FileType.Directory:
            system.delete_dir_contents(path)
        system.create_dir(path, recursive=True)
        files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        for name in sorted(files, key=lambda name: name == MANIFEST):
            system.create_dir(f"{path}/{name}".rpartition("/")[0], recursive=True)
            fs.copy_files(str(folder / name), f"{path}/{name}", fs.LocalFileSystem(), system)
    except OSError as cause:
        raise RunError(f"{address}: the run could not be copied there ({cause}); it is whole in {folder}") from None


def _on_disk(place: str) -> Iterator[Found]:
    for name, path, within_folder in list_files([Path(place)]):
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: its name is no valid text; rename it") from None
        yield Found(name, str(path.absolute()), within_folder)


def _in_store(address: str) -> Iterator[Found]:
    system, path = _store(address, InputError)
    try:
        info = system.get_file_info(path)
        if info.type == fs.FileType.Directory:
            inside: Iterable[fs.FileInfo] = system.get_file_info(fs.FileSelector(path, recursive=True))
        else:
            inside = [info]
    except OSError as cause:
        raise InputError(f"{address}: cannot be read ({cause}); check the address and the credentials") from None
    files = sorted(one.path for one in inside if one.type == fs.FileType.File)
    if not files:
        raise InputError(f"{address}: does not exist, or is empty; check the address")
    for file in files:
        full = address.rstrip("/") + file.removeprefix(path.rstrip("/"))
        yield Found(printable(full), full)


def _store(address: str, error: type[Exception]) -> tuple[fs.FileSystem, str]:
    try:
        system, path = fs.FileSystem.from_uri(address)
    except (OSError, pa.ArrowException) as cause:
        raise error(f"{address}: is no address that can be opened ({cause}); such as s3://bucket/folder") from None
    return system, path


def _pieces(file: Found, options: ReadOptions) -> Iterator[Slice | Reject]:
    """The row groups of a file, or why there are none."""
    problem, rows = _problem(file), [0]
    if problem is None:
        found = _row_groups(file, options)
        if isinstance(found, str) or not any(found):
            problem = Problem(None, found if isinstance(found, str) else NO_ROWS)
        else:
            rows = found
    if problem is None:
        yield from file_slices(file.name, file.place, rows)
    elif isinstance(reject := as_item(problem, file.name, Checker(0)), Reject):
        yield reject


def _column_names(file: Found) -> list[str]:
    if _problem(file):
        return []
    try:
        names: list[str] = pq.read_schema(open_place(file.place)).names
    except (OSError, pa.ArrowException):
        return []
    return names


def _row_groups(file: Found, options: ReadOptions) -> list[int] | str:
    try:
        return row_groups(open_place(file.place), options)
    except OSError as cause:
        return f"it cannot be read ({cause.strerror or type(cause).__name__}); check its permissions"


def _problem(file: Found) -> Problem | None:
    """Why nothing is read of a file, whatever its footer says."""
    if not is_address(file.place):
        return file_problem(Path(file.place), within_folder=file.within_folder)
    reason = suffix_problem(Path(file.name).suffix.lower())
    return Problem(None, reason) if reason else None
