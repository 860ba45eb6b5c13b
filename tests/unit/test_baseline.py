from __future__ import annotations

import json

import numpy as np
import pytest

from secondlook import baseline
from secondlook.baseline import LinearEvidenceModel
from secondlook.config import LinearModelConfig
from secondlook.text import split_passages

TEXTS = [
    "The clerk told him. It rained.",
    "It rained again. Somebody told him at once.",
    "Nobody went to see her. It was late.",
    "It rained. The file was read by the clerk.",
]
TARGETS = [[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 0]]]
GROUPS = ["a", "b", "c", "d"]
MODES = ("told", "alone")


def _fit(**changes: object) -> LinearEvidenceModel:
    config = LinearModelConfig.model_validate({"minimum_groups": 1, **changes})
    passages = [split_passages(text) for text in TEXTS]
    return LinearEvidenceModel.fit(
        TEXTS, GROUPS, passages, [np.array(t, float) for t in TARGETS], MODES, config, seed=0
    )


def _score(model: LinearEvidenceModel, text: str) -> np.ndarray:
    return model.score([text], [split_passages(text)])[0]


def test_the_passage_that_shows_a_mode_scores_highest() -> None:
    scores = _score(_fit(), "It rained. Somebody told him. It was late.")
    assert scores.shape == (3, 2)
    assert scores[:, 0].argmax() == 1


def test_scores_do_not_depend_on_the_batch() -> None:
    model = _fit()
    passages = [split_passages(text) for text in TEXTS]
    for text, together in zip(TEXTS, model.score(TEXTS, passages), strict=True):
        np.testing.assert_allclose(_score(model, text), together, rtol=1e-12)


def test_scores_do_not_depend_on_how_many_passages_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _fit()
    passages = [split_passages(text) for text in TEXTS]
    together = model.score(TEXTS, passages)
    monkeypatch.setattr(baseline, "AT_ONCE", 3)
    for one, other in zip(together, model.score(TEXTS, passages), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("context", [0, 1, 2])
def test_plain_files_hold_the_whole_model(context: int) -> None:
    model = _fit(context_passages=context)
    again = LinearEvidenceModel.from_files(model.to_files(), MODES, model.config)
    for text in TEXTS:
        np.testing.assert_array_equal(_score(again, text), _score(model, text))
    assert again.to_files() == model.to_files()


def test_files_that_do_not_fit_together_are_refused() -> None:
    model = _fit()
    files = model.to_files()
    vocabulary = json.loads(files["vocabulary.json"])
    vocabulary["words"].append("more")
    with pytest.raises(ValueError, match="idf"):
        LinearEvidenceModel.from_files(
            files | {"vocabulary.json": json.dumps(vocabulary).encode()}, MODES, model.config
        )
    with pytest.raises(ValueError, match="modes"):
        LinearEvidenceModel.from_files(files, ("one",), model.config)


def test_unknown_targets_are_left_out_and_an_unseen_mode_scores_low() -> None:
    targets = [np.array(t, float) for t in TARGETS]
    for target in targets:
        target[:, 1] = np.nan
    passages = [split_passages(text) for text in TEXTS]
    config = LinearModelConfig(minimum_groups=1)
    model = LinearEvidenceModel.fit(TEXTS, GROUPS, passages, targets, MODES, config, seed=0)
    scores = model.score(TEXTS, passages)
    assert max(score[:, 1].max() for score in scores) < -5


def test_a_word_of_one_group_only_is_not_learnt() -> None:
    """A name recurs in the narratives of one case; it must not stand in a bundle that travels."""
    texts = ["Oakhampton told him.", "Oakhampton was told again.", "Nobody told him.", "It was told."]
    passages = [split_passages(text) for text in texts]
    targets = [np.array([[1.0, 0]]), np.array([[1.0, 0]]), np.array([[0.0, 1]]), np.array([[0.0, 0]])]
    config = LinearModelConfig(minimum_groups=2)
    model = LinearEvidenceModel.fit(texts, ["a", "a", "b", "c"], passages, targets, MODES, config, seed=0)
    assert b"oakhampton" not in model.to_files()["vocabulary.json"]
    assert b"told" in model.to_files()["vocabulary.json"]
