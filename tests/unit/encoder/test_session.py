from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig
from secondlook.encoder import session
from secondlook.encoder.finetuned import FineTuned
from secondlook.encoder.session import NOTHING, TransformerEvidenceModel
from secondlook.prepare import load_prepared
from secondlook.schema import Span
from secondlook.text import split_passages


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


WORDS = st.sampled_from(
    ["nobody", "went", "to", "her", "house", "the", "clerk", "told", "him", "everything", "barus", "in"]
)
SENTENCES = st.lists(WORDS, min_size=1, max_size=30).map(lambda words: " ".join(words).capitalize() + ".")
NARRATIVES = st.lists(SENTENCES, min_size=1, max_size=8).map(" ".join)


@settings(deadline=None, max_examples=25)
@given(narratives=st.lists(NARRATIVES, min_size=1, max_size=6), threads=st.integers(1, 5), data=st.data())
def test_neither_order_nor_company_nor_threads_move_a_bit(
    model: TransformerEvidenceModel, narratives: list[str], threads: int, data: st.DataObject
) -> None:
    passages = [split_passages(narrative) for narrative in narratives]
    alone = [model.score([one], [spans])[0] for one, spans in zip(narratives, passages, strict=True)]
    order = data.draw(st.permutations(range(len(narratives)))) + list(range(len(narratives)))  # each comes twice
    before, model.threads = model.threads, threads
    try:
        together = model.score([narratives[i] for i in order], [passages[i] for i in order])
    finally:
        model.threads = before
    for number, scores in zip(order, together, strict=True):
        np.testing.assert_array_equal(scores, alone[number])


def test_identical_windows_are_encoded_once(model: TransformerEvidenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda ids: (encoded.append(ids.tobytes()), encode(ids))[1])
    text = "Nobody went to her house. The clerk told him everything."
    scores = model.score([text, "The bar.", text], [split_passages(text), [Span(0, 8)], split_passages(text)])
    assert len(encoded) == len(set(encoded)) == 2
    np.testing.assert_array_equal(scores[0], scores[2])


def test_what_is_remembered_is_bounded_and_changes_nothing(
    model: TransformerEvidenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"The clerk told him {word}." for word in ("everything", "in", "house", "everything", "in")]
    spans = [split_passages(text) for text in texts]
    whole = model.score(texts, spans)
    monkeypatch.setattr(session, "REMEMBERED", 1)
    for one, other in zip(whole, model.score(texts, spans), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_reader_is_never_far_ahead(model: TransformerEvidenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without end: memory is bounded because what is read ahead is."""
    monkeypatch.setattr(session, "READ_AHEAD", 4)
    read = 0

    def narratives() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            # Every third narrative holds nothing that the tokenizer knows of, and so no window.
            yield " " if read % 3 == 0 else f"The clerk told him {'in ' * (read % 7)}everything."

    def spans() -> Iterator[list[Span]]:
        while True:
            yield [Span(0, 1)]

    scores = model.iterate(narratives(), spans())
    for done in range(1, 60):
        next(scores)
        assert read - done <= 2 * (4 * model.threads + 1)
    scores.close()


def test_nothing_runs_on_once_the_caller_stops(
    model: TransformerEvidenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"The clerk told him {'in ' * number}." for number in range(30)]
    scores = model.iterate(texts, [split_passages(text) for text in texts])
    next(scores)
    scores.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoder")]


@pytest.mark.parametrize("broken", ["reader", "encoder"])
def test_an_error_comes_through_and_leaves_no_thread(
    model: TransformerEvidenceModel, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def texts() -> Iterator[str]:
        yield "The clerk told him everything."
        if broken == "reader":
            raise OSError("no more")
        yield "Nobody went to her house."

    if broken == "encoder":
        monkeypatch.setattr(model, "encode", lambda ids: (_ for _ in ()).throw(OSError("no more")))
    with pytest.raises(OSError, match="no more"):
        list(model.iterate(texts(), [[Span(0, 24)]] * 2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoder")]


def test_narratives_and_passages_must_match(model: TransformerEvidenceModel) -> None:
    with pytest.raises(ValueError, match="longer"):
        model.score(["The bar."], [[Span(0, 8)], [Span(0, 8)]])


def test_the_graph_asks_for_no_mask_and_uses_no_operator_of_others(model: TransformerEvidenceModel) -> None:
    graph = onnx.load_from_string(model.to_files()["model.onnx"])
    assert [given.name for given in graph.graph.input] == ["input_ids"]
    assert {node.domain for node in graph.graph.node} <= {"", "com.microsoft"}


def test_a_graph_that_asks_for_a_mask_scores_as_before(model: TransformerEvidenceModel) -> None:
    """Bundles of earlier versions have one; here the mask is asked for and nothing depends on it."""
    graph = onnx.load_from_string(model.to_files()["model.onnx"])
    shape = ["windows", "tokens"]
    graph.graph.input.append(onnx.helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, shape))
    files = model.to_files() | {"model.onnx": graph.SerializeToString()}
    earlier = TransformerEvidenceModel.from_files(files, model.modes, model.config)
    text = "Nobody went to her house. The clerk told him everything."
    spans = split_passages(text)
    np.testing.assert_array_equal(earlier.score([text], [spans])[0], model.score([text], [spans])[0])


def test_scoring_with_an_encoder_starts_without_scikit_learn(tiny_transformer: TrainConfig) -> None:
    code = (
        "import sys; from pathlib import Path; from secondlook.bundle import load_bundle; from secondlook.scorer import Scorer;"
        "Scorer(load_bundle(Path(sys.argv[1]))).score(['Nobody went to her house.']);"
        "heavy = {'sklearn', 'torch', 'scipy.stats'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_transformer.bundle)], check=True)
