"""Score: a batch of cases in, a run folder out, every input row accounted for.

=====================  ============================================================================
file                   what it holds
=====================  ============================================================================
``queue.parquet``      case_id, rank, priority, p_<mode> from low_<mode> to high_<mode> (95%), flag_<mode>,
                       why and where a case stands (see ``tables``), then the metadata columns
``evidence.parquet``   case_id, mode, start, end, text, share: for every score the passages behind it
``passages.parquet``   case_id, start, end, z_<mode>: every passage's log-odds, from which each score
                       can be computed again
``cases.parquet``      case_id, file, row, narrative: what was read; rows where they are joined, how many;
                       cleared with triage, whether the first pass alone scored it
``rejects.csv``        file, row, case_id, reason, set_aside: what was not scored; rows as for cases
``manifest.json``      counts that add up; digests of input, bundle and configuration; versions
``queue.html``         the queue to read; where one page does not hold it, ``pages/`` has the others
``queue.xlsx``         the same cases, a row each
=====================  ============================================================================

Rows of the queue stand in its order, those of the other tables in the order of the input. While a run is being
made, what is done lies beside it (see ``journal``), so that a run that is stopped goes on where it was.
Nothing in a run depends on when or where it was made: the same input, bundle and configuration give
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import numpy as np
from rich.progress import Progress

from secondlook.ahead import ahead
from secondlook.bundle import Bundle
from secondlook.config import ScoreConfig
from secondlook.errors import ConfigError, RunError
from secondlook.journal import Journal, open_journal, restore_earlier
from secondlook.page import FIRST, FOLDER, PageFacts
from secondlook.queue_files import WORKBOOK, shown_cases, write_queue_files
from secondlook.ranking import Ranking, check_dated
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import ScoredCase
from secondlook.scorer import Batch, Scored, Scorer
from secondlook.shards import Checked, Stretch, check, cut_stretches, shard_table
from secondlook.shelf import Shelf
from secondlook.storage import MANIFEST, check_replaceable, file_digest, held, inventory, yes
from secondlook.tables import CASES, EVIDENCE, PASSAGES, QUEUE, REJECTS, Counted, TableWriter

KIND = "secondlook-run"
FORMAT = f"{KIND}/5"
FILES = frozenset({QUEUE, EVIDENCE, PASSAGES, CASES, REJECTS, FIRST, WORKBOOK, MANIFEST})
"""What every run has."""

NAMES = FILES | {f"{FOLDER}/queue-*.html", f"{FOLDER}/list-*.html"}
"""What a run may have, with wildcards."""

_VERSIONED = ("secondlook", "numpy", "scipy", "scikit-learn", "nupunkt", "tokenizers", "onnxruntime", "pyarrow")


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, what its manifest says, and the first cases to read.

    ``top`` holds as many as a page does, or as were asked for; all of them are in the folder.
    """

    folder: Path
    manifest: dict[str, Any]
    top: list[ScoredCase]


class Engine(Protocol):
    """Reads the input and scores it: this process, unless another is given (see ``scale``)."""

    def look(self) -> dict[str, str]:
        """SHA-256 of every file of the input by name, taken before anything is read of it."""

    def score(self, journal: Journal, scorer: Scorer, display: Display) -> None:
        """Commit every shard that the journal lacks."""

    def changed(self) -> str | None:
        """A file that is not what it was, came or went; None if there is none."""


