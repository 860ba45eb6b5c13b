"""Training as a researcher runs it: stopped by SIGKILL and gone on with, told clearly what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig
from secondlook.train import train

Write = Callable[..., TrainConfig]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def _save(config: TrainConfig, root: Path) -> Path:
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return path


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "secondlook", *map(str, arguments)]


def _wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if found() or process.poll() is not None:
            return
        time.sleep(0.05)


def test_a_run_that_was_killed_goes_on_and_ends_the_same(tmp_path: Path, write_tiny_transformer: Write) -> None:
    whole = write_tiny_transformer(tmp_path / "whole")
    train(whole)
    config = write_tiny_transformer(tmp_path / "killed")
    path = _save(config, tmp_path)
    workspace = config.workspace / config.name / "unfinished"
    process = subprocess.Popen(_command("train", path), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    _wait_for(lambda: bool(list(workspace.glob("checkpoints/fold-1/checkpoint-*/trainer_state.json"))), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (workspace / "fold-0.parquet").exists()
    assert not config.bundle.exists()
    before = (workspace / "fold-0.parquet").stat().st_mtime_ns
    done = subprocess.run(_command("train", path), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fitted = workspace.with_name("fitted")
    assert (fitted / "fold-0.parquet").stat().st_mtime_ns == before
    for fold in ("fold-0", "fold-1"):
        one, other = (pd.read_parquet(c.workspace / c.name / "fitted" / f"{fold}.parquet") for c in (whole, config))
        pd.testing.assert_frame_equal(one, other, atol=1e-3)
    assert load_bundle(config.bundle).codebook.mode_ids == load_bundle(whole.bundle).codebook.mode_ids
    assert not workspace.exists()


def test_other_choices_start_afresh(tmp_path: Path, write_tiny_transformer: Write) -> None:
    config = write_tiny_transformer(tmp_path, epochs=1)
    train(config)
    first = (config.workspace / config.name / "fitted/fit.json").read_text()
    train(config.model_copy(update={"seed": config.seed + 1}))
    assert (config.workspace / config.name / "fitted/fit.json").read_text() != first


@pytest.mark.parametrize(
    ("command", "message"),
    [("calibrate", "run 'secondlook fit'"), ("export", "run 'secondlook fit'"), ("card", "is not a bundle")],
)
def test_a_step_out_of_order_names_the_one_before(
    tmp_path: Path, write_tiny_transformer: Write, command: str, message: str
) -> None:
    path = _save(write_tiny_transformer(tmp_path), tmp_path)
    done = subprocess.run(_command(command, path), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "./nowhere"}, "there is no folder './nowhere'"),
        ({"encoder_digest": "0" * 64}, "expected 0000"),
        ({"window_tokens": 4096}, "reads 128 tokens at most"),
        ({"context_tokens": 40}, "half of window_tokens"),
        ({"fitting": {"epoch": 3}}, "did you mean 'epochs'"),
    ],
)
def test_a_choice_that_cannot_be_is_named(
    tmp_path: Path, write_tiny_transformer: Write, change: dict[str, object], message: str
) -> None:
    config = write_tiny_transformer(tmp_path)
    choices = config.model_dump(mode="json")
    choices["model"] = {**choices["model"], **change}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(choices))
    done = subprocess.run(_command("train", path), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not config.bundle.exists()
