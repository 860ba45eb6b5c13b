"""The command line as people use it: a real process, real files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pandas as pd
import pytest
import yaml

from secondlook.config import TrackingConfig, TrainConfig
from secondlook.prepare import load_prepared

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."


def _secondlook(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "secondlook", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "120", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def _config_file(config: TrainConfig, path: Path) -> Path:
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return path


def test_the_sample_is_scored_with_the_installed_bundle(project: Path, tmp_path: Path) -> None:
    done = _secondlook("score", project / "labels/sample/cases.csv", "--out", tmp_path / "run", "--show", "3")
    assert done.returncode == 0, done.stderr
    assert "40 rows read: 40 scored, 0 rejected" in done.stdout
    assert str(tmp_path / "run/queue.html") in done.stdout.replace("\n", "")
    assert done.stderr == ""


def test_narratives_are_printed_only_on_request(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "c1.txt").write_text(TOLD + " \x1b[31mred\x1b[0m")
    quiet = _secondlook("score", tmp_path / "c1.txt", "--out", tmp_path / "run", "--bundle", tiny_bundle)
    assert "clerk" not in quiet.stdout + quiet.stderr
    shown = _secondlook("score", tmp_path / "c1.txt", "--out", tmp_path / "run", "--bundle", tiny_bundle, "--show", "1")
    assert "clerk" in shown.stdout
    assert "\x1b[31m" not in shown.stdout


def test_triage_says_how_many_it_cleared(tiny_stack: TrainConfig, tiny_bundle: Path, tmp_path: Path) -> None:
    part = load_prepared(tiny_stack.data).part("test")
    pd.DataFrame({"case_id": part.ids, "narrative": part.narratives}).to_csv(tmp_path / "cases.csv", index=False)
    triage = ("score", tmp_path / "cases.csv", "--out", tmp_path / "run", "--triage", "--bundle")
    done = _secondlook(*triage, tiny_stack.bundle)
    assert done.returncode == 0, done.stderr
    said = re.search(r"Of the scored, (\d+) were cleared by the first pass", done.stdout)
    assert said is not None
    assert 0 < int(said[1]) < len(part)
    assert f"{said[1]} of the scored cleared by the first pass alone" in (tmp_path / "run/queue.html").read_text()
    verified = _secondlook("verify", tmp_path / "run", "--bundle", tiny_stack.bundle, "--reencode")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    refused = _secondlook(*triage, tiny_bundle)
    assert refused.returncode == 1
    assert "has no first pass; leave triage out" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "none.csv", "--out", "run"], "none.csv"),
        (["score", "c1.txt", "--out", "run", "--bundle", "nowhere"], "is not a bundle"),
        (["score", "c1.txt", "--out", "run", "--config", "bad.yaml"], "did you mean 'page_cases'"),
        (["train", "none.yaml"], "there is no such file"),
        (["labels", "check", "--annotations", "nowhere"], "no such file"),
        (["labels", "check", "--codebook", "bad.yaml"], "bad.yaml"),
    ],
)
def test_a_mistake_gets_one_message_and_no_traceback(
    tiny_bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "c1.txt").write_text(TOLD)
    (tmp_path / "bad.yaml").write_text("page_case: 3\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/codebook.yaml").write_bytes((tiny_bundle / "codebook.yaml").read_bytes())
    done = _secondlook(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_nothing_scored_is_a_failure_with_reasons(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "c1.txt").write_text(" ")
    done = _secondlook("score", tmp_path / "c1.txt", "--out", tmp_path / "run", "--bundle", tiny_bundle)
    assert done.returncode == 1
    assert "rejects.csv" in done.stderr
    assert (tmp_path / "run/rejects.csv").read_text().count("\n") == 2


def test_rows_of_a_case_are_joined_on_request(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"Ref,narrative\nA,{TOLD}\nA,Nobody went to her house.\nB,The banan ketor.\n")
    command = ("score", "in.csv", "--out", "run", "--bundle", tiny_bundle, "--id-column", "Ref", "--join-rows")
    done = _secondlook(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 rows read: 2 scored, 0 rejected, 1 joined to a row before it" in done.stdout
    checked = _secondlook("verify", "run", "--bundle", tiny_bundle, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_problems_in_labels_fail_the_check(tmp_path: Path, write_tiny_corpus: Callable[[Path], TrainConfig]) -> None:
    config = write_tiny_corpus(tmp_path)
    assert "60 annotations, no problems" in _secondlook("labels", "check", cwd=tmp_path).stdout
    path = config.data.annotations / "tiny.jsonl"
    path.write_text(path.read_text().replace('"told_suspect": true', '"told_suspekt": true', 1))
    done = _secondlook("labels", "check", cwd=tmp_path)
    assert done.returncode == 1
    assert "did you mean 'told_suspect'" in done.stdout


def test_split_prepare_train_evaluate_score(tmp_path: Path, write_tiny_corpus: Callable[[Path], TrainConfig]) -> None:
    config = write_tiny_corpus(tmp_path)
    config.data.splits.unlink()
    split = tmp_path / "split.yaml"
    split.write_text(yaml.safe_dump({"seed": 1, "folds": 3, "data": config.data.model_dump(mode="json")}))
    train = _config_file(config, tmp_path / "train.yaml")
    (tmp_path / "c1.txt").write_text(TOLD)
    for arguments in (
        ["labels", "split", split],
        ["prepare", train],
        ["train", train],
        ["evaluate", train],
        ["card", train],
        ["evaluate", config.data.annotations, "--bundle", config.bundle, "--out", tmp_path / "evaluation"],
        ["score", tmp_path / "c1.txt", "--bundle", config.bundle, "--out", tmp_path / "run"],
    ):
        done = _secondlook(*arguments)
        assert done.returncode == 0, done.stderr
    assert (config.bundle / "metrics.json").exists()
    assert (config.bundle / "evaluation.html").exists()
    assert (tmp_path / "evaluation/evaluation.html").exists()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, write_tiny_corpus: Callable[[Path], TrainConfig]) -> Path:
    """A folder in which a tracked training has run."""
    root = tmp_path_factory.mktemp("tracked")
    config = write_tiny_corpus(root).model_copy(update={"tracking": TrackingConfig()})
    done = _secondlook("train", _config_file(config, root / "train.yaml"), cwd=root)
    assert done.returncode == 0, done.stderr
    return root


def test_training_is_tracked_without_narratives(tracked: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tracked}/mlflow.db")
    experiment = client.get_experiment_by_name("secondlook")
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.data.params["model.word_ngrams"] == "[1, 2]"
    assert {"digest.corpus", "digest.split", "digest.codebook", "digest.config", "git.commit"} <= set(run.data.tags)
    for measure in ("average_precision", "f1", "precision", "recall", "brier", "evidence_overlap"):
        for suffix in ("", ".low", ".high"):
            assert f"macro.{measure}{suffix}" in run.data.metrics
    assert client.get_registered_model("secondlook").latest_versions
    logged = [path for path in (tracked / "mlruns").rglob("*") if path.is_file()]
    assert {"precision_recall.png", "reliability.png"} <= {path.name for path in logged}
    assert not [path for path in logged if b"told him everything in case" in path.read_bytes()]
    assert not [path for path in logged if path.suffix in (".pkl", ".pickle", ".cloudpickle")]


def test_the_first_version_is_the_champion_and_another_can_be_promoted(tracked: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tracked}/mlflow.db")
    version = client.get_model_version_by_alias("secondlook", "champion")
    assert str(version.version) == "1"
    assert {"digest.corpus", "digest.codebook", "digest.config"} <= set(version.tags)
    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "c1.txt").write_text(TOLD)
    options = ("--bundle", "models:/secondlook@champion", "--out", tmp_path / "run")
    done = _secondlook("score", cases, *options, cwd=tracked)
    assert done.returncode == 0, done.stderr
    assert "1 scored" in done.stdout
    missing = _secondlook("score", cases, "--bundle", "models:/secondlook@nobody", "--out", tmp_path / "x", cwd=tracked)
    assert missing.returncode == 1
    assert "is not a registered bundle" in missing.stderr
    refused = _secondlook("promote", tracked / "train.yaml", "--version", "7", cwd=tracked)
    assert "has no version 7 (versions: 1)" in refused.stderr
    promoted = _secondlook("promote", tracked / "train.yaml", cwd=tracked)
    assert "models:/secondlook@champion is version 1" in promoted.stdout


@pytest.fixture
def served(tracked: Path, tmp_path: Path) -> Iterator[str]:
    """The address of ``mlflow models serve`` on the registered model."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tracked}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/secondlook/1",
               "--env-manager", "local", "--port", str(port), "--workers", "1"]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tracked, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def test_the_registered_model_is_served(served: str) -> None:
    body = json.dumps({"dataframe_records": [{"narrative": TOLD}, {"narrative": "Никто не пришёл."}]}).encode()
    request = Request(f"{served}/invocations", body, {"Content-Type": "application/json"})
    for _ in range(120):
        try:
            with urlopen(request, timeout=30) as answer:
                rows = json.load(answer)["predictions"]
            break
        except OSError:
            time.sleep(0.5)
    assert rows[0]["flag_told_suspect"] is True
    assert rows[0]["evidence_told_suspect"][0] == "The clerk told him everything in case 5."
    assert "another language" in rows[1]["reason"]
