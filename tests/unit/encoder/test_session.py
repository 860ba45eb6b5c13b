from __future__ import annotations

import numpy as np
import pytest

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig
from secondlook.encoder.finetuned import FineTuned
from secondlook.encoder.session import NOTHING, TransformerEvidenceModel
from secondlook.prepare import load_prepared
from secondlook.schema import Span


@pytest.fixture(scope="module")
def model(tiny_transformer: TrainConfig) -> TransformerEvidenceModel:
    loaded = load_bundle(tiny_transformer.bundle).model
    assert isinstance(loaded, TransformerEvidenceModel)
    return loaded


def test_int8_scores_are_those_of_the_network(tiny_transformer: TrainConfig, model: TransformerEvidenceModel) -> None:
    trained = FineTuned.load(
        tiny_transformer.workspace / tiny_transformer.name / "fitted/model", tiny_transformer.model
    )
    part = load_prepared(tiny_transformer.data).part("test")
    ours = np.concatenate(model.score(part.narratives, part.passages))
    theirs = np.concatenate(trained.score(part.narratives, part.passages))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_a_score_does_not_depend_on_neighbours(tiny_transformer: TrainConfig, model: TransformerEvidenceModel) -> None:
    part = load_prepared(tiny_transformer.data).part("test")
    together = model.score(part.narratives, part.passages)
    for number in range(len(part)):
        alone = model.score(part.narratives[number : number + 1], part.passages[number : number + 1])[0]
        np.testing.assert_array_equal(alone, together[number])


def test_a_passage_without_tokens_scores_next_to_nothing(model: TransformerEvidenceModel) -> None:
    scores = model.score(["   the bar."], [[Span(0, 2), Span(3, 11)]])[0]
    assert (scores[0] == NOTHING).all()
    assert (scores[1] != NOTHING).all()
    assert (model.score([" "], [[Span(0, 1)]])[0] == NOTHING).all()


def test_no_narratives_no_scores(model: TransformerEvidenceModel) -> None:
    assert model.score([], []) == []


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_damaged_files_are_named(model: TransformerEvidenceModel, name: str) -> None:
    files = model.to_files() | {name: b"not what it was"}
    with pytest.raises(ValueError, match="damaged"):
        TransformerEvidenceModel.from_files(files, model.modes, model.config)


def test_a_model_of_other_modes_does_not_fit(model: TransformerEvidenceModel) -> None:
    with pytest.raises(ValueError, match="scores 2 modes, the codebook has 3"):
        TransformerEvidenceModel.from_files(model.to_files(), [*model.modes, "third"], model.config)
