"""The engine: who does the work, on many cores and machines? The only place that knows Ray.

One actor a core reads, checks and scores units of work (see ``plan``); this process commits what they send
and writes the run, as it does by itself. So a run is the same to the bit, goes on with ``--resume`` where it
was stopped, also by another engine, and what was on a machine that is lost is done again by others.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from rich.progress import Progress

from secondlook.bundle import Bundle, load_bundle, save_bundle
from secondlook.config import ScoreConfig
from secondlook.encoder.session import available_cores
from secondlook.errors import ConfigError, RunError
from secondlook.journal import Journal, shard_bytes
from secondlook.ranking import not_dated
from secondlook.readers import ReadOptions
from secondlook.readers.parquet import UnreadableRowsError
from secondlook.scale.places import (
    check_empty,
    column_names,
    digest,
    find_files,
    find_slices,
    is_address,
    open_place,
    state,
    upload,
)
from secondlook.scale.plan import Slice, Survey, Unit, UnitReader, plan, survey, whole_file
from secondlook.schema import Reject
from secondlook.score import Display, InputFiles, Run, score, versions
from secondlook.scorer import Scorer
from secondlook.shards import check, shard_table
from secondlook.stacked import encoder_of

OBJECT_STORE_BYTES = 256 << 20
"""Of this machine's memory, where Ray is started here: units and shards are small."""

TASKS = 8192
"""Units are handed out one by one up to so many, and several together beyond that."""


def score_on_ray(
    inputs: Sequence[str],
    out: str,
    bundle: Bundle,
    config: ScoreConfig,
    options: ReadOptions,
    *,
    address: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    top: int = 0,
    progress: Progress | None = None,
) -> Run:
    """Like :func:`secondlook.score.score`, on Ray, for Parquet files.

    Args:
        inputs: Parquet files and folders of them; paths, or addresses in an object store (``s3://bucket/cases``).
            Every machine must be able to read them there.
        out: the run folder, or an address. What is bound for an address is written to a folder of its last
            name here, and copied when it is whole.
        bundle: what to score with.
        config: choices of the scorer.
        options: choices of the reading.
        address: of a cluster; Ray is started on this machine, for this run, if not given.
        resume: go on with what an earlier call for this place left unfinished, if there is anything.
        overwrite: replace a run of other inputs, and begin unfinished work afresh unless it is to be resumed.
        top: how many of the first cases to return at least.
        progress: where to say how far it is.

    Raises:
        ConfigError: rows are to be joined, which may lie in pieces that are read apart.
        InputError: an input does not exist, or is not Parquet.
        RunError: as for one process; the cluster cannot be reached, or its machines have other versions.
    """
    if config.join_rows:
        raise ConfigError(
            "join_rows: Ray reads a table in pieces, and the rows of a case may lie in two; leave --engine out, or "
            "join them before and leave join_rows out"
        )
    place = Path(out.rstrip("/").rpartition("/")[2]) if is_address(out) else Path(out)
    if is_address(out):
        check_empty(out, replace=overwrite)
    engine = RayEngine(inputs, options, config, bundle)
    with started(address):
        paths = [Path(one) for one in inputs if not is_address(one)]
        how = {"resume": resume, "overwrite": overwrite}
        run = score(paths, place, bundle, config, options, **how, top=top, progress=progress, engine=engine)
    if is_address(out):
        upload(place, out)
        shutil.rmtree(place)
    return run


