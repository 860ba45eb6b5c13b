"""Nothing is lost: a real process is killed, stopped, starved of disk and doubled, and the run is the same to the byte.

``SECONDLOOK_KILLS=100`` kills as often; by default a few times.
"""

from __future__ import annotations

import copy
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from secondlook.storage import held, inventory

KILLS = int(os.environ.get("SECONDLOOK_KILLS", "12"))
CASES = 1200
SHARD_CASES = 50
SHARDS = -(-CASES * 51 // 50 // SHARD_CASES)
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
WORDS = ["banan", "ketor", "lomed", "tevor", "priing", "sotus", "teved", "wilan", "niser", "pruan"]
SHOWS = ["The clerk told him everything.", "Nobody went to her house.", ""]


class Job:
    """One input, scored in one place by processes of their own."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root = root
        self.out = root / "place/run"
        self.unfinished = root / "place/.run.unfinished"
        self.intake = root / "in.csv"
        self.config = root / "score.yaml"
        self.config.write_text(f"shard_cases: {SHARD_CASES}\npage_cases: 100\ndate_column: received\naudit: 9\n")
        self._bundle = bundle
        rng = random.Random(11)
        with self.intake.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["case_id", "narrative", "unit", "received"])
            for number in range(CASES):
                sentences = [f"The {' '.join(rng.choices(WORDS, k=8))}." for _ in range(6)] + [rng.choice(SHOWS)]
                narrative = " " if number % 97 == 5 else " ".join(sentences)
                rows.writerow([f"c{number}", narrative, rng.choice("ab"), f"2026-09-{rng.randrange(1, 29)}"])
                if number % 50 == 49:
                    rows.writerow([f"c{number}-again", narrative, "", ""])

    def start(self, *options: str, out: Path | None = None, intake: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "secondlook", "score", intake or self.intake, "--out", out or self.out]
        command += ["--bundle", self._bundle, "--config", self.config, *options]
        environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
        pipe = subprocess.PIPE
        return subprocess.Popen(list(map(str, command)), env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(
        self, *options: str, out: Path | None = None, intake: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*options, out=out, intake=intake)
        stdout, stderr = process.communicate(timeout=300)
        assert "Traceback" not in stderr
        return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def shards(self) -> int:
        return len(list(self.unfinished.glob("shard-*")))

    def wait_for_shards(self, process: subprocess.Popen[str], number: int) -> None:
        while self.shards() < number:
            assert process.poll() is None, "it ended before it was to be stopped"
            time.sleep(0.002)

    def clear(self) -> None:
        shutil.rmtree(self.out.parent, ignore_errors=True)


def _files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in inventory(folder)}


@pytest.fixture(scope="module")
def whole(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, dict[str, bytes], float]:
    """A job, what it gives undisturbed, and how many seconds that takes."""
    job = Job(tmp_path_factory.mktemp("job"), tiny_bundle)
    begun = time.monotonic()
    done = job.run(out=job.root / "whole")
    assert done.returncode == 0, done.stderr
    return job, _files(job.root / "whole"), time.monotonic() - begun


@pytest.fixture
def job(whole: tuple[Job, dict[str, bytes], float]) -> Iterator[Job]:
    whole[0].clear()
    yield whole[0]
    whole[0].clear()


@pytest.fixture
def expected(whole: tuple[Job, dict[str, bytes], float]) -> dict[str, bytes]:
    return whole[1]


@pytest.fixture
def stopped(job: Job) -> Job:
    """A job that was stopped with Ctrl-C halfway."""
    process = job.start()
    job.wait_for_shards(process, 12)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 1
    process.communicate()
    return job


@pytest.fixture(scope="module")
def another(whole: tuple[Job, dict[str, bytes], float]) -> Path:
    """A run of another input."""
    job, root = whole[0], whole[0].root
    (root / "other.txt").write_text("The clerk told him everything. The banan ketor lomed.")
    done = job.run(out=root / "other", intake=root / "other.txt")
    assert done.returncode == 0, done.stderr
    return root / "other"


def _put(another: Path, job: Job) -> dict[str, bytes]:
    """Another run in the place of the job's."""
    shutil.rmtree(job.out, ignore_errors=True)
    shutil.copytree(another, job.out)
    return _files(job.out)


def test_every_case_is_there_once(expected: dict[str, bytes], whole: tuple[Job, dict[str, bytes], float]) -> None:
    folder = whole[0].root / "whole"
    wanted = {f"c{number}" for number in range(CASES) if number % 97 != 5}
    again = {f"c{number}-again" for number in range(49, CASES, 50) if number % 97 != 5}
    for name in ("queue", "cases"):
        assert sorted(pq.read_table(folder / f"{name}.parquet")["case_id"].to_pylist()) == sorted(wanted | again)
    assert expected["rejects.csv"].count(b"\n") == 1 + CASES + CASES // 50 - len(wanted | again)
    queue = pq.read_table(folder / "queue.parquet").to_pandas()
    assert queue["drawn_for_audit"].sum() == 9
    assert queue["duplicate_of"].notna().sum() == len(again)
    assert "pages/list-001.html" in expected


def test_a_run_killed_at_random_moments_is_the_same_to_the_byte(
    job: Job, another: Path, expected: dict[str, bytes], whole: tuple[Job, dict[str, bytes], float]
) -> None:
    rng = random.Random(KILLS)
    seconds = whole[2]
    earlier = _put(another, job)
    kills = ends = 0
    while kills < KILLS:
        process = job.start("--resume", "--overwrite")
        if kills % 4:  # once it works, most of the time: before that there is nothing to disturb
            before = job.shards()
            while process.poll() is None and job.shards() == before:
                time.sleep(0.002)
        try:
            process.wait(rng.uniform(0, seconds / 3))
            ended = True
        except subprocess.TimeoutExpired:
            process.kill()
            ended = False
        _, stderr = process.communicate()
        kills += not ended
        found = _files(job.out) if job.out.exists() else _files(job.unfinished / "earlier")
        if ended:
            assert process.returncode == 0, stderr
            assert found == expected
            ends += 1
            if kills < KILLS:
                earlier = _put(another, job)
        else:
            assert found in (earlier, expected), "what stands in the place is neither the earlier run nor the new one"
    done = job.run("--resume", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert _files(job.out) == expected
    assert [path.name for path in job.out.parent.iterdir()] == ["run"]
    print(f"{kills} kills, {ends + 1} times to the end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_says_how_to_go_on(job: Job, expected: dict[str, bytes], number: signal.Signals) -> None:
    process = job.start()
    job.wait_for_shards(process, 3)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    said = re.search(r"secondlook: stopped; (\d+) cases are done: run the same command with --resume", stderr)
    assert said, stderr
    assert 3 * SHARD_CASES - 10 <= int(said.group(1)) < CASES
    assert not job.out.exists()
    assert job.run("--resume").returncode == 0
    assert _files(job.out) == expected
    assert [path.name for path in job.out.parent.iterdir()] == ["run"]


def test_unfinished_work_is_neither_lost_nor_mixed_by_accident(stopped: Job, expected: dict[str, bytes]) -> None:
    shards = stopped.shards()
    plain = stopped.run()
    assert plain.returncode == 1
    assert "add --resume to go on, --overwrite to begin afresh" in plain.stderr
    config = stopped.config.read_text()
    stopped.config.write_text(config + "evidence_per_mode: 1\n")
    try:
        other = stopped.run("--resume")
    finally:
        stopped.config.write_text(config)
    assert other.returncode == 1
    assert "it was of other config (evidence_per_mode)" in other.stderr
    assert stopped.shards() == shards
    assert stopped.run("--overwrite").returncode == 0
    assert _files(stopped.out) == expected


def test_a_damaged_shard_is_done_again(stopped: Job, expected: dict[str, bytes]) -> None:
    first, second, third, *_ = sorted(stopped.unfinished.glob("shard-*"))
    first.write_bytes(first.read_bytes()[:-100])
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    third.unlink()
    assert stopped.run("--resume").returncode == 0
    assert _files(stopped.out) == expected


def test_a_second_run_in_the_same_place_is_refused(job: Job, expected: dict[str, bytes]) -> None:
    first = job.start()
    job.wait_for_shards(first, 1)
    os.kill(first.pid, signal.SIGSTOP)  # so that it cannot end before the second begins
    try:
        for option in ("--resume", "--overwrite"):
            second = job.run(option)
            assert second.returncode == 1
            assert "another run is being written there" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait(timeout=300) == 0
    first.communicate()
    assert _files(job.out) == expected


def test_a_lock_that_somebody_else_holds_ends_with_its_holder(job: Job) -> None:
    with held(job.out):
        assert job.run().returncode == 1
    assert job.run().returncode == 0


@pytest.fixture
def small_disk(job: Job) -> Iterator[Job]:
    """The job's place is a disk of its own, with room for an earlier run and some shards."""
    job.out.parent.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(job.out.parent)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield job
    subprocess.run(["umount", str(job.out.parent)], check=True)


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Job, another: Path, expected: dict[str, bytes]) -> None:
    earlier = _put(another, small_disk)
    full = small_disk.run("--overwrite")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr
    assert re.search(r"run the same command with --resume: \d+ cases are done", full.stderr)
    assert _files(small_disk.out) == earlier
    done = small_disk.shards()
    assert done
    # Room for the shards, and none for the run.
    disk = small_disk.out.parent
    largest = max(path.stat().st_size for path in small_disk.unfinished.glob("shard-*"))
    shards_to_come = (SHARDS - done) * -(-largest // PAGE) * PAGE
    assert len(expected["passages.parquet"]) > 8 * PAGE
    _resize(disk, shutil.disk_usage(disk).used + shards_to_come + 4 * PAGE)
    full = small_disk.run("--resume", "--overwrite")
    assert full.returncode == 1
    assert _files(small_disk.out) == earlier
    assert small_disk.shards() == SHARDS > done
    _resize(disk, 64_000_000)
    assert small_disk.run("--resume", "--overwrite").returncode == 0
    assert _files(small_disk.out) == expected


@pytest.fixture(scope="module")
def grouped(whole: tuple[Job, dict[str, bytes], float], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The same job with every case in three rows, which are joined."""
    job = whole[0]
    intake = tmp_path_factory.mktemp("grouped") / "in.csv"
    with job.intake.open(newline="") as file, intake.open("w", newline="") as parts:
        header, *rows = csv.reader(file)
        lines = csv.writer(parts)
        lines.writerow(header)
        for case_id, narrative, *rest in rows:
            for part in narrative.partition(". The "):
                lines.writerow([case_id, part, *rest])
    other = copy.copy(job)
    other.intake = intake
    return other


def test_joined_rows_of_a_run_that_was_killed_are_the_same_to_the_byte(job: Job, grouped: Job) -> None:
    undisturbed = grouped.root / "grouped"
    assert grouped.run("--join-rows", out=undisturbed).returncode == 0
    for shards in (1, 9, 17):
        process = grouped.start("--join-rows", "--resume")
        grouped.wait_for_shards(process, shards)
        process.kill()
        process.communicate()
        assert not grouped.out.exists()
    assert grouped.run("--join-rows", "--resume").returncode == 0
    assert _files(grouped.out) == _files(undisturbed)
    rows = pq.read_table(grouped.out / "cases.parquet")["rows"].to_pylist()
    assert set(rows) == {3}
