"""A drop folder: each file is scored once, whatever happens to the process that watches."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import secondlook.watch
from secondlook.bundle import Bundle, load_bundle
from secondlook.config import ScoreConfig
from secondlook.errors import InputError, RunError
from secondlook.readers import ReadOptions
from secondlook.watch import Watch

TOLD = "The banan ketor lomed. The clerk told him everything. The priing sotus teved."
WORDS = ["banan", "ketor", "lomed", "tevor", "priing", "sotus", "teved", "wilan", "niser", "pruan"]
CASES, KILLS = 400, 4


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def _once(drop: Path, bundle: Bundle, config: ScoreConfig | None = None) -> list[str]:
    """What watching once says."""
    said: list[str] = []
    Watch(drop, drop.parent / "out", bundle, config or ScoreConfig(), ReadOptions(), said.append).run(
        settle=0.05, every=0.05, once=True
    )
    return said


def _runs(drop: Path) -> dict[str, Path]:
    """The folders in OUT by the name of the file that each was made of."""
    return {path.name.rsplit("-", 1)[0]: path for path in (drop.parent / "out").iterdir()}


def _table(path: Path, cases: int, seed: int = 1) -> Path:
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "narrative"])
        for number in range(cases):
            rows.writerow([f"c{number}", f"The {' '.join(rng.choices(WORDS, k=8))}. Nobody went to her house."])
    return path


def test_rows_are_joined_where_the_configuration_says_so(drop: Path, bundle: Bundle) -> None:
    (drop / "a.csv").write_text(f"case_id,narrative\nA,{TOLD}\nA,{TOLD}\nB,{TOLD}\n")
    (said,) = _once(drop, bundle, ScoreConfig(join_rows=True))
    assert said.startswith("a.csv: 2 scored, 0 rejected")
    assert pq.read_table(_runs(drop)["a.csv"] / "cases.parquet")["rows"].to_pylist() == [2, 1]


def test_each_file_is_scored_once_into_a_folder_of_its_own(drop: Path, bundle: Bundle) -> None:
    _table(drop / "a.csv", 3)
    (drop / "b.txt").write_text(TOLD)
    (drop / ".hidden.txt").write_text(TOLD)
    (drop / "~$b.docx").write_text(TOLD)
    (drop / "folder").mkdir()
    said = _once(drop, bundle)
    assert [line.split(": ")[0] for line in said] == ["a.csv", "b.txt"]
    runs = _runs(drop)
    assert set(runs) == {"a.csv", "b.txt"}
    assert json.loads((runs["a.csv"] / "manifest.json").read_text())["counts"]["scored"] == 3
    before = {path: path.stat().st_mtime_ns for path in drop.parent.rglob("*")}
    assert _once(drop, bundle) == []
    _table(drop / "a.csv", 4)
    assert len(_once(drop, bundle)) == 1
    assert before.items() <= {path: path.stat().st_mtime_ns for path in drop.parent.rglob("*")}.items() | {
        (path, time) for path, time in before.items() if path in (drop / "a.csv", drop.parent / "out", drop.parent)
    }
    assert len(list((drop.parent / "out").iterdir())) == 3


def test_the_same_content_under_another_name_is_not_scored_again(drop: Path, bundle: Bundle) -> None:
    (drop / "b.txt").write_text(TOLD)
    _once(drop, bundle)
    (drop / "again.txt").write_text(TOLD)
    (said,) = _once(drop, bundle)
    assert said.startswith("again.txt: the same as what ")
    assert set(_runs(drop)) == {"b.txt"}


def test_a_file_without_a_case_gets_a_folder_that_says_why(drop: Path, bundle: Bundle) -> None:
    (drop / "scan.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (drop / "empty.csv").write_text("")
    _once(drop, bundle)
    runs = _runs(drop)
    assert "not a kind of file" in (runs["scan.jpg"] / "rejects.csv").read_text()
    assert "empty" in (runs["empty.csv"] / "rejects.csv").read_text()
    assert _once(drop, bundle) == []


def test_a_file_that_breaks_the_scoring_is_not_tried_forever(
    drop: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drop / "a.txt").write_text(TOLD)
    (drop / "b.txt").write_text(TOLD + " More.")
    right = secondlook.watch.score

    def wrong(inputs: list[Path], *given: object, **how: object) -> object:
        if inputs[0].name == "a.txt":
            raise ZeroDivisionError(TOLD)
        return right(inputs, *given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(secondlook.watch, "score", wrong)
    said = _once(drop, bundle)
    assert ["it made the scoring fail (ZeroDivisionError)" in line for line in said] == [True, False]
    runs = _runs(drop)
    for path in runs["a.txt"].iterdir():
        assert "told him" not in path.read_text()
    monkeypatch.undo()
    assert _once(drop, bundle) == []
    for path in runs["a.txt"].iterdir():
        path.unlink()
    runs["a.txt"].rmdir()
    assert len(_once(drop, bundle)) == 1


def test_a_file_that_is_still_written_is_left_until_it_settles(
    drop: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _table(drop / "a.csv", 3)

    def write_more(seconds: float) -> None:
        with path.open("a") as file:
            file.write(f"x{time.monotonic_ns()},{TOLD}\n")

    monkeypatch.setattr(secondlook.watch, "sleep", write_more)
    assert _once(drop, bundle) == []
    monkeypatch.undo()
    assert "4 scored" in _once(drop, bundle)[0]


def test_work_of_another_configuration_is_begun_afresh(drop: Path, bundle: Bundle, tiny_bundle: Path) -> None:
    _table(drop / "a.csv", CASES)
    process = _process(drop, tiny_bundle, "--config", _config(drop))
    _wait_for(drop, process, shards=2)
    process.kill()
    process.communicate()
    assert not _runs(drop).keys() & {"a.csv"}
    assert f"{CASES} scored" in _once(drop, bundle)[0]


def test_places_that_cannot_be_watched(drop: Path, bundle: Bundle, tmp_path: Path) -> None:
    given = (bundle, ScoreConfig(), ReadOptions(), print)
    with pytest.raises(InputError, match="is no folder"):
        Watch(tmp_path / "none", tmp_path / "out", *given)
    with pytest.raises(RunError, match="is the folder that is watched"):
        Watch(drop, drop, *given)


def _config(drop: Path) -> Path:
    path = drop.parent / "score.yaml"
    path.write_text("shard_cases: 5\n")
    return path


def _process(drop: Path, bundle: Path, *options: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "secondlook", "watch", drop, drop.parent / "out", "--bundle", bundle]
    command += ["--settle", "0.1", "--every", "0.05", *options]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(list(map(str, command)), env=environment, stdout=pipe, stderr=pipe, text=True)


def _wait_for(drop: Path, process: subprocess.Popen[str], *, shards: int = 0, runs: int = 0) -> None:
    out, until = drop.parent / "out", time.monotonic() + 180
    while len(list(out.glob(".*.unfinished/shard-*"))) < shards or len(list(out.glob("*/manifest.json"))) < runs:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "nothing happened in time"
        time.sleep(0.005)


def test_killed_again_and_again_each_file_is_scored_once(drop: Path, bundle: Bundle, tiny_bundle: Path) -> None:
    for number in range(3):
        _table(drop / f"{number}.csv", CASES, number)
    config, rng = _config(drop), random.Random(3)
    for _ in range(KILLS):
        process = _process(drop, tiny_bundle, "--config", config)
        _wait_for(drop, process, shards=1)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        if len(list((drop.parent / "out").glob("*/manifest.json"))) == 3:
            break
    last = _process(drop, tiny_bundle, "--config", config, "--once")
    _, stderr = last.communicate(timeout=300)
    assert last.returncode == 0, stderr
    runs = _runs(drop)
    assert len(runs) == len(list((drop.parent / "out").iterdir())) == 3, "something half-made was left behind"
    for run in runs.values():
        assert sorted(pq.read_table(run / "queue.parquet")["case_id"].to_pylist()) == sorted(
            f"c{number}" for number in range(CASES)
        )
    assert _once(drop, bundle) == []


def test_a_second_watch_is_refused_and_ctrl_c_ends_the_first(drop: Path, tiny_bundle: Path) -> None:
    (drop / "a.txt").write_text(TOLD)
    first = _process(drop, tiny_bundle)
    _wait_for(drop, first, runs=1)
    second = _process(drop, tiny_bundle, "--once")
    _, stderr = second.communicate(timeout=180)
    assert second.returncode == 1
    assert "another watch writes there" in stderr
    first.send_signal(signal.SIGINT)
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 1
    assert stderr.strip() == "secondlook: stopped; start it again: it goes on where it was"
    assert stdout.startswith("a.txt: 1 scored, 0 rejected: ")


def test_a_folder_that_was_removed_is_made_again_while_it_is_watched(
    drop: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drop / "a.txt").write_text(TOLD)
    said: list[str] = []
    looks = iter(range(4))

    def look(_: float) -> None:
        number = next(looks, None)
        if number == 2:
            shutil.rmtree(_runs(drop)["a.txt"])
        if number is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(secondlook.watch, "sleep", look)
    watch = Watch(drop, drop.parent / "out", bundle, ScoreConfig(), ReadOptions(), said.append)
    with pytest.raises(KeyboardInterrupt):
        watch.run(settle=0, every=0)
    assert len(said) == 2
    assert (_runs(drop)["a.txt"] / "manifest.json").is_file()


def test_what_changes_while_others_are_scored_waits_until_it_settles(
    drop: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt"):
        (drop / name).write_text(f"{TOLD} {name}")
    right = secondlook.watch.score

    def slow(inputs: list[Path], *given: object, **how: object) -> object:
        (drop / "b.txt").write_text(f"{TOLD} Half of it")
        return right(inputs, *given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(secondlook.watch, "score", slow)
    said = _once(drop, bundle)
    assert [line.split(": ")[0] for line in said] == ["a.txt"]


def test_bytes_that_came_between_the_look_and_the_scoring_are_scored_once(
    drop: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drop / "a.txt").write_text(TOLD)
    right = secondlook.watch.score

    def late(inputs: list[Path], *given: object, **how: object) -> object:
        if (drop / "a.txt").read_text() == TOLD:
            (drop / "a.txt").write_text(f"{TOLD} More.")
        return right(inputs, *given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(secondlook.watch, "score", late)
    _once(drop, bundle)
    monkeypatch.undo()
    assert _once(drop, bundle) == []
    (drop / "a.txt").write_text(TOLD)
    assert "1 scored" in _once(drop, bundle)[0]