@contextmanager
def started(address: str | None) -> Iterator[None]:
    """Ray, joined at an address or started on this machine for as long as the block takes."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    short = "/tmp"  # noqa: S108 (sockets' names must be short, and macOS has a long one for temporary files)
    logs = tempfile.mkdtemp(prefix="ray-", dir=short if Path(short).is_dir() else None)
    try:
        _connect(address, logs)
        for number, handler in handlers.items():  # Ray puts its own in their place
            signal.signal(number, handler)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(logs, ignore_errors=True)


def _connect(address: str | None, logs: str) -> None:
    where: dict[str, Any] = {"address": address}
    if address is None:
        where = {
            "address": "local",
            "num_cpus": available_cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": logs,
        }
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except Exception as cause:  # ConnectionError, RuntimeError, ValueError, and where it takes too long, Exception
        reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        if address is None:
            raise RunError(
                f"Ray could not be started on this machine ({reason}); try again when it is less busy, or "
                "leave --engine out"
            ) from None
        raise RunError(f"{address}: no Ray cluster answers there ({reason}); check --address") from None


@dataclass
class RayEngine:
    """Reads and scores with what Ray has; see :class:`secondlook.score.Engine`."""

    inputs: Sequence[str]
    options: ReadOptions
    config: ScoreConfig
    bundle: Bundle

    def __post_init__(self) -> None:
        self.files = find_files(self.inputs)

    def look(self) -> dict[str, str]:
        """SHA-256 of every file of the input by name; of those in an object store, computed where it is near."""
        self._seen = InputFiles([Path(one) for one in self.inputs if not is_address(one)])
        self._stored = self._in_store()
        self.files = find_files(self.inputs)  # once more: what came since is read, too, or noticed as a change
        rows = [{"name": name, "place": place} for name, (place, _) in self._stored.items()]
        found = {row["name"]: row["digest"] for row in _each(rows, _digest)}
        digests = self._seen.digests | {name: found[name] for name in self._stored}
        place = {file.name: number for number, file in enumerate(self.files)}
        return dict(sorted(digests.items(), key=lambda one: place.get(one[0], len(place))))

    def changed(self) -> str | None:
        """A file that is not what it was, came or went; None if there is none."""
        if changed := self._seen.changed():
            return changed
        now = self._in_store()
        return next((name for name in [*now, *self._stored] if now.get(name) != self._stored.get(name)), None)

    def _in_store(self) -> dict[str, tuple[str, Any]]:
        """Where every file of an object store lies and its state, by name."""
        files = find_files([one for one in self.inputs if is_address(one)])
        return {file.name: (file.place, state(file.place)) for file in files}

    def score(self, journal: Journal, scorer: Scorer, display: Display) -> None:
        """Commit every shard that the journal lacks."""
        self._check_dated()
        display.say("looking through the input")
        waiting = []
        for unit in plan(self._surveys(), self.config.shard_cases):
            done = journal.find(unit.number)
            if done is None:
                waiting.append({"unit": unit.model_dump_json()})
            else:
                display.found(done, unit.rows - done)
        for row in self._scored(waiting):
            if row["problem"]:
                raise RunError(f"{journal.out}: {row['problem']}")
            journal.keep(row["number"], row["shard"])
            display.scored(row["cases"])
            display.rejected(row["rows"] - row["cases"])

    def _check_dated(self) -> None:
        """Raise ConfigError where no file has the column that says when a case was received."""
        if (column := self.config.date_column) and (names := column_names(self.files)) and column not in names:
            raise not_dated(column, sorted(names))

    def _surveys(self) -> list[Survey]:
        """What is known of every row, in input order; damaged files are looked through once more, from their start."""
        pieces = list(find_slices(self.files, self.options))
        found = self._look_through([piece for piece in pieces if isinstance(piece, Slice)])
        damaged = dict.fromkeys(piece.place for piece, one in found.items() if one is None)
        again = {piece.place: whole_file(piece.name, piece.place) for piece in found if piece.place in damaged}
        whole = {piece.place: one for piece, one in self._look_through(list(again.values())).items()}
        surveys = []
        for piece in pieces:
            if isinstance(piece, Reject):
                surveys.append(Survey.of_reject(piece))
            elif piece.place not in damaged:
                surveys.append(_known(found[piece]))
            elif piece.place in whole:
                surveys.append(_known(whole.pop(piece.place)))
        return surveys

    def _look_through(self, pieces: Sequence[Slice]) -> dict[Slice, Survey | None]:
        rows = [{"at": at, "piece": piece.model_dump_json()} for at, piece in enumerate(pieces)]
        task = _Survey(self.options)
        found = {row["at"]: row for row in _each(rows, task)}
        return {piece: _survey_of(found[at]) for at, piece in enumerate(pieces)}

    def _scored(self, waiting: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        if not waiting:
            return
        cores = int(ray.cluster_resources().get("CPU", 1))
        actors = max(1, min(cores, len(waiting)))
        how = ray.data.ActorPoolStrategy(min_size=1, initial_size=actors, max_size=actors)
        units = ray.data.from_items(list(waiting), override_num_blocks=min(len(waiting), TASKS))
        work = {"bundle": ray.put(_bundle_files(self.bundle))}
        given = (work, self.config.model_dump_json(), self.options, versions())
        with _ray_told():
            yield from units.map_batches(
                _Actor, fn_constructor_args=given, compute=how, batch_size=1, num_cpus=1
            ).iter_rows()


def _known(found: Survey | None) -> Survey:
    if found is None:
        raise RunError("an input cannot be read any more; score it again when nothing writes to it")
    return found


def _each(
    rows: Sequence[Mapping[str, Any]], task: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What a task makes of each row, as it is ready."""
    if rows:
        blocks = min(len(rows), TASKS)
        with _ray_told():
            yield from ray.data.from_items(list(rows), override_num_blocks=blocks).map(task, num_cpus=1).iter_rows()


