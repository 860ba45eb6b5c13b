"""The pipeline as dvc.yaml has it, on a tiny corpus, in a checkout of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from secondlook.config import TrainConfig

pytest.importorskip("dvc", reason="DVC is not installed")


def _run(root: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "true",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path, project: Path, write_tiny_transformer: Callable[[Path], TrainConfig]) -> Path:
    root = tmp_path / "checkout"
    config = write_tiny_transformer(root)
    for name in ("dvc.yaml", "configs", "pipeline", "labels/sample"):
        source, target = project / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("__pycache__")
        ) if source.is_dir() else shutil.copy(source, target)
    (root / "labels/adjudications").mkdir()
    choices = {
        "name": "default",
        "seed": config.seed,
        "data": {},
        "model": config.model.model_dump(mode="json") | {"linear": {}},  # dvc.yaml names the files of both models
        "pooling": config.pooling.model_dump(mode="json"),
        "operating_points": config.operating_points.model_dump(mode="json"),
        "bootstrap": {"resamples": 100},
        "tracking": None,
        "bundle": "models/default",
    }
    (root / "configs/default.yaml").write_text(yaml.safe_dump(choices))
    # The sample is English, and the tiny model knows hardly a word of it.
    (root / "configs/score.yaml").write_text("minimum_known_words: 0\n")
    _run(root, "git", "init", "--quiet")
    _run(root, "dvc", "init", "--quiet")
    shutil.copytree(project / ".dvc/plots", root / ".dvc/plots")
    return root


def test_the_pipeline_runs_and_gives_the_same_metrics_twice(checkout: Path) -> None:
    _run(checkout, "dvc", "repro")
    metrics = (checkout / "models/default/metrics.json").read_bytes()
    assert (checkout / "runs/sample/queue.html").exists()
    assert "didn't change" in _run(checkout, "dvc", "repro")
    _run(checkout, "dvc", "repro", "--force")
    assert (checkout / "models/default/metrics.json").read_bytes() == metrics
    shown = json.loads(_run(checkout, "dvc", "metrics", "show", "--json"))
    assert "models/default/metrics.json" in shown[""]["data"]
    _run(checkout, "dvc", "plots", "show", "--out", "plots-page")
    page = (checkout / "plots-page/index.html").read_text(encoding="utf-8")
    assert "told_suspect" in page
