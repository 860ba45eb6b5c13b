from __future__ import annotations

from pathlib import Path

import pytest

from secondlook.config import (
    LinearModelConfig,
    ScoreConfig,
    SplitConfig,
    TrainConfig,
    TransformerModelConfig,
    load_config,
)
from secondlook.errors import ConfigError


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'page_case' \(did you mean 'page_cases'\?\)"):
        load_config(_write(tmp_path, "page_case: 3"), ScoreConfig)


def test_an_unknown_nested_key_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model.word_ngram' \(did you mean 'word_ngrams'\?\)"):
        load_config(_write(tmp_path, "name: x\nmodel: {kind: linear, word_ngram: [1, 2]}"), TrainConfig)


def test_a_model_must_say_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key 'model': needs a key 'kind'"):
        load_config(_write(tmp_path, "name: x\nmodel: {word_ngrams: [1, 2]}"), TrainConfig)
    with pytest.raises(ConfigError, match=r"unknown key 'model.fitting.epoch' \(did you mean 'epochs'\?\)"):
        load_config(_write(tmp_path, "name: x\nmodel: {kind: transformer, fitting: {epoch: 3}}"), TrainConfig)
    with pytest.raises(ConfigError, match=r"key 'model.fitting.epochs': Input should be greater"):
        load_config(_write(tmp_path, "name: x\nmodel: {kind: transformer, fitting: {epochs: 0}}"), TrainConfig)


def test_a_kind_that_is_called_like_a_key_is_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model.linear.word_ngram' \(did you mean 'word_ngrams'\?\)"):
        load_config(_write(tmp_path, "name: x\nmodel: {kind: transformer, linear: {word_ngram: [1, 2]}}"), TrainConfig)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(_write(tmp_path, "page_cases: 0\nmax_characters: lots"), ScoreConfig)
    assert "page_cases" in str(error.value)
    assert "max_characters" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "expected a mapping"),
        ("name: x\noperating_points: {rule: target_recall, value: 3}", "share"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(_write(tmp_path, text), TrainConfig)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothere\.yaml: there is no such file"):
        load_config(tmp_path / "nothere.yaml", ScoreConfig)


def test_the_shipped_configurations_load(project: Path) -> None:
    assert load_config(project / "configs/linear.yaml", TrainConfig).name == "linear"
    load_config(project / "configs/split.yaml", SplitConfig)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("priority: {kind: severty}", "priority"),
        ("priority: severity", "priority"),
        ("priority: {mode: told}", "needs a key 'kind', one of kind: severity, kind: any_mode, kind: mode"),
        ("priority: {kind: mode}", "priority.mode"),
        ("since: 2026-09-01", "since needs date_column"),
        ("since: last week\ndate_column: received", "key 'since'"),
        ("top: 0", "key 'top'"),
        ("audit: -1", "key 'audit'"),
        ("duplicate_similarity: 0.2", "key 'duplicate_similarity'"),
        ("date_order: day", "key 'date_order'"),
        ("audit_stratum: 3", "did you mean 'audit_strata'"),
    ],
)
def test_a_queue_that_cannot_be_built_is_refused_before_it_is_scored(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(_write(tmp_path, text), ScoreConfig)
    assert says in str(error.value)


def test_the_shipped_choices_are_the_defaults(project: Path) -> None:
    assert load_config(project / "configs/score.yaml", ScoreConfig) == ScoreConfig()
    assert load_config(project / "configs/linear.yaml", TrainConfig).model == LinearModelConfig()
    transformer = load_config(project / "configs/default.yaml", TrainConfig).model
    assert transformer.model_copy(update={"encoder_digest": None}) == TransformerModelConfig()
