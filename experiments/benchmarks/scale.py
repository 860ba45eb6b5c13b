"""What Ray costs beside one process, and what millions of narratives cost.

python experiments/benchmarks/scale.py overhead 20000 [--bundle DIR]   the same job by both engines, start-up apart
python experiments/benchmarks/scale.py measure 2000                    all but the encoder: time, bytes, memory
python experiments/benchmarks/scale.py cost --rate 10 ...              1, 10 and 100 million, from measured rates
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from secondlook.bench.work import choose_narratives
from secondlook.bundle import default_bundle, load_bundle
from secondlook.config import ScoreConfig
from secondlook.journal import Journal
from secondlook.readers import ReadOptions
from secondlook.schema import Span
from secondlook.score import Display, Here, score
from secondlook.scorer import Scorer

SOURCE = Path("labels/annotations")
SHARD_CASES = 64
SIGNATURE_BYTES = 512
"""Of a narrative among the copies: 128 numbers of 4 bytes."""

MILLIONS = (1, 10, 100)


def overhead(count: int, bundle: Path, repeats: int) -> None:
    """Seconds of both engines on the same cases, without those of a single case; they take turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = _write(folder / "many.parquet", choose_narratives(count, SOURCE))
        one = _write(folder / "one.parquet", choose_narratives(1, SOURCE))
        (folder / "score.yaml").write_text(f"shard_cases: {SHARD_CASES}\n")
        table = Table("turn", "one process, s", "Ray, s", "ratio", title=f"{count} narratives, start-up apart")
        for turn in range(1, repeats + 1):
            took = {}
            for engine in ("local", "ray") if turn % 2 else ("ray", "local"):
                start, whole = (_seconds(path, folder, bundle, engine) for path in (one, many))
                took[engine] = whole - start
            here, there = took["local"], took["ray"]
            table.add_row(str(turn), f"{here:.1f}", f"{there:.1f}", f"{there / here:.2f}")
        same = [(folder / f"many-{engine}/manifest.json").read_bytes() for engine in ("local", "ray")]
        Console().print(table, f"the same bytes: {same[0] == same[1]}")


def _seconds(path: Path, folder: Path, bundle: Path, engine: str) -> float:
    command = [sys.executable, "-m", "secondlook", "score", path, "--out", folder / f"{path.stem}-{engine}"]
    command += ["--bundle", bundle, "--config", folder / "score.yaml", "--engine", engine, "--overwrite"]
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return time.perf_counter() - start


def _write(path: Path, narratives: Sequence[str]) -> Path:
    ids = [f"case-{number:09d}" for number in range(len(narratives))]
    pq.write_table(pa.table({"case_id": ids, "narrative": narratives}), path, row_group_size=10_000)
    return path


class Instant:
    """A model that has its scores at once, and is otherwise as the bundle's own."""

    def __init__(self, model: Any) -> None:
        self.modes, self.config, self.to_files = model.modes, model.config, model.to_files

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Any]:
        """Log-odds without meaning."""
        rng = np.random.default_rng(len(narratives))
        return [rng.normal(-2, 2, (len(spans), len(self.modes))) for spans in passages]


class Timed(Here):
    """One process that notes at what processor time all was scored, and how many bytes that took."""

    def score(self, journal: Journal, scorer: Scorer, display: Display) -> None:
        """As it is."""
        super().score(journal, scorer, display)
        self.scored = time.process_time()
        self.kept = sum(path.stat().st_size for path in journal.folder.iterdir())


def measure(count: int, bundle: Path) -> None:
    """What reading, splitting, keeping and writing cost a narrative, and how many bytes it takes."""
    loaded = load_bundle(bundle)
    quick = replace(loaded, model=Instant(loaded.model))
    with tempfile.TemporaryDirectory() as name:
        folder, config, options = Path(name), ScoreConfig(shard_cases=SHARD_CASES), ReadOptions()
        intake = _write(folder / "in.parquet", choose_narratives(count, SOURCE))
        engine = Timed([intake], options, config)
        start = time.process_time()
        score([intake], folder / "out", quick, config, options, engine=engine)
        end = time.process_time()
        table = Table("of a narrative", "", title=f"{count} narratives, without the encoder")
        table.add_row("read, split and keep, ms of processor", f"{(engine.scored - start) / count * 1e3:.2f}")
        table.add_row("write the run, ms of processor", f"{(end - engine.scored) / count * 1e3:.2f}")
        table.add_row("unfinished work, bytes", f"{engine.kept / count:.0f}")
        table.add_row("input, bytes", f"{intake.stat().st_size / count:.0f}")
        for suffix, size in _sizes(folder / "out").items():
            table.add_row(f"the run's {suffix}, bytes", f"{size / count:.0f}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        Console().print(table, f"peak memory {peak:.0f} MiB")


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of a run's files: each table's own, and those for people by kind."""
    sizes: dict[str, int] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.name if path.suffix == ".parquet" else path.suffix
        sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes


def cost(given: argparse.Namespace) -> None:
    """Hours, money, memory and disk for millions."""
    table = Table("", *(f"{millions} million" for millions in MILLIONS), title="worked out, not measured")
    counts = [millions * 1_000_000 for millions in MILLIONS]
    for cores in (2, 16, 128, 1024):
        hours = [count / (given.rate * cores) / 3600 for count in counts]
        table.add_row(f"scoring, {cores} cores", *map(_time, hours))
    table.add_row("core hours", *(f"{count / given.rate / 3600:,.0f}" for count in counts))
    if given.price:
        table.add_row(
            f"at {given.price:g} a core hour", *(f"{n / given.rate / 3600 * given.price:,.0f}" for n in counts)
        )
    table.add_row("writing the run, one core", *(_time(count * given.write / 1e3 / 3600) for count in counts))
    for what, size in (
        ("ranking, memory", given.queue),
        ("signatures of copies, memory", SIGNATURE_BYTES),
        ("plan on Ray, memory", given.plan),
        ("unfinished work, disk", given.shards),
        ("the run, disk", given.run),
    ):
        table.add_row(f"{what} ({size:.0f} B each)", *(f"{count * size / 1e9:,.1f} GB" for count in counts))
    Console(width=110).print(table)


def _time(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def main() -> None:
    """Choose by the first word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    for name, count in (("overhead", 20_000), ("measure", 2000)):
        one = what.add_parser(name)
        one.add_argument("count", type=int, nargs="?", default=count)
        one.add_argument("--bundle", type=Path, default=default_bundle())
        one.add_argument("--repeats", type=int, default=2)
    one = what.add_parser("cost")
    for option, default, meaning in (
        ("rate", None, "narratives a second on one core"),
        ("write", 1.0, "milliseconds to write a narrative's part of the run"),
        ("queue", 400, "bytes that ranking holds of a narrative"),
        ("plan", 60, "bytes that the plan on Ray holds of a narrative"),
        ("shards", 1500, "bytes of a narrative in unfinished work"),
        ("run", 3000, "bytes of a narrative in the run"),
        ("price", 0.0, "of an hour on one core"),
    ):
        one.add_argument(f"--{option}", type=float, default=default, required=default is None, help=meaning)
    given = parser.parse_args()
    if given.what == "overhead":
        overhead(given.count, given.bundle, given.repeats)
    elif given.what == "measure":
        measure(given.count, given.bundle)
    else:
        cost(given)


if __name__ == "__main__":
    main()
