from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from secondlook.baseline import LinearEvidenceModel
from secondlook.bundle import load_bundle
from secondlook.calibrate import calibrate
from secondlook.config import LinearModelConfig, PoolingConfig, TrainConfig, TransformerModelConfig
from secondlook.encoder.session import NOTHING, TransformerEvidenceModel
from secondlook.errors import BundleError
from secondlook.export import export
from secondlook.fit import _stacked, fit
from secondlook.prepare import load_prepared
from secondlook.schema import Span
from secondlook.stacked import (
    MEMBERS,
    STACK,
    StackedEvidenceModel,
    encoder_of,
    stacking_weights,
    together,
    weights_from_bytes,
    weights_to_bytes,
)
from secondlook.text import split_passages
from secondlook.workspace import Workspace, fitted_workspace


@pytest.fixture(scope="module")
def model(tiny_stack: TrainConfig) -> StackedEvidenceModel:
    loaded = load_bundle(tiny_stack.bundle).model
    assert isinstance(loaded, StackedEvidenceModel)
    return loaded


@pytest.fixture(scope="module")
def members(model: StackedEvidenceModel) -> tuple[TransformerEvidenceModel, LinearEvidenceModel]:
    assert isinstance(model.config.linear, LinearModelConfig)
    files = model.to_files()
    return (
        TransformerEvidenceModel.from_files(files, model.modes, model.config),
        LinearEvidenceModel.from_files(files, model.modes, model.config.linear),
    )


WORDS = st.sampled_from(["nobody", "went", "to", "her", "house", "the", "clerk", "told", "him", "everything", "zzz"])
SENTENCES = st.lists(WORDS, min_size=1, max_size=20).map(lambda words: " ".join(words).capitalize() + ".")
NARRATIVES = st.lists(SENTENCES, min_size=1, max_size=6).map(" ".join)


@settings(deadline=None, max_examples=25)
@given(narratives=st.lists(NARRATIVES, min_size=1, max_size=8), threads=st.integers(1, 4))
def test_a_passage_scores_the_weighted_sum_whoever_stands_beside_it(
    model: StackedEvidenceModel,
    members: tuple[TransformerEvidenceModel, LinearEvidenceModel],
    narratives: list[str],
    threads: int,
) -> None:
    passages = [split_passages(narrative) for narrative in narratives]
    weights = weights_from_bytes(model.to_files()[STACK], model.modes)
    before, model.encoder.threads = model.encoder.threads, threads
    try:
        together = model.score(narratives, passages)
    finally:
        model.encoder.threads = before
    for narrative, spans, scores in zip(narratives, passages, together, strict=True):
        encoded, linear = (member.score([narrative], [spans])[0] for member in members)
        np.testing.assert_array_equal(scores, weights[0] * encoded + weights[1] * linear)


def test_what_the_encoder_cannot_read_scores_next_to_nothing(model: StackedEvidenceModel) -> None:
    scores = model.score(["   the bar."], [[Span(0, 2), Span(3, 11)]])[0]
    assert (scores[0] == NOTHING).all()
    assert (scores[1] != NOTHING).all()
    assert model.score([], []) == []


def test_an_endless_stream_is_read_no_further_ahead_than_the_encoder_needs(model: StackedEvidenceModel) -> None:
    read = 0

    def narratives() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "The clerk told him everything." if read % 3 else " "

    def spans() -> Iterator[list[Span]]:
        while True:
            yield [Span(0, 1)]

    scores = model.iterate(narratives(), spans())
    for _ in range(3000):
        next(scores)
    scores.close()
    assert read < 3000 + 64 * model.encoder.threads * 3


def test_more_narratives_than_passages_are_refused(model: StackedEvidenceModel) -> None:
    with pytest.raises(ValueError, match="shorter"):
        model.score(["The clerk told him.", "Nobody went."], [[Span(0, 19)]])


def test_the_encoder_of_a_model(model: StackedEvidenceModel, tiny_bundle: Path) -> None:
    assert encoder_of(model) is encoder_of(model.encoder) is model.encoder
    assert encoder_of(load_bundle(tiny_bundle).model) is None


def test_the_bundle_needs_the_weights_of_its_members(tiny_stack: TrainConfig, tmp_path: Path) -> None:
    import json
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_stack.bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"][STACK]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"no digest of stack\.json"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"not json",
        b"[]",
        b"null",
        b'{"told_suspect": {"linear": 1}}',
        b'{"told_suspect": 3, "nobody_went": 3}',
        b'{"told_suspect": {"transformer": NaN, "linear": 1}, "nobody_went": {"transformer": 1, "linear": 0}}',
        b'{"told_suspect": {"transformer": -1, "linear": 1}, "nobody_went": {"transformer": 1, "linear": 0}}',
    ],
)
def test_damaged_weights_are_refused(model: StackedEvidenceModel, content: bytes) -> None:
    with pytest.raises((KeyError, ValueError)):
        StackedEvidenceModel.from_files(model.to_files() | {STACK: content}, model.modes, model.config)


