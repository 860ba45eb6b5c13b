"""``secondlook verify`` and ``diff`` as people use them: a real process, real files."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."
PLAIN = "The banan ketor lomed tevor. The priing sotus teved wilan."


def _secondlook(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secondlook", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "140", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    assert "told him everything" not in done.stdout + done.stderr, "a narrative was printed"
    return done


@pytest.fixture(scope="module")
def scored(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs; the second has a case less and one with another narrative."""
    root = tmp_path_factory.mktemp("runs")
    for name, rows in (("a", {"A1": PLAIN, "A2": TOLD, "\u202eA3": PLAIN}), ("b", {"A1": TOLD, "A2": TOLD})):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["case_id", "narrative"], *rows.items()])
        done = _secondlook("score", root / f"{name}.csv", "--out", root / name, "--bundle", tiny_bundle)
        assert done.returncode == 0, done.stderr
    return root / "a", root / "b"


def test_a_run_is_verified(scored: tuple[Path, Path], tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "effects.csv"
    done = _secondlook("verify", scored[0], "--bundle", tiny_bundle, "--reencode", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 cases, every score computed again: no problems" in done.stdout
    assert "white space between passages: not scored" in done.stdout
    assert "0.97 flag" in done.stdout
    assert "\u202e" not in done.stdout
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    told = next(row for row in rows if row["case_id"] == "A2" and row["mode"] == "told_suspect")
    assert float(told["score_with_evidence_left_out"]) < 0.2 < float(told["score"])
    assert float(told["score_with_evidence_cut_out"]) < 0.2


def test_one_case_is_shown_with_what_was_skipped(scored: tuple[Path, Path], tiny_bundle: Path) -> None:
    done = _secondlook("verify", scored[0], "--bundle", tiny_bundle, "--case", "A2")
    assert done.returncode == 0, done.stderr
    assert "Skipped, and why" in done.stdout
    assert "nobody_went" in done.stdout
    assert "A1" not in done.stdout
    missing = _secondlook("verify", scored[0], "--bundle", tiny_bundle, "--case", "A9")
    assert missing.returncode == 1
    assert "has no case 'A9'" in missing.stderr


def test_a_tampered_run_fails_and_says_where(scored: tuple[Path, Path], tiny_bundle: Path, tmp_path: Path) -> None:
    run = shutil.copytree(scored[0], tmp_path / "run")
    queue = pq.read_table(run / "queue.parquet")
    scores = pa.array([0.5, *queue["p_told_suspect"].to_pylist()[1:]])
    pq.write_table(queue.set_column(3, "p_told_suspect", scores), run / "queue.parquet")
    (run / "evidence.parquet").unlink()
    done = _secondlook("verify", run, "--bundle", tiny_bundle)
    assert done.returncode == 1
    assert "queue.parquet: was changed since the run was written" in done.stdout
    assert "queue.parquet, case A2: p_told_suspect is 0.5" in done.stdout
    assert "evidence.parquet: is missing; restore the folder from a copy" in done.stdout
    assert "3 problems; the run is not verified" in done.stderr


def test_the_bundle_that_is_needed_is_named(scored: tuple[Path, Path], tiny_bundle: Path, tmp_path: Path) -> None:
    done = _secondlook("verify", scored[0], "--bundle", tmp_path)
    assert done.returncode == 1
    assert "give --bundle the folder of 'tiny' with the digest" in done.stdout
    assert "every score computed again" not in done.stdout
    assert _secondlook("verify", tmp_path, "--bundle", tiny_bundle).returncode == 1


def test_a_bundle_that_is_not_found_is_one_problem_among_others(scored: tuple[Path, Path], tmp_path: Path) -> None:
    run = shutil.copytree(scored[0], tmp_path / "run")
    (run / "evidence.parquet").unlink()
    done = _secondlook("verify", run, "--bundle", "models:/nobody@champion")
    assert done.returncode == 1
    assert "evidence.parquet: is missing" in done.stdout
    assert "no score was computed again, the bundle cannot be loaded" in done.stdout
    assert "2 problems; the run is not verified" in done.stderr


def test_two_runs_are_compared(scored: tuple[Path, Path], tmp_path: Path) -> None:
    done = _secondlook("diff", *scored, "--out", tmp_path / "diff.csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "only in A" in done.stdout
    assert "other input: the narrative changed" in done.stdout
    assert "+told_suspect" in done.stdout
    assert "\u202e" not in done.stdout
    with (tmp_path / "diff.csv").open(newline="") as file:
        assert {row["change"] for row in csv.DictReader(file)} == {"only in A", "other narrative", "same scores"}
    assert _secondlook("diff", scored[0], tmp_path).returncode == 1