def score(
    inputs: Sequence[Path],
    out: Path,
    bundle: Bundle,
    config: ScoreConfig,
    options: ReadOptions,
    *,
    resume: bool = False,
    overwrite: bool = False,
    top: int = 0,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Run:
    """Score every case of the inputs and write a run folder.

    An earlier run of the same inputs in the same place is replaced; one of other inputs only with
    ``overwrite``. It stays until the new one is whole.

    Args:
        inputs: files and folders.
        out: the run folder.
        bundle: what to score with.
        config: choices of the scorer.
        options: choices of the reading; whether rows are joined, ``config`` says.
        resume: go on with what an earlier call for this place left unfinished, if there is anything.
        overwrite: replace a run of other inputs, and begin unfinished work afresh unless it is to be resumed.
        top: how many of the first cases to read to return at least.
        progress: where to say how far it is.
        engine: who reads and scores; this process if not given.

    Raises:
        ConfigError: the queue is to go by a mode that the bundle does not know, or by a date that the input lacks.
        InputError: an input does not exist.
        RunError: the folder holds something else, is being written by another process, or cannot be written;
            unfinished work lies there and nothing says what to do with it; an input changed meanwhile.
    """
    scorer = Scorer(bundle, config)
    engine = engine or Here(inputs, options, config)
    place = out.resolve()
    _check_outside(place, inputs)
    if place.is_mount():  # a folder there cannot be put in its place
        raise RunError(f"{place}: is where a disk is mounted; give --out a folder within it")
    with _held(place):
        restore_earlier(place)
        digests = engine.look()
        basis = _basis(digests, bundle, config, options)
        _check_out(place, digests, overwrite)
        journal = _open_journal(place, basis, resume, overwrite)
        display = Display(progress)
        with _how_to_go_on(journal):
            engine.score(journal, scorer, display)
            if changed := engine.changed():
                journal.remove()
                raise RunError(f"{changed}: changed while it was scored; score it again when nothing writes to it")
            display.say("writing the run")
            manifest, first = _write(journal, scorer, basis, max(top, config.page_cases))
        journal.remove()
    return Run(out, manifest, first)


class Here:
    """The engine that is this process."""

    def __init__(self, inputs: Sequence[Path], options: ReadOptions, config: ScoreConfig) -> None:
        self._inputs, self._shard_cases = inputs, config.shard_cases
        self._items = check_dated(read_cases(inputs, replace(options, join_rows=config.join_rows)), config.date_column)

    def look(self) -> dict[str, str]:
        """See :class:`Engine`."""
        self._seen = InputFiles(self._inputs)
        return self._seen.digests

    def score(self, journal: Journal, scorer: Scorer, display: Display) -> None:
        """See :class:`Engine`."""
        with ahead(_unfinished(cut_stretches(self._items, self._shard_cases), journal, scorer, display)) as waiting:
            _score(waiting, journal, scorer, display)

    def changed(self) -> str | None:
        """See :class:`Engine`."""
        return self._seen.changed()


def _open_journal(place: Path, basis: dict[str, Any], resume: bool, overwrite: bool) -> Journal:
    key = basis | {"config": basis["config"]["values"], "format": FORMAT, "order of inputs": list(basis["inputs"])}
    try:
        return open_journal(place, key, resume=resume, overwrite=overwrite)
    except OSError as cause:
        raise RunError(
            f"{place}: cannot be written ({cause.strerror}); free some space, or give --out another folder"
        ) from None


def _unfinished(stretches: Iterator[Stretch], journal: Journal, scorer: Scorer, display: Display) -> Iterator[Checked]:
    """What is still to be done, read and cut into passages."""
    for stretch in stretches:
        done = journal.find(stretch.number, stretch.digest)
        if done is None:
            yield check(stretch, scorer)
        else:
            display.found(done, len(stretch.items) - done)


def _score(stretches: Iterator[Checked], journal: Journal, scorer: Scorer, display: Display) -> None:
    """Score stretches in one stream, and commit each as soon as its last case is scored."""
    begun: deque[Checked] = deque()

    def batches() -> Iterator[Batch]:
        for stretch in stretches:
            if stretch.passages:
                begun.append(stretch)
                yield [case.narrative for case in stretch.cases], stretch.passages
            else:
                _commit(stretch, [], journal, display)

    done: list[Scored] = []
    with closing(scorer.log_odds(batches())) as scored:
        for one in scored:
            done.append(one)
            display.scored()
            if len(done) == len(begun[0].passages):
                _commit(begun.popleft(), done, journal, display)
                done = []


def _commit(checked: Checked, scored: Sequence[Scored], journal: Journal, display: Display) -> None:
    shard = shard_table(checked, scored)
    journal.commit(checked.stretch.number, checked.stretch.digest, len(scored), shard)
    display.rejected(len(checked.items) - len(scored))


def _write(
    journal: Journal, scorer: Scorer, basis: dict[str, Any], first: int
) -> tuple[dict[str, Any], list[ScoredCase]]:
    """Write the run from the shards, and put it in its place; returns its manifest and first cases."""
    with journal.whole_run() as folder, Shelf(journal.folder) as shelf:
        with TableWriter(folder, scorer, shelf) as tables:
            for shard in journal.shards():
                tables.add(shard)
            ranked = tables.write_queue()
        counts = _counts(tables.counted, ranked.ranking, scorer.config)
        queue = (ranked.ranking, ranked.scored, scorer.bundle.codebook, scorer.config)
        write_queue_files(folder, *queue, _facts(scorer, counts), ranked.metadata, ranked.fetch)
        top = list(islice(shown_cases(*queue, ranked.fetch), first))
        manifest = {"format": FORMAT, "counts": counts} | basis
        manifest["files"] = {name: file_digest(folder / name) for name in inventory(folder)}
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
        check_replaceable(journal.out, KIND, NAMES)
    return manifest, top


def _facts(scorer: Scorer, counts: dict[str, Any]) -> PageFacts:
    bundle = scorer.bundle
    return PageFacts(
        bundle=bundle.provenance.name,
        bundle_digest=bundle.digest,
        scored=counts["scored"],
        rejected=counts["rejected"] + counts["files_rejected"],
        narrative_characters=scorer.config.page_narrative_characters,
        set_aside=counts["set_aside"],
        cleared=counts["cleared"],
    )


def _counts(counted: Counted, ranking: Ranking, config: ScoreConfig) -> dict[str, Any]:
    return {
        "rows": counted.scored + counted.rows_joined + counted.rows_rejected + counted.rows_set_aside,
        "scored": counted.scored,
        "joined": counted.rows_joined,
        "rejected": counted.rows_rejected,
        "set_aside": counted.rows_set_aside,
        "files_rejected": counted.files_rejected,
        "complete": counted.complete,
        "flagged": counted.flagged,
        "cleared": counted.cleared,
        "copies": int(ranking.is_copy.sum()),
        "drawn": int(ranking.drawn.sum()),
        "undated": int(np.isnat(ranking.received).sum()) if config.date_column else 0,
    }


def _basis(digests: dict[str, str], bundle: Bundle, config: ScoreConfig, options: ReadOptions) -> dict[str, Any]:
    """All that a run rests on, as its manifest says it."""
    choices = config.model_dump(mode="json") | {
        "id_column": options.id_column,
        "narrative_column": options.narrative_column,
    }
    return {
        "inputs": digests,
        "bundle": {"name": bundle.provenance.name, "digest": bundle.digest},
        "config": {
            "digest": hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest(),
            "values": choices,
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of everything that a score may depend on."""
    return {name: version(name) for name in _VERSIONED}


class InputFiles:
    """The files of the inputs as they were before anything was read of them."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = inputs
        self._states = _states(inputs)
        self.digests = _digests(self._states)

    def changed(self) -> str | None:
        """A file that is not what it was, came or went; None if there is none."""
        states = _states(self._inputs)
        if states == self._states:
            return None
        digests = _digests(states)
        names = dict.fromkeys([*self.digests, *digests])
        return next((name for name in names if self.digests.get(name) != digests.get(name)), None)


def _states(inputs: Sequence[Path]) -> dict[Path, tuple[int, int] | None]:
    """Size and time of last change of every file among the inputs; None where that is not known."""
    states: dict[Path, tuple[int, int] | None] = {}
    for path in inputs:
        within = path.rglob("*") if yes(path.is_dir) else [path]
        files = sorted(place for place in within if yes(place.is_file))
        for file in files:
            try:
                found = file.stat()
                states[file] = (found.st_size, found.st_mtime_ns)
            except OSError:
                states[file] = None
    return states


def _digests(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files; what cannot be read is rejected later, with a reason."""
    digests = {}
    for file in files:
        name = file.as_posix().encode("utf-8", "backslashreplace").decode()
        try:
            digests[name] = file_digest(file)
        except OSError:
            digests[name] = "unreadable"
    return digests


def _check_outside(place: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write a run into a folder that it is made from: it would be read as input."""
    for path in inputs:
        if yes(path.is_dir) and place.is_relative_to(path.resolve()):
            raise RunError(
                f"{place}: lies within the input {path}, and would be read with it; give --out another place"
            )


def _check_out(place: Path, digests: dict[str, str], overwrite: bool) -> None:
    """Refuse, before any work, a folder that must not be replaced."""
    try:
        check_replaceable(place, KIND, NAMES)
    except OSError as cause:
        raise RunError(f"{cause}: something other than a run; give --out a new folder") from None
    if not (place / MANIFEST).exists():
        return
    earlier = json.loads((place / MANIFEST).read_text(encoding="utf-8")).get("inputs")
    if earlier != digests and not overwrite:
        raise RunError(f"{place}: holds a run of other inputs; give --out a new folder, or --overwrite to replace it")


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Refuse a second run in the same place while the first is being made."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(place))
        except BlockingIOError:
            raise RunError(
                f"{place}: another run is being written there; wait for its end, or give --out another folder"
            ) from None
        except OSError as cause:
            raise RunError(f"{place}: cannot be written ({cause}); give --out another folder") from None
        yield


@contextmanager
def _how_to_go_on(journal: Journal) -> Iterator[None]:
    """Whatever ends the work early says what is done, and what to do next."""
    try:
        yield
    except OSError as cause:  # of writing: what cannot be read is rejected, not raised
        raise RunError(
            f"{journal.out}: the run could not be written ({cause.strerror or cause}); free some space, then "
            f"run the same command with --resume: {journal.cases()} cases are done"
        ) from None
    except ConfigError:  # nobody can go on with what was asked for
        journal.remove()
        raise
    except Exception:
        if journal.empty:
            journal.remove()
        raise
    except BaseException as stop:  # Ctrl-C, as Python or the command line raises it
        if journal.empty:
            journal.remove()
        else:
            stop.add_note(f"{journal.cases()} cases are done: run the same command with --resume")
        raise


class Display:
    """Says how far a run is: cases scored and rejected, and how many are scored in a second."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None) if progress else None
        self._found = self._scored = self._rejected = 0
        self._start = monotonic()

    def found(self, cases: int, rejected: int) -> None:
        """Of a shard that was done before."""
        self._found += cases
        self.rejected(rejected)

    def scored(self, cases: int = 1) -> None:
        """So many cases more."""
        self._scored += cases
        self._tell()

    def rejected(self, number: int) -> None:
        """So many items more that were not scored, for what they are or for their date."""
        self._rejected += number
        self._tell()

    def say(self, what: str) -> None:
        """What is being done now."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=what)

    def _tell(self) -> None:
        rate = self._scored / max(monotonic() - self._start, 1e-9)
        self.say(f"{self._found + self._scored} scored, {self._rejected} not, {rate:.1f} a second")
