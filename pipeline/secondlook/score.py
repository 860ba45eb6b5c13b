"""Score: a batch of cases in, a run folder out, every input row accounted for.

=====================  ============================================================================
file                   what it holds
=====================  ============================================================================
``queue.parquet``      case_id, rank, priority, p_<mode> from low_<mode> to high_<mode> (95%), flag_<mode>,
                       then the metadata columns
``evidence.parquet``   case_id, mode, start, end, text, share: for every score the passages behind it
``passages.parquet``   case_id, start, end, z_<mode>: every passage's log-odds, from which each score
                       can be computed again
``cases.parquet``      case_id, file, row, narrative: what was read
``rejects.csv``        file, row, case_id, reason
``manifest.json``      counts that add up; digests of input, bundle and configuration; versions
``queue.html``         the queue to read
=====================  ============================================================================

Rows of the queue stand in its order, those of the other tables in the order of the input. While a run is being
made, what is done lies beside it (see ``journal``), so that a run that is stopped goes on where it was.
Nothing in a run depends on when or where it was made: the same input, bundle and configuration give
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from rich.progress import Progress

from secondlook.ahead import ahead
from secondlook.bundle import Bundle
from secondlook.config import ScoreConfig
from secondlook.errors import RunError
from secondlook.journal import Journal, open_journal, restore_earlier
from secondlook.page import PageFacts, render_queue
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, ScoredCase
from secondlook.scorer import Outcome, Scorer
from secondlook.shards import Checked, Stretch, cases, check, cut_stretches, outcomes, scored_rows, shard_table
from secondlook.storage import MANIFEST, check_replaceable, file_digest, held
from secondlook.tables import CASES, EVIDENCE, PASSAGES, QUEUE, REJECTS, Counted, Ranked, TableWriter

KIND = "secondlook-run"
FORMAT = f"{KIND}/3"
PAGE = "queue.html"
NAMES = frozenset({QUEUE, EVIDENCE, PASSAGES, CASES, REJECTS, PAGE, MANIFEST})
_VERSIONED = ("secondlook", "numpy", "scipy", "scikit-learn", "nupunkt", "tokenizers", "onnxruntime", "pyarrow")


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, what its manifest says, and the first cases of its queue.

    ``top`` holds as many as the page does, or as were asked for; all of them are in the folder.
    """

    folder: Path
    manifest: dict[str, Any]
    top: list[ScoredCase]


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
) -> Run:
    """Score every case of the inputs and write a run folder.

    An earlier run of the same inputs in the same place is replaced; one of other inputs only with
    ``overwrite``. It stays until the new one is whole.

    Args:
        inputs: files and folders.
        out: the run folder.
        bundle: what to score with.
        config: choices of the scorer.
        options: choices of the reading.
        resume: go on with what an earlier call for this place left unfinished, if there is anything.
        overwrite: replace a run of other inputs, and begin unfinished work afresh unless it is to be resumed.
        top: how many of the first cases to return at least.
        progress: where to say how far it is.

    Raises:
        InputError: an input does not exist.
        RunError: the folder holds something else, is being written by another process, or cannot be written;
            unfinished work lies there and nothing says what to do with it; an input changed meanwhile.
    """
    items = read_cases(inputs, options)
    place = out.resolve()
    _check_outside(place, inputs)
    with _held(place):
        restore_earlier(place)
        seen = _Inputs(inputs)
        basis = _basis(seen.digests, bundle, config, options)
        _check_out(place, seen.digests, overwrite)
        journal = _open_journal(place, basis, resume, overwrite)
        scorer, display = Scorer(bundle, config), _Display(progress)
        with _how_to_go_on(journal):
            with ahead(_unfinished(cut_stretches(items, config.shard_cases), journal, scorer, display)) as waiting:
                for checked in waiting:
                    _score(checked, journal, scorer, display)
            if changed := seen.changed():
                journal.remove()
                raise RunError(f"{changed}: changed while it was scored; score it again when nothing writes to it")
            display.say("writing the run")
            manifest, first = _write(journal, scorer, basis, max(top, config.page_cases))
        journal.remove()
    return Run(out, manifest, first)


def _open_journal(place: Path, basis: dict[str, Any], resume: bool, overwrite: bool) -> Journal:
    key = basis | {"config": basis["config"]["values"], "format": FORMAT}
    try:
        return open_journal(place, key, resume=resume, overwrite=overwrite)
    except OSError as cause:
        raise RunError(
            f"{place}: cannot be written ({cause.strerror}); free some space, or give --out another folder"
        ) from None


