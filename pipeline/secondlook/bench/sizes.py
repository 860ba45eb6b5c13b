"""What the command itself costs at several sizes, each in a process of its own: time, memory, first result."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from secondlook.bench.work import distinct
from secondlook.errors import RunError
from secondlook.spreadsheet import csv_bytes

HELP_RUNS = 5


@dataclass(frozen=True)
class Cost:
    """One run of ``secondlook score``: wall seconds, and peak resident memory in MiB where the system tells it."""

    narratives: int
    seconds: float
    peak_mib: float | None


@dataclass(frozen=True)
class Costs:
    """Runs by size, the smallest of which, a single case, is the time to the first result."""

    sizes: list[Cost]
    first_result: Cost
    help_seconds: float

    def milliseconds_each(self, cost: Cost) -> float:
        """What each narrative cost, apart from what a single one costs (starting, the page)."""
        return 1000 * (cost.seconds - self.first_result.seconds) / max(cost.narratives - 1, 1)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the cost of each narrative."""
        each = {cost.narratives: self.milliseconds_each(cost) for cost in self.sizes}
        return asdict(self) | {"milliseconds_each": each}


def bench_sizes(
    narratives: Sequence[str],
    sizes: Sequence[int],
    bundle: Path,
    report: Callable[[str], None] = lambda message: None,
) -> Costs:
    """Run ``secondlook score`` on tables of several sizes.

    Narratives come again where a size asks for more than there are, each behind a first sentence of its
    own, so that no window is encoded once for two cases.

    Raises:
        RunError: the command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        starts = []
        for _ in range(HELP_RUNS):
            start = time.perf_counter()
            _run([sys.executable, "-m", "secondlook", "--help"])
            starts.append(time.perf_counter() - start)
        report("a single case")
        first = min((_score(narratives, 1, bundle, Path(folder)) for _ in range(2)), key=lambda cost: cost.seconds)
        costs = []
        for size in sizes:
            report(f"{size} cases")
            costs.append(_score(narratives, size, bundle, Path(folder)))
    return Costs(costs, first, median(starts))


def draw_sizes(costs: Costs, path: Path) -> None:
    """Throughput and peak memory against size, as SVG; the same figures give the same bytes.

    Raises:
        RunError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    shown = [cost for cost in costs.sizes if cost.narratives > 1]
    sizes = [cost.narratives for cost in shown]
    speed.plot(sizes, [1000 / costs.milliseconds_each(cost) for cost in shown], color="#0072B2", marker="o")
    speed.set(title="Throughput, start apart", ylabel="narratives a second")
    memory.plot(sizes, [cost.peak_mib or float("nan") for cost in shown], color="#D55E00", marker="s")
    memory.set(title="Peak memory", ylabel="MiB")
    for axes in (speed, memory):
        axes.set(xscale="log", xlabel="narratives")
        axes.set_ylim(0, 1.1 * axes.dataLim.ymax)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "secondlook", "svg.fonttype": "none"}):
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    except OSError as cause:
        raise RunError(f"{path}: cannot be written ({cause.strerror}); give --plot another place") from None


def _score(narratives: Sequence[str], size: int, bundle: Path, folder: Path) -> Cost:
    cases, out = folder / f"{size}.csv", folder / f"run-{size}"
    rows = ((f"case-{i}", distinct(narratives[i % len(narratives)], i)) for i in range(size))
    cases.write_bytes(csv_bytes(["case_id", "narrative"], rows))
    command = [sys.executable, "-m", "secondlook", "score", str(cases), "--out", str(out), "--bundle", str(bundle)]
    start = time.perf_counter()
    peak = _weighed([*command, "--overwrite"])
    seconds = time.perf_counter() - start
    cases.unlink()
    return Cost(size, seconds, peak)


_WEIGH = (
    "import os, subprocess, sys; child = subprocess.Popen(sys.argv[1:]); "
    "_, status, used = os.wait4(child.pid, 0); print(used.ru_maxrss); sys.exit(os.waitstatus_to_exitcode(status))"
)
"""Runs a command and prints its peak memory. Until it loads its program a new process counts as large as the one that
began it, which here may hold PyTorch; so a small one begins it."""


def _weighed(command: Sequence[str]) -> float | None:
    """Run to the end; peak resident memory in MiB, where the system tells it."""
    if not hasattr(os, "wait4"):
        _run(command)
        return None
    said = _run([sys.executable, "-I", "-S", "-c", _WEIGH, *command])
    return int(said.split()[-1]) / (2**20 if sys.platform == "darwin" else 2**10)


def _run(command: Sequence[str]) -> str:
    """Run to the end; what it printed."""
    # The package may be run from a checkout that is not installed.
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": paths}, check=False)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        what = command[command.index("secondlook") + 1]
        raise RunError(f"'secondlook {what}' failed ({done.returncode}): {' '.join(last)}")
    return done.stdout.decode("utf-8", "replace")