def test_a_transformer_alone_is_no_stack(model: StackedEvidenceModel) -> None:
    assert isinstance(model.config, TransformerModelConfig)
    with pytest.raises(ValueError, match="no linear model"):
        StackedEvidenceModel.from_files(model.to_files(), model.modes, model.config.model_copy(update={"linear": None}))


def test_calibration_and_export_follow_from_what_the_fit_left(tiny_stack: TrainConfig) -> None:
    config = tiny_stack
    before = {path.name: path.read_bytes() for path in config.bundle.iterdir() if path.is_file()}
    fit(config)
    calibrate(config)
    export(config)
    assert {name: (config.bundle / name).read_bytes() for name in before} == before


def test_folds_hold_what_every_member_says_of_every_passage(tiny_stack: TrainConfig) -> None:
    prepared = load_prepared(tiny_stack.data)
    workspace = fitted_workspace(tiny_stack, prepared)
    part = prepared.part("train")
    own = part.select(part.folds % 2 == 0)
    lengths = [len(spans) for spans in own.passages]
    scores = workspace.read_fold(0, own.ids, lengths, prepared.codebook.mode_ids)
    assert scores is not None
    assert [one.shape for one in scores] == [(len(MEMBERS), length, 2) for length in lengths]
    assert workspace.read_fold(0, own.ids[::-1], lengths[::-1], prepared.codebook.mode_ids) is None
    assert workspace.read_fold(0, own.ids, [length + 1 for length in lengths], prepared.codebook.mode_ids) is None


@settings(deadline=None)
@given(data=st.data(), members=st.integers(1, 3), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_fold_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, members: int, lengths: list[int]
) -> None:
    finite = st.floats(-50, 50)
    scores = [data.draw(arrays(np.float64, (members, length, 2), elements=finite)) for length in lengths]
    ids = [f"case {number}" for number in range(len(lengths))]
    workspace = Workspace(tmp_path_factory.mktemp("workspace"), finished=True)
    workspace.folder.mkdir()
    workspace.write_fold(4, ids, scores, ["one", "other"])
    found = workspace.read_fold(4, ids, lengths, ["one", "other"])
    assert found is not None
    for one, other in zip(found, scores, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_better_member_counts_for_more_and_a_misleading_one_not_at_all() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((600, 1)) < 0.3).astype(float)
    good, fair, misleading = (strength * labels + rng.normal(size=labels.shape) for strength in (2.0, 1.0, -1.0))
    weights = stacking_weights(np.stack([good, fair]), labels)
    assert weights[0, 0] > weights[1, 0] > 0
    assert weights.sum(axis=0) == pytest.approx(1)
    assert stacking_weights(np.stack([good, misleading]), labels).ravel().tolist() == [1.0, 0.0]


def test_members_count_alike_where_nothing_tells_them_apart() -> None:
    scores = np.array([[[1.0], [2.0]], [[3.0], [np.nan]]])
    for labels in ([[1.0], [0.0]], [[1.0], [1.0]], [[np.nan], [np.nan]]):
        assert stacking_weights(scores, np.array(labels)).ravel().tolist() == [0.5, 0.5]
    assert stacking_weights(scores[:1], np.array([[1.0], [0.0]])).ravel().tolist() == [1.0]


def test_what_one_fold_could_not_learn_does_not_count_against_the_member() -> None:
    """In half of the folds the linear model had no positives, and says the lowest of every passage there."""
    rng = np.random.default_rng(2)
    labels = (rng.random((800, 1)) < 0.2).astype(float)
    passages = {row: 2 * labels[row] + rng.normal(size=(2, 3, 1)) for row in range(800)}
    whole = _stacked(passages, labels, PoolingConfig()).weights
    for row in range(400):
        passages[row][1] = NOTHING
    assert _stacked(passages, labels, PoolingConfig()).weights == pytest.approx(whole, abs=0.08)


def test_out_of_fold_a_passage_is_scored_as_in_the_bundle(model: StackedEvidenceModel) -> None:
    encoded, linear = np.array([[NOTHING, NOTHING], [NOTHING, 1.0]]), np.array([[3.0, 3.0], [3.0, 3.0]])
    scores = together(np.array([[0.75, 0.5], [0.25, 0.5]]), (encoded, linear))
    assert scores.tolist() == [[NOTHING, NOTHING], [0.75 * NOTHING + 0.75, 2.0]]


@given(arrays(np.float64, (2, 3), elements=st.floats(0, 1)))
def test_weights_are_read_as_they_were_written(weights: np.ndarray) -> None:
    modes = ["a", "b", "c"]
    np.testing.assert_array_equal(weights_from_bytes(weights_to_bytes(weights, modes), modes), weights)


def test_weights_must_fit_the_modes(model: StackedEvidenceModel) -> None:
    with pytest.raises(ValueError, match="weights of shape"):
        StackedEvidenceModel(model.encoder, model._linear, np.ones((2, 5)))
