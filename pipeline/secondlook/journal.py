"""The journal: how far has a run got? Whatever stops it loses a shard and what was read ahead at most.

While a run is being made, its work lies beside its place, in ``.RUN.unfinished``:

===============================  =====================================================================
file                             what it holds
===============================  =====================================================================
``journal.json``                 what the work rests on: inputs, bundle, configuration, versions
``shard-NUMBER-DIGEST.parquet``  a part of the input, done (see ``shards``); the SHA-256 of its bytes
``run``                          the run, being written from the shards
``earlier``                      for a moment, an earlier run that gives way
===============================  =====================================================================

A shard is committed by giving it its name once its bytes are on the disk, so that no list of shards has
to be kept in step. A damaged one does not have the digest that its name says, and is done again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secondlook.errors import OtherWorkError, RunError
from secondlook.storage import remove_folder, swap, to_disk, write_whole

FORMAT = "secondlook-journal/1"
_KEY = "journal.json"
_FRESH, _EARLIER = "run", "earlier"
_SHARD = re.compile(r"shard-(\d+)-([0-9a-f]{64})\.parquet")
_ITEMS, _CASES = b"items", b"cases"


class Journal:
    """The work of one run.

    Args:
        out: the run's place; the work lies beside it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = _folder(out)
        self._names: dict[int, str] = {}
        self._left: dict[int, list[Path]] = {}
        for path in _shards(self.folder):
            self._left.setdefault(int(path.name.split("-")[1]), []).append(path)

    def find(self, number: int, items: str | None = None) -> int | None:
        """How many cases a shard has that is done; None if it is not, not of these items, or damaged.

        Without ``items``, what the work rests on must leave no doubt which they are.
        """
        for path in self._left.pop(number, []):
            if content := _sound(path):
                told = pq.read_metadata(io.BytesIO(content)).metadata
                if items is None or told[_ITEMS].decode() == items:
                    self._names[number] = path.name
                    return int(told[_CASES])
            path.unlink(missing_ok=True)
        return None

    def commit(self, number: int, items: str, cases: int, shard: pa.Table) -> None:
        """Keep a shard, from this moment on whatever happens; OSError if it cannot be written."""
        self.keep(number, shard_bytes(items, cases, shard))

    def keep(self, number: int, content: bytes) -> None:
        """Like :meth:`commit`, for what :func:`shard_bytes` made elsewhere."""
        name = f"shard-{number:05d}-{hashlib.sha256(content).hexdigest()}.parquet"
        write_whole(self.folder / name, content)
        self._names[number] = name

    def shards(self) -> Iterator[pa.Table]:
        """The shards that were found or committed, in input order.

        Raises:
            RunError: one was damaged since.
        """
        for number in sorted(self._names):
            yield self._shard(number)

    def _shard(self, number: int) -> pa.Table:
        path = self.folder / self._names[number]
        content = _sound(path)
        if content is None:
            raise RunError(f"{path}: was damaged while the run was made; run the same command with --resume")
        return pq.read_table(io.BytesIO(content))

    def cases(self) -> int:
        """How many cases are done, by what the shards say of themselves."""
        counted = 0
        for path in _shards(self.folder):
            with suppress(OSError, pa.ArrowException, KeyError, ValueError):
                counted += int(pq.read_metadata(path).metadata[_CASES])
        return counted

    @property
    def empty(self) -> bool:
        """Whether nothing is done."""
        return not _shards(self.folder)

    @contextmanager
    def whole_run(self) -> Iterator[Path]:
        """A fresh folder that becomes the run when the block ends well; an earlier run stays until then."""
        fresh = self.folder / _FRESH
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        if self.out.exists():
            shutil.copymode(self.out, fresh)
        yield fresh
        for path in [*fresh.rglob("*"), fresh]:
            to_disk(path)
        swap(fresh, self.out, self.folder / _EARLIER)
        to_disk(self.out.parent)

    def remove(self) -> None:
        """Remove the work: the run is there, or nobody wants it."""
        (self.folder / _KEY).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def open_journal(out: Path, key: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Journal:
    """The journal of a run, whose place the caller holds.

    Args:
        out: the run's place.
        key: what the work rests on, by name.
        resume: go on with what was left unfinished, if there is anything.
        overwrite: begin afresh whatever was left, unless it is to be resumed.

    Raises:
        RunError: work was left and neither was asked for; OtherWorkError: it rests on something else.
        OSError: the folder cannot be written.
    """
    journal = Journal(out)
    key = {"journal": FORMAT, **key}
    stored = _stored_key(journal.folder)
    if stored is not None and not journal.empty and (resume or not overwrite):
        _check_key(journal, stored, key, resume)
        if stored == key:
            return journal
    _clear(journal)
    journal.folder.mkdir(mode=0o700, parents=True)
    write_whole(journal.folder / _KEY, (json.dumps(key, ensure_ascii=False, indent=2) + "\n").encode())
    return Journal(out)


def shard_bytes(items: str, cases: int, shard: pa.Table) -> bytes:
    """A shard as its file holds it: also of which items it is, and how many of them are cases."""
    told = {_ITEMS: items.encode(), _CASES: str(cases).encode()}
    buffer = io.BytesIO()
    pq.write_table(shard.replace_schema_metadata(told), buffer, compression="zstd")
    return buffer.getvalue()


def restore_earlier(out: Path) -> None:
    """Put an earlier run back that was moved aside by a process that did not live to put its own in its place.

    Where it did put it there, and did not live to remove the earlier one, that is done.
    """
    aside = _folder(out) / _EARLIER
    if aside.exists() and out.exists():
        remove_folder(aside)
    elif aside.exists():
        os.replace(aside, out)


def _check_key(journal: Journal, stored: Mapping[str, Any], key: Mapping[str, Any], resume: bool) -> None:
    """Raise RunError where work was left that this run does not go on with."""
    done = f"{journal.out}: a run of this place was stopped when {journal.cases()} cases were done"
    afresh = "--overwrite to begin afresh, or --out another folder"
    if differing := ", ".join(_differences(stored, key)):
        raise OtherWorkError(f"{done}, and it was of other {differing}; give {afresh}")
    if not resume:
        raise RunError(f"{done}; add --resume to go on, {afresh}")


def _differences(stored: Mapping[str, Any], key: Mapping[str, Any]) -> Iterator[str]:
    """What two keys differ in, in words."""
    for name in dict.fromkeys([*key, *stored]):
        before, now = stored.get(name), key.get(name)
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            own = [part for part in dict.fromkeys([*now, *before]) if before.get(part) != now.get(part)]
            yield f"{name} ({', '.join(map(str, own[:3]))}{', …' if len(own) > 3 else ''})"
        else:
            yield name


def _clear(journal: Journal) -> None:
    """Remove what was left; never anything that is not ours."""
    if not journal.folder.exists():
        return
    names = {path.name for path in journal.folder.iterdir() if not path.name.startswith(".")}
    if others := [name for name in names - {_KEY, _FRESH, _EARLIER} if not _SHARD.fullmatch(name)]:
        raise RunError(f"{journal.folder}: holds other files, too ({others[0]}); move them away")
    journal.remove()


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.unfinished")


def _shards(folder: Path) -> list[Path]:
    return [path for path in folder.glob("shard-*") if _SHARD.fullmatch(path.name)]


def _sound(path: Path) -> bytes | None:
    """The bytes of a shard, or None if they are not those that were committed."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    named = _SHARD.fullmatch(path.name)
    return content if named and hashlib.sha256(content).hexdigest() == named.group(2) else None


def _stored_key(folder: Path) -> dict[str, Any] | None:
    """What was written down; None if there is nothing, or nothing that can be read."""
    try:
        stored = json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
