"""What a run of any size costs beside the encoder: reading, passages, signatures, shards, ranking and every file.

Narratives are the corpus's own, again and again, each made different; one in twenty comes twice. Their log-odds are
drawn at random from their digest, so that nothing is encoded. Prints processor time of all threads, peak memory and
bytes on disk.
"""

from __future__ import annotations

import argparse
import cProfile
import csv
import resource
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import secondlook.score as job
from secondlook.bench.work import choose_narratives
from secondlook.bundle import default_bundle, load_bundle
from secondlook.config import DataConfig, ScoreConfig
from secondlook.readers import ReadOptions
from secondlook.schema import Span


class Drawn:
    """Log-odds out of a hat: most passages show nothing, one in thirty shows a mode."""

    def __init__(self, modes: int) -> None:
        self._modes = modes

    def iterate(self, narratives: Iterable[str], passages: Iterable[Sequence[Span]]) -> Iterator[np.ndarray]:
        """One narrative after the other. *Shape of each:* ``(passages, modes)``."""
        for narrative, spans in zip(narratives, passages, strict=True):
            rng = np.random.default_rng(zlib.crc32(narrative.encode()))
            shape = (len(spans), self._modes)
            yield rng.normal(-5, 1, shape) + 6 * (rng.random(shape) < 1 / 30)


def main() -> None:
    """Print what each stage costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("--profile", type=Path, help="a file for the profile of the writing")
    choices = parser.parse_args()
    bundle = load_bundle(default_bundle())
    bundle = replace(bundle, model=Drawn(len(bundle.codebook.modes)))  # type: ignore[arg-type]
    bundle.__dict__["digest"] = "0" * 64
    config = ScoreConfig(date_column="received", audit=100)
    spent = {}
    write, profile = job._write, cProfile.Profile()

    def timed(*arguments: object) -> object:
        start = time.process_time()
        if choices.profile:
            profile.enable()
        result = write(*arguments)  # type: ignore[arg-type]
        profile.disable()
        spent["writing the run"] = time.process_time() - start
        return result

    job._write = timed  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as place:
        intake = Path(place, "cases.csv")
        _draw(intake, choices.cases)
        start = time.process_time()
        run = job.score([intake], Path(place, "run"), bundle, config, ReadOptions())
        whole = time.process_time() - start
        files = {path.suffix: 0 for path in run.folder.rglob("*.*")}
        for path in run.folder.rglob("*.*"):
            files[path.suffix] += path.stat().st_size
    spent = {"reading, passages, signatures, shards": whole - spent["writing the run"]} | spent
    for what, seconds in spent.items():
        print(f"{what}: {seconds:.1f} s of processor time, {1e3 * seconds / choices.cases:.2f} ms a case")
    print("bytes a case:", {suffix: round(size / choices.cases) for suffix, size in files.items()})
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB; {run.manifest['counts']}")
    if choices.profile:
        profile.dump_stats(choices.profile)


def _draw(path: Path, cases: int) -> None:
    texts = choose_narratives(cases * 20 // 21 + 1, DataConfig().annotations)
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "received", "channel", "narrative"])
        for number in range(cases):
            text = texts[number - number // 21 - (number % 21 == 20)]
            day = np.datetime64("2026-01-01") + int(rng.integers(0, 300))
            rows.writerow([f"CMP-{number:07d}", day, "letter", text])


if __name__ == "__main__":
    main()