def _unfinished(stretches: Iterator[Stretch], journal: Journal, scorer: Scorer, display: _Display) -> Iterator[Checked]:
    """What is still to be done, read and cut into passages."""
    for stretch in stretches:
        done = journal.find(stretch.number, stretch.digest)
        if done is None:
            yield check(stretch, scorer)
        else:
            display.found(done, len(stretch.items) - done)


def _score(checked: Checked, journal: Journal, scorer: Scorer, display: _Display) -> None:
    """Score a stretch and commit it."""
    narratives = [case.narrative for case in checked.cases]
    log_odds = []
    for scored in scorer.log_odds(narratives, checked.passages):
        log_odds.append(scored)
        display.scored()
    shard = shard_table(checked, log_odds)
    journal.commit(checked.stretch.number, checked.stretch.digest, len(narratives), shard)
    display.rejected(len(checked.items) - len(narratives))


def _write(
    journal: Journal, scorer: Scorer, basis: dict[str, Any], first: int
) -> tuple[dict[str, Any], list[ScoredCase]]:
    """Write the run from the shards, and put it in its place; returns its manifest and first cases."""
    with journal.whole_run() as folder:
        with TableWriter(folder, scorer) as tables:
            for number, shard in journal.shards():
                tables.add(number, shard)
            ranked = tables.write_queue()
        top = _top(journal, scorer, ranked, first)
        _write_page(folder / PAGE, top, scorer, tables.counted)
        manifest = {"format": FORMAT, "counts": _counts(tables.counted)} | basis
        manifest["files"] = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
        check_replaceable(journal.out, KIND, NAMES)
    return manifest, top


def _top(journal: Journal, scorer: Scorer, ranked: Ranked, first: int) -> list[ScoredCase]:
    """The first cases of the queue, fetched from their shards."""
    shards, places = ranked.shards[:first].tolist(), ranked.places[:first].tolist()
    found: dict[int, tuple[Case, Outcome]] = {}
    for number in sorted(set(shards)):
        ranks = [rank for rank, shard in enumerate(shards) if shard == number]
        rows = scored_rows(journal.shard(number)).take([places[rank] for rank in ranks])
        found |= dict(zip(ranks, zip(cases(rows), outcomes(rows, scorer), strict=True), strict=True))
    return [
        ScoredCase(case, rank + 1, one.priority, one.scores, one.intervals, one.flags, one.evidence)
        for rank, (case, one) in sorted(found.items())
    ]


def _write_page(path: Path, top: Sequence[ScoredCase], scorer: Scorer, counted: Counted) -> None:
    bundle, config = scorer.bundle, scorer.config
    facts = PageFacts(
        bundle=bundle.provenance.name,
        bundle_digest=bundle.digest,
        scored=counted.scored,
        rejected=counted.rows_rejected + counted.files_rejected,
        narrative_characters=config.page_narrative_characters,
    )
    page = render_queue(top[: config.page_cases], bundle.codebook, facts)
    path.write_text(page, encoding="utf-8", newline="\n")


def _counts(counted: Counted) -> dict[str, Any]:
    return {
        "rows": counted.scored + counted.rows_rejected,
        "scored": counted.scored,
        "rejected": counted.rows_rejected,
        "files_rejected": counted.files_rejected,
        "complete": counted.complete,
        "flagged": counted.flagged,
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
        "versions": {name: version(name) for name in _VERSIONED},
    }


class _Inputs:
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
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
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
        if path.is_dir() and place.is_relative_to(path.resolve()):
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
    except Exception:
        raise
    except BaseException as stop:  # Ctrl-C, as Python or the command line raises it
        if journal.empty:
            journal.remove()
        else:
            stop.add_note(f"{journal.cases()} cases are done: run the same command with --resume")
        raise


class _Display:
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

    def scored(self) -> None:
        """One case more."""
        self._scored += 1
        self._tell()

    def rejected(self, number: int) -> None:
        """So many items more that were not scored."""
        self._rejected += number
        self._tell()

    def say(self, what: str) -> None:
        """What is being done now."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=what)

    def _tell(self) -> None:
        rate = self._scored / max(monotonic() - self._start, 1e-9)
        self.say(f"{self._found + self._scored} scored, {self._rejected} rejected, {rate:.1f} a second")
