"""The model as a service: a real server on the loopback address, asked over HTTP; and in Spark, where that is there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from secondlook.bundle import load_bundle
from secondlook.config import TrackingConfig, TrainConfig
from secondlook.scorer import Scorer

TEXT = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."

pytest.importorskip("mlflow", reason="MLflow is not installed")


@pytest.fixture(scope="module")
def store(tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry in which the tiny bundle is version 1 of a model."""
    import mlflow

    from secondlook.tracking import _log_model, _run

    folder = tmp_path_factory.mktemp("store")
    settings = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db", register_as="tiny")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with _run(settings, "tiny"):
            assert _log_model(tiny_config, settings) == "1"
    finally:
        os.chdir(before)
        mlflow.set_tracking_uri(None)
    return settings.uri


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_server_answers_single_cases(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/tiny/1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
    try:
        answer = _ask(f"http://127.0.0.1:{port}/invocations", [TEXT, None], server)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=60)
    outcome = Scorer(load_bundle(tiny_bundle)).score([TEXT])[0]
    first, second = answer["predictions"]
    assert first["p_told_suspect"] == pytest.approx(outcome.scores["told_suspect"], abs=1e-9)
    assert first["flag_told_suspect"] is True
    assert first["evidence_told_suspect"] == ["The clerk told him everything in case 5."]
    assert first["reason"] is None
    assert second["p_told_suspect"] is None
    assert "missing" in second["reason"]
    assert "clerk" not in (tmp_path / "log").read_text(), "a narrative was logged"


def _ask(url: str, narratives: list[str | None], server: subprocess.Popen[bytes]) -> dict[str, list[dict[str, object]]]:
    body = json.dumps({"dataframe_records": [{"narrative": text} for text in narratives]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    until = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())  # type: ignore[no-any-return]
        except (ConnectionError, urllib.error.URLError) as cause:
            if isinstance(cause, urllib.error.HTTPError):
                raise AssertionError(cause.read()) from None
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < until
            time.sleep(0.2)


@pytest.mark.skipif(
    not (shutil.which("java") and importlib.util.find_spec("pyspark")), reason="Spark needs Java and pyspark"
)
def test_spark_scores_with_the_registered_model(store: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """In a process of its own: Spark leaves threads and sockets behind."""
    code = """
import sys, mlflow
from pyspark.sql import SparkSession
uri, text = sys.argv[1:]
mlflow.set_tracking_uri(uri)
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
kinds = "priority double, p_told_suspect double, flag_told_suspect boolean, reason string"
score = mlflow.pyfunc.spark_udf(spark, "models:/tiny/1", env_manager="local", result_type=kinds)
cases = spark.createDataFrame([(text,), (" ",)], "narrative string")
for row in cases.withColumn("scored", score("narrative")).collect():
    print("ANSWER", row.scored.p_told_suspect, row.scored.flag_told_suspect, row.scored.reason)
spark.stop()
"""
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, "-c", code, store, TEXT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (line.split(" ", 3)[1:] for line in done.stdout.splitlines() if line.startswith("ANSWER"))
    outcome = Scorer(load_bundle(tiny_bundle)).score([TEXT])[0]
    assert float(first[0]) == pytest.approx(outcome.scores["told_suspect"], abs=1e-9)
    assert first[1:] == ["True", "None"]
    assert (second[0], second[2]) == ("None", "the narrative is empty")
