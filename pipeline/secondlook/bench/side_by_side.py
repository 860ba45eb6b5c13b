"""Contenders take turns, and what follows from their times."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from secondlook.bench.competitors import competitors
from secondlook.bench.contenders import own_contenders
from secondlook.bench.work import Contender, Skipped, Work
from secondlook.bundle import Bundle
from secondlook.encoder.session import available_cores
from secondlook.errors import ConfigError
from secondlook.stacked import encoder_of

WARM_UP = 16
"""Narratives that each contender scores before it is timed, and on which batch sizes are compared."""

_LIBRARIES = ("onnxruntime", "tokenizers", "numpy", "torch", "transformers", "sentence-transformers", "setfit")


@dataclass(frozen=True)
class Timing:
    """What one contender took in each repeat, and how often ours fits into that.

    ``seconds`` are the clock's, ``processor`` those of all threads together: where other programs want the
    cores, too, the latter are the steadier.
    """

    name: str
    setting: str
    seconds: list[float]
    ratios: list[float]
    processor: list[float]
    processor_ratios: list[float]
    operations: float | None = None

    @property
    def median_seconds(self) -> float:
        """The median over the repeats."""
        return median(self.seconds)

    @property
    def ratio(self) -> float:
        """How many times as long as ours it took: the median of the repeats' own ratios."""
        return median(self.ratios)

    @property
    def processor_ratio(self) -> float:
        """The same of processor time."""
        return median(self.processor_ratios)


@dataclass(frozen=True)
class Report:
    """What was measured, on how much, where."""

    narratives: int
    passages: int
    windows: int
    distinct_windows: int
    tokens: int
    timings: list[Timing]
    skipped: list[Skipped]
    machine: dict[str, Any] = field(default_factory=dict)

    def timing(self, name: str) -> Timing | None:
        """The timing of a contender, if it ran."""
        return next((timing for timing in self.timings if timing.name == name), None)

    def encoder_share(self) -> float:
        """The encoder's processor time as a share of the whole's."""
        alone = self.timing("encoder alone")
        return alone.processor_ratio if alone else float("nan")

    def ceilings(self) -> dict[str, tuple[float, float]]:
        """For each measured ceiling: billions of int8 operations a second, and the encoder's share of that rate.

        The rate is the clock's; the share is of processor time.
        """
        alone = self.timing("encoder alone")
        found = {}
        for timing in self.timings:
            if timing.operations and alone:
                share = median(a / b for a, b in zip(timing.processor, alone.processor, strict=True))
                found[timing.name] = (timing.operations / timing.median_seconds / 1e9, share)
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, with the figures that follow from it."""
        figures = {
            timing.name: {
                "narratives_per_second": self.narratives / timing.median_seconds,
                "passages_per_second": self.passages / timing.median_seconds,
                "times_ours": timing.ratio,
                "times_ours_processor": timing.processor_ratio,
            }
            for timing in self.timings
        }
        ceilings = {name: {"gop_per_second": rate, "share": share} for name, (rate, share) in self.ceilings().items()}
        return asdict(self) | {"figures": figures, "encoder_share": self.encoder_share(), "ceilings": ceilings}


def bench_score(
    narratives: Sequence[str],
    bundle: Bundle,
    *,
    repeats: int = 3,
    threads: int | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> Report:
    """Time scoring and its competitors on the same narratives.

    Args:
        narratives: at least one.
        bundle: of a transformer.
        repeats: how many turns every contender takes.
        threads: how many threads each may use; as many as there are cores if not given. On a busy machine
            one each is fairer to those whose threads wait for one another.
        report: is told what is being done.

    Raises:
        ConfigError: the bundle has no encoder.
    """
    model = encoder_of(bundle.model)
    if model is None:
        raise ConfigError("the bench measures an encoder, and this bundle has none; give --bundle a transformer's")
    model.threads = threads or available_cores()
    work = Work.of(narratives, model)
    trial = work.first(WARM_UP)
    contenders: list[Contender] = []
    skipped: list[Skipped] = []
    for prepare in [*own_contenders(bundle, model), *competitors(model.config, len(model.modes), model.threads)]:
        report(f"preparing {prepare.name}")
        made = prepare(trial)
        if isinstance(made, Contender):
            made.run(trial)
            contenders.append(made)
        else:
            skipped.append(made)
    return Report(
        len(work.narratives),
        sum(map(len, work.passages)),
        len(work.windows),
        len({window.ids.tobytes() for window in work.windows}),
        sum(len(window.ids) for window in work.windows),
        _take_turns(contenders, work, repeats, report),
        skipped,
        _machine() | {"threads": model.threads},
    )


def _take_turns(
    contenders: Sequence[Contender], work: Work, repeats: int, report: Callable[[str], None]
) -> list[Timing]:
    clock: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    processor: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for repeat in range(repeats):
        for contender in contenders if repeat % 2 == 0 else reversed(contenders):
            report(f"repeat {repeat + 1} of {repeats}: {contender.name}")
            starts = time.perf_counter(), time.process_time()
            contender.run(work)
            clock[contender.name].append(time.perf_counter() - starts[0])
            processor[contender.name].append(time.process_time() - starts[1])
    ours = contenders[0].name
    return [
        Timing(
            one.name,
            one.setting,
            clock[one.name],
            _ratios(clock[one.name], clock[ours]),
            processor[one.name],
            _ratios(processor[one.name], processor[ours]),
            one.operations(work) if one.operations else None,
        )
        for one in contenders
    ]


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [one / own for one, own in zip(theirs, ours, strict=True)]


def _machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    versions = {}
    for name in ("secondlook", *_LIBRARIES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (no other file of its kind)
            named = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor() or platform.machine()
