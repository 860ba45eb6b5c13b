from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from secondlook.bundle import load_bundle
from secondlook.card import card as write_card
from secondlook.config import OperatingPointConfig, TrainConfig
from secondlook.errors import BundleError, CorpusError, TrainingError
from secondlook.evaluate import evaluate
from secondlook.prepare import load_prepared, prepare
from secondlook.train import train

Write = Callable[..., TrainConfig]


def _edit(config: TrainConfig, change: Callable[[dict[str, object]], None]) -> None:
    path = config.data.annotations / "tiny.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_it_learns_what_the_evidence_shows(tiny_config: TrainConfig) -> None:
    measures = evaluate(tiny_config).summary["modes"]["macro"]
    assert measures["average_precision"]["value"] > 0.9
    assert measures["evidence_precision_at_1"]["value"] > 0.9


def test_the_same_seed_gives_the_same_bundle_and_metrics(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    train(config)
    first = (load_bundle(config.bundle).digest, evaluate(config) and (config.bundle / "metrics.json").read_bytes())
    train(config)
    assert first == (
        load_bundle(config.bundle).digest,
        evaluate(config) and (config.bundle / "metrics.json").read_bytes(),
    )


def test_evaluation_says_what_it_was_measured_on(tiny_config: TrainConfig) -> None:
    evaluate(tiny_config)
    write_card(tiny_config)
    metrics = json.loads((tiny_config.bundle / "metrics.json").read_text())
    assert metrics["measured_on"]["split"] == "test"
    assert metrics["measured_on"]["narratives"] == 12
    assert set(metrics["digests"]) == {"corpus", "split", "codebook"}
    card = (tiny_config.bundle / "README.md").read_text()
    assert "not field data" in card
    assert "told_suspect" in card
    assert (tiny_config.bundle / "plots/precision_recall.csv").read_text().startswith("mode,threshold,precision,recall")


def test_unknown_labels_are_left_out(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)

    def forget(row: dict[str, object]) -> None:
        if int(str(row["id"])[1:]) % 3 == 0:
            row["labels"] = {"told_suspect": row["labels"]["told_suspect"]}  # type: ignore[index]
            row["evidence"] = [e for e in row["evidence"] if e["mode"] == "told_suspect"]  # type: ignore[attr-defined]

    _edit(config, forget)
    trained = train(config)
    counts = trained.bundle.modes["nobody_went"].calibration
    full = trained.bundle.modes["told_suspect"].calibration
    assert counts.positives + counts.negatives < full.positives + full.negatives


def test_positives_without_evidence_teach_too(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    book = yaml.safe_load(config.data.codebook.read_text())
    for mode in book["modes"]:
        mode["evidence"] = "optional"
    config.data.codebook.write_text(yaml.safe_dump(book))
    _edit(config, lambda row: row.update(evidence=[]))
    train(config)
    assert evaluate(config).summary["modes"]["macro"]["average_precision"]["value"] > 0.8


def test_a_mode_without_positives_is_named(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)

    def clear(row: dict[str, object]) -> None:
        row["labels"] = {**row["labels"], "nobody_went": False}  # type: ignore[dict-item]
        row["evidence"] = [e for e in row["evidence"] if e["mode"] != "nobody_went"]  # type: ignore[attr-defined]

    _edit(config, clear)
    with pytest.raises(TrainingError, match="nobody_went: the train part has 0 positives"):
        train(config)
    assert not config.bundle.exists()


def test_changed_labels_are_prepared_again(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    before = prepare(config.data).digests["corpus"]
    assert load_prepared(config.data).digests["corpus"] == before
    _edit(config, lambda row: row.update(annotator="another"))
    assert load_prepared(config.data).digests["corpus"] != before


def test_a_prepared_file_that_is_damaged_is_made_again(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    prepare(config.data)
    (config.data.prepared / "narratives.parquet").write_bytes(b"PAR1 no more")
    assert len(load_prepared(config.data).part("test")) == 12
    with pytest.raises(CorpusError, match="'dev'"):
        load_prepared(config.data).part("dev")


def test_an_operating_point_by_target_recall_rests_on_counts(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    choice = OperatingPointConfig(rule="target_recall", value=0.9)
    trained = train(config.model_copy(update={"operating_points": choice}))
    for mode in trained.bundle.modes.values():
        assert mode.operating_point.recall >= 0.9
        assert mode.operating_point.positives == mode.calibration.positives
        assert "too few" in mode.operating_point.note


def test_a_bundle_for_other_modes_is_not_evaluated(tmp_path: Path, write_tiny_corpus: Write) -> None:
    config = write_tiny_corpus(tmp_path)
    train(config)
    book = yaml.safe_load(config.data.codebook.read_text())
    book["modes"].append({"id": "third", "title": "t", "definition": "d"})
    config.data.codebook.write_text(yaml.safe_dump(book))
    with pytest.raises(BundleError, match="third"):
        evaluate(config)
