"""Watch: what was dropped into a folder, and is it scored? Each file once, whatever stops the watching.

Every file gets a run folder of its own, ``OUT/NAME-DIGEST``. That folder is the only record of what is done:
its manifest says of which bytes it is. It is there whole or not at all (see ``score``), and work that was
stopped is gone on with. A file with the same bytes as an earlier one is not scored again, whatever its name.

A file that made the scoring fail gets a folder, too, which says why; it is tried again when that is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from secondlook.bundle import Bundle
from secondlook.config import ScoreConfig
from secondlook.errors import InputError, OtherWorkError, RunError
from secondlook.journal import Journal
from secondlook.readers import ReadOptions
from secondlook.score import score
from secondlook.spreadsheet import csv_bytes
from secondlook.storage import MANIFEST, file_digest, fresh_folder, held
from secondlook.tables import REJECT_COLUMNS, REJECTS

FAILED = "secondlook-failure/1"
_LONGEST_NAME = 120
"""In bytes: folders beside the run have longer names, and 255 is what file systems allow."""

State = tuple[int, int]
"""Size and time of last change; a file is settled when they stay the same."""


@dataclass
class _Seen:
    """A file as it was seen last, since when it is so, whether it needs no more attention, and where its run is."""

    state: State
    since: float
    done: bool = False
    place: Path | None = None

    @property
    def waits(self) -> bool:
        """Whether it needs attention: also where its folder was removed, so that it is tried again."""
        return not self.done or (self.place is not None and not (self.place / MANIFEST).is_file())


class Watch:
    """Watches a folder.

    Args:
        folder: into which files are dropped. Its sub-folders and hidden files are left alone.
        out: where each file gets a run folder.
        bundle: what to score with.
        config: choices of the scorer.
        options: choices of the reading.
        say: is given a line for every file.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        bundle: Bundle,
        config: ScoreConfig,
        options: ReadOptions,
        say: Callable[[str], None],
    ) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; create it, or name another")
        if out.resolve() == folder.resolve():
            raise RunError(f"{out}: is the folder that is watched; give OUT another folder")
        self._folder, self._out = folder, out
        self._bundle, self._config, self._options, self._say = bundle, config, options, say
        self._seen: dict[Path, _Seen] = {}

    def run(self, *, settle: float, every: float, once: bool = False) -> None:
        """Watch until stopped, or score what is there now.

        Args:
            settle: for how many seconds a file must not change before it is scored.
            every: seconds between two looks.
            once: end when all that has settled is scored.

        Raises:
            RunError: another process watches for the same place, or it cannot be written.
        """
        with self._held(), _how_to_go_on():
            self._scored = _scored(self._out)
            self._look()
            while True:
                sleep(settle if once else every)
                for path in self._look():
                    if monotonic() - self._seen[path].since >= settle:
                        self._take(path)
                if once:
                    return

    def _look(self) -> list[Path]:
        """The files that need attention, oldest name first; what changed has not settled."""
        now = monotonic()
        found: dict[Path, _Seen] = {}
        for path in sorted(self._folder.iterdir()):
            state = _state(path)
            if state is not None:
                before = self._seen.get(path)
                found[path] = before if before and before.state == state else _Seen(state, now)
        self._seen = found
        return [path for path, seen in found.items() if seen.waits]

    def _take(self, path: Path) -> None:
        """Score a file, unless one like it was scored before, or it changed while others were scored."""
        if _state(path) != self._seen[path].state:
            return
        try:
            digest = file_digest(path)
        except FileNotFoundError:
            return
        except OSError as cause:
            self._seen[path].done = True
            self._say(f"{path.name}: cannot be read ({cause.strerror}); it is tried again when it changes")
            return
        earlier = self._scored.get(digest)
        if earlier is None or not (earlier / MANIFEST).is_file():
            self._score(path, digest)
        else:
            self._seen[path].done, self._seen[path].place = True, earlier
            if not earlier.name.startswith(_short(path.name)):
                self._say(f"{path.name}: the same as what {earlier} was made of; not scored again")

    def _score(self, path: Path, digest: str) -> None:
        place = self._place(path, digest)
        try:
            manifest = self._run(path, place)
        except (RunError, InputError) as cause:
            if _state(path) == self._seen[path].state:
                raise
            self._say(f"{path.name}: changed or went while it was scored ({cause}); it is looked at again")
            return
        except Exception as cause:
            self._fail(path, digest, place, cause)
            digests = [digest]
        else:
            counts, digests = manifest["counts"], list(manifest["inputs"].values())
            bad = counts["rejected"] + counts["files_rejected"]
            self._say(f"{path.name}: {counts['scored']} scored, {bad} rejected: {place}")
        # Of other bytes than were looked at, if it changed in between: what was scored is what counts.
        self._scored |= dict.fromkeys(digests, place)
        self._seen[path].done, self._seen[path].place = digest in digests, place

    def _run(self, path: Path, place: Path) -> dict[str, Any]:
        given = ([path], place, self._bundle, self._config, self._options)
        try:
            run = score(*given, resume=True)
        except OtherWorkError:  # of another bundle or configuration, before it was stopped
            run = score(*given, overwrite=True)
        return run.manifest

    def _fail(self, path: Path, digest: str, place: Path, cause: Exception) -> None:
        """Record that a file cannot be scored. What was raised may quote a narrative: only its kind is kept."""
        reason = f"it made the scoring fail ({type(cause).__name__}); report it, and remove this folder to try again"
        manifest = {"format": FAILED, "inputs": {path.as_posix(): digest}, "reason": reason}
        with fresh_folder(place) as fresh:
            (fresh / REJECTS).write_bytes(csv_bytes(REJECT_COLUMNS, [(path.name, None, None, reason, False)]))
            (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        Journal(place.resolve()).remove()
        self._say(f"{path.name}: {reason}: {place}")

    def _place(self, path: Path, digest: str) -> Path:
        place = self._out / f"{_short(path.name)}-{digest[:8]}"
        return place if not place.exists() else place.with_name(f"{_short(path.name)}-{digest}")

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            with held(self._out.resolve()):
                yield
        except BlockingIOError:
            raise RunError(f"{self._out}: another watch writes there; end it, or give OUT another folder") from None


def _scored(out: Path) -> dict[str, Path]:
    """The folders of what is done, by the digest of what they were made of."""
    found: dict[str, Path] = {}
    for path in sorted(out.glob(f"*/{MANIFEST}")):
        try:
            inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"].values()
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        found |= dict.fromkeys(inputs, path.parent)
    return found


def _state(path: Path) -> State | None:
    """None for what is not scored: folders, links, hidden files, the locks of office programs."""
    if path.name.startswith((".", "~$")) or path.is_symlink():
        return None
    try:
        return (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
    except OSError:
        return None


def _short(name: str) -> str:
    """A name, or as much of it as fits."""
    return os.fsencode(name)[:_LONGEST_NAME].decode("utf-8", "ignore")


@contextmanager
def _how_to_go_on() -> Iterator[None]:
    try:
        yield
    except (RunError, OSError) as cause:
        raise RunError(f"{cause}; then start the watch again: it goes on where it was") from None
    except Exception:
        raise
    except BaseException as stop:  # Ctrl-C, as Python or the command line raises it
        stop.__notes__ = ["start it again: it goes on where it was"]
        raise
