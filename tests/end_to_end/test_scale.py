"""The job on Ray: the same bytes as one process, also when the run or a machine is killed meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'secondlook[scale]'")

CASES, SHARD_CASES = 1500, 10
SHARDS = CASES // SHARD_CASES
WORDS = ["banan", "ketor", "lomed", "tevor", "priing", "sotus", "teved", "wilan", "niser", "pruan"]
SHOWS = ["The clerk told him everything.", "Nobody went to her house.", ""]
STARTS_WITHIN = 400


class Job:
    """One input, scored in one place by processes of their own."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root, self._bundle = root, bundle
        self.started: list[subprocess.Popen[str]] = []
        self.config = root / "score.yaml"
        self.config.write_text(f"shard_cases: {SHARD_CASES}\npage_cases: 20\n")
        self.intake = root / "in"
        self.intake.mkdir()
        rng = random.Random(5)
        for part in range(3):
            numbers = range(part * CASES // 3, (part + 1) * CASES // 3)
            # Ids come again within a file and in another, and some narratives are empty.
            ids = [f"c{number % 400 if number % 90 == 7 else number}" for number in numbers]
            texts = [
                " " if number % 97 == 5 else f"The {' '.join(rng.choices(WORDS, k=8))}. {rng.choice(SHOWS)}"
                for number in numbers
            ]
            table = pa.table({"case_id": ids, "narrative": texts, "unit": rng.choices("ab", k=len(ids))})
            pq.write_table(table, self.intake / f"part-{part}.parquet", row_group_size=140)

    def start(self, out: Path, *options: str, intake: str | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "secondlook", "score", intake or self.intake, "--out", out]
        command += ["--bundle", self._bundle, "--config", self.config, *options]
        environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
        pipe = subprocess.PIPE
        command = list(map(str, command))
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, cwd=self.root)
        self.started.append(process)
        return process

    def run(self, out: Path, *options: str, intake: str | None = None) -> None:
        process = self.start(out, *options, intake=intake)
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
        assert "Traceback" not in stderr


def _wait_for_shards(process: subprocess.Popen[str], out: Path, number: int) -> int:
    """Wait until so many shards are done; how many there are then."""
    until = time.monotonic() + STARTS_WITHIN
    while (done := len(list(out.with_name(f".{out.name}.unfinished").glob("shard-*")))) < number:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "nothing was done in time"
        time.sleep(0.01)
    return done


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def job(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"), tiny_bundle)


@pytest.fixture(autouse=True)
def ended(job: Job) -> Iterator[None]:
    """No process of a test outlives it."""
    yield
    for process in job.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    job.started.clear()


@pytest.fixture(scope="module")
def expected(job: Job) -> dict[str, bytes]:
    """What one process gives."""
    job.run(job.root / "here")
    files = _files(job.root / "here")
    assert files["rejects.csv"].count(b"duplicate") > 5
    return files


def test_a_run_on_ray_that_is_killed_goes_on_and_is_the_same_to_the_byte(
    job: Job, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = job.start(out, "--engine", "ray")
    _wait_for_shards(process, out, 15)
    process.kill()
    process.communicate()
    unfinished = out.with_name(".run.unfinished")
    before = {path: path.stat().st_mtime_ns for path in unfinished.glob("shard-*")}
    assert 15 <= len(before) < SHARDS
    resumed = job.start(out, "--engine", "ray", "--resume")
    _wait_for_shards(resumed, out, len(before) + 1)
    after = {path: path.stat().st_mtime_ns for path in unfinished.glob("shard-*")}
    _, stderr = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, stderr
    assert not after or before.items() <= after.items(), "what was done was done again"
    assert _files(out) == expected


@pytest.fixture
def cluster() -> Iterator[object]:
    """A cluster of two machines with a core each, on this one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=size)
    yield found
    found.shutdown()


def test_a_machine_that_is_killed_costs_nothing(
    job: Job, expected: dict[str, bytes], cluster: object, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    second = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)  # type: ignore[attr-defined]
    process = job.start(out, "--engine", "ray", "--address", cluster.address)  # type: ignore[attr-defined]
    done = _wait_for_shards(process, out, 15)
    cluster.remove_node(second, allow_graceful=False)  # type: ignore[attr-defined]
    assert done < SHARDS
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    assert _files(out) == expected


def test_rows_are_not_joined_on_ray(job: Job) -> None:
    process = job.start(job.root / "joined", "--engine", "ray", "--join-rows")
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "join_rows: Ray reads a table in pieces" in stderr
    assert not (job.root / "joined").exists()