@contextmanager
def _ray_told() -> Iterator[None]:
    """What Ray raises of its workers as an error of the run; it may quote a narrative: only its kind is kept."""
    try:
        yield
    except ray.exceptions.RayError as cause:
        raise RunError(
            f"a machine of the cluster failed ({type(cause).__name__}); see Ray's logs there, then run the same "
            "command with --resume"
        ) from None


def _digest(row: dict[str, Any]) -> dict[str, Any]:
    return {"name": row["name"], "digest": digest(row["place"])}


@dataclass(frozen=True)
class _Survey:
    """A task: a slice, looked through."""

    options: ReadOptions

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            found = survey(Slice.model_validate_json(row["piece"]), self.options, open_place)
        except OSError:  # cannot be reached any more: as if it were damaged, and then said
            found = None
        if found is None:
            return {"at": row["at"], "piece": "", "ids": b"", "lengths": b""}
        return {
            "at": row["at"],
            "piece": found.piece.model_dump_json() if isinstance(found.piece, Slice) else "",
            "ids": found.ids.tobytes(),
            "lengths": found.lengths.tobytes(),
        }


def _survey_of(row: Mapping[str, Any]) -> Survey | None:
    if not row["piece"]:
        return None
    ids = np.frombuffer(row["ids"], np.uint64).reshape(-1, 2)
    return Survey(Slice.model_validate_json(row["piece"]), ids, np.frombuffer(row["lengths"], np.int64))


def _bundle_files(bundle: Bundle) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        save_bundle(bundle, Path(folder) / "bundle")
        return {path.name: path.read_bytes() for path in (Path(folder) / "bundle").iterdir()}


class _Actor:
    """Scores units on one core. Its answers say what went wrong; what it raises, Ray would print."""

    def __init__(self, work: Mapping[str, Any], config: str, options: ReadOptions, wanted: Mapping[str, str]) -> None:
        self._other = [name for name, number in versions().items() if wanted.get(name) != number]
        if self._other:  # which may not even be able to read the bundle; the answers say so
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, content in ray.get(work["bundle"]).items():
                (Path(folder) / name).write_bytes(content)
            bundle = load_bundle(Path(folder))
        if encoder := encoder_of(bundle.model):
            encoder.threads = 1
        self._scorer = Scorer(bundle, ScoreConfig.model_validate_json(config))
        self._reader = UnitReader(options, open_place)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
        answers = [self._answer(Unit.model_validate_json(unit)) for unit in batch["unit"]]
        return {name: [answer[name] for answer in answers] for name in answers[0]}

    def _answer(self, unit: Unit) -> dict[str, Any]:
        answer = {"number": unit.number, "rows": unit.rows, "cases": 0, "shard": b"", "problem": ""}
        if self._other:
            return answer | {"problem": f"a machine of the cluster has other versions of {', '.join(self._other)}"}
        try:
            stretch = self._reader.read(unit)
        except (UnreadableRowsError, OSError):
            names = dict.fromkeys(piece.name for piece in unit.pieces if isinstance(piece, Slice))
            where = ", ".join(names)
            return answer | {
                "problem": f"{where}: changed while it was scored, or cannot be reached; then use --resume"
            }
        checked = check(stretch, self._scorer)
        narratives = [case.narrative for case in checked.cases]
        shard = shard_table(checked, list(self._scorer.log_odds([(narratives, checked.passages)])))
        content = shard_bytes(stretch.digest, len(narratives), shard)
        return answer | {"cases": len(narratives), "shard": content}
