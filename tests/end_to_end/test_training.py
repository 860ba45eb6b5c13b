"""Training as a researcher runs it: stopped by SIGKILL and gone on with, told clearly what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.progress import Progress, TaskID
from safetensors.numpy import load_file, save_file

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig
from secondlook.encoder.fitting import last_checkpoint
from secondlook.errors import TrainingError
from secondlook.export import export
from secondlook.fit import fit
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


def test_a_checkpoint_is_what_a_run_goes_on_from(tmp_path: Path, write_tiny_transformer: Write) -> None:
    """With other weights in the surviving checkpoint the fold ends elsewhere: it was read, not made again."""
    config = write_tiny_transformer(tmp_path)
    path = _save(config, tmp_path)
    workspace = config.workspace / config.name / "unfinished"
    process = subprocess.Popen(_command("train", path), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    _wait_for(lambda: bool(list(workspace.glob("checkpoints/fold-0/checkpoint-*/trainer_state.json"))), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = [Path(one) for one in [last_checkpoint(workspace / "checkpoints/fold-0")] if one]
    for place in found:
        weights = load_file(place / "model.safetensors")
        save_file({name: value * 0 for name, value in weights.items()}, place / "model.safetensors")
    assert found
    assert subprocess.run(_command("train", path), env=ENVIRONMENT, capture_output=True).returncode == 0
    whole = write_tiny_transformer(tmp_path / "whole")
    train(whole)
    one, other = (pd.read_parquet(c.workspace / c.name / "fitted/fold-0.parquet") for c in (whole, config))
    assert (one["told_suspect"] - other["told_suspect"]).abs().max() > 0.1


def test_other_choices_start_afresh(tmp_path: Path, write_tiny_transformer: Write) -> None:
    config = write_tiny_transformer(tmp_path, epochs=1)
    train(config)
    fold = config.workspace / config.name / "fitted/fold-0.parquet"
    first = pd.read_parquet(fold)
    train(config.model_copy(update={"seed": config.seed + 1}))
    assert not first.equals(pd.read_parquet(fold))


def test_a_fold_is_gone_through_as_often_as_the_whole(tmp_path: Path, write_tiny_transformer: Write) -> None:
    steps: dict[TaskID, tuple[str, float]] = {}

    class Noted(Progress):
        def add_task(self, description: str, *args: Any, total: float | None = None, **fields: Any) -> TaskID:
            task = super().add_task(description, *args, total=total, **fields)
            steps[task] = (description, total or 0)
            return task

    fit(write_tiny_transformer(tmp_path, epochs=1, minimum_steps=40), Noted())
    totals = dict(steps.values())
    assert totals["model"] >= 40
    assert all(0.3 < totals[f"fold {fold} of 2"] / totals["model"] < 0.7 for fold in (1, 2))


def test_calibration_rests_on_the_model_as_it_is_run(tmp_path: Path, write_tiny_transformer: Write) -> None:
    def of_fold(quantise: bool) -> pd.DataFrame:
        config = write_tiny_transformer(tmp_path / str(quantise), epochs=1)
        fit(config.model_copy(update={"model": config.model.model_copy(update={"quantise": quantise})}))
        return pd.read_parquet(config.workspace / config.name / "fitted/fold-0.parquet")

    exact, int8 = of_fold(quantise=False), of_fold(quantise=True)
    apart = (exact["told_suspect"] - int8["told_suspect"]).abs()
    assert 0 < apart.max() < 1


def test_a_calibration_of_another_fit_is_not_exported(tmp_path: Path, write_tiny_transformer: Write) -> None:
    config = write_tiny_transformer(tmp_path, epochs=1)
    train(config)
    fit(config.model_copy(update={"seed": config.seed + 1}))
    with pytest.raises(TrainingError, match="run 'secondlook calibrate' first"):
        export(config.model_copy(update={"seed": config.seed + 1}))


def test_a_full_disk_is_said_and_the_earlier_bundle_stays(tmp_path: Path, write_tiny_transformer: Write) -> None:
    config = write_tiny_transformer(tmp_path, epochs=1)
    train(config)
    before = (config.bundle / "manifest.json").read_bytes()
    path = _save(config.model_copy(update={"seed": config.seed + 1}), tmp_path)
    # No file may grow beyond 20 kB, as on a disk that is full.
    limited = ["bash", "-c", 'ulimit -f 20; trap "" XFSZ; exec "$@"', "_", *_command("train", path)]
    done = subprocess.run(limited, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert (config.bundle / "manifest.json").read_bytes() == before


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
