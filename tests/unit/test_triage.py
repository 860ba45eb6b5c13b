from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import ScoreConfig, TrainConfig
from secondlook.errors import ConfigError
from secondlook.prepare import Part, load_prepared
from secondlook.readers import ReadOptions
from secondlook.score import score
from secondlook.scorer import Scorer
from secondlook.text import split_passages
from secondlook.triage import CLEARS_NOTHING, MOST_LOST, OutOfFoldScores, Triage, choose_triage, nearness
from secondlook.verify import verify


@pytest.fixture(scope="module")
def bundle(tiny_stack: TrainConfig) -> Bundle:
    return load_bundle(tiny_stack.bundle)


@pytest.fixture(scope="module")
def part(tiny_stack: TrainConfig) -> Part:
    return load_prepared(tiny_stack.data).part("test")


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> Scorer:
    return Scorer(bundle)


@pytest.fixture(scope="module")
def screening(bundle: Bundle) -> Scorer:
    return Scorer(bundle, ScoreConfig(triage=True))


def test_what_is_cleared_is_not_flagged_and_the_rest_scores_as_ever(
    part: Part, plain: Scorer, screening: Scorer
) -> None:
    cleared = 0
    for one, other in zip(plain.score(part.narratives), screening.score(part.narratives), strict=True):
        if other.cleared:
            assert not any(other.flags.values())
            cleared += 1
        else:
            np.testing.assert_array_equal(one.log_odds, other.log_odds)
    assert 0 < cleared < len(part)  # the labels can be learnt from words here


def test_the_encoder_is_not_asked_about_what_is_cleared(
    part: Part, screening: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared = [text for text, one in zip(part.narratives, screening.score(part.narratives), strict=True) if one.cleared]
    encoder = screening.bundle.model.encoder  # type: ignore[attr-defined]
    monkeypatch.setattr(encoder, "encode", lambda ids: pytest.fail("the encoder was asked"))
    assert all(one.cleared for one in screening.score(cleared))


def test_a_narrative_is_cleared_whoever_stands_beside_it(part: Part, screening: Scorer) -> None:
    for text, together in zip(part.narratives, screening.score(part.narratives), strict=True):
        alone = screening.score([text])[0]
        assert alone.cleared == together.cleared
        np.testing.assert_array_equal(alone.log_odds, together.log_odds)


def test_a_run_says_which_cases_were_cleared_and_is_verified(
    tiny_stack: TrainConfig, bundle: Bundle, part: Part, tmp_path: Path
) -> None:
    cases = tmp_path / "cases.csv"
    pd.DataFrame({"case_id": part.ids, "narrative": part.narratives}).to_csv(cases, index=False)
    run = score([cases], tmp_path / "run", bundle, ScoreConfig(triage=True), ReadOptions())
    table = pd.read_parquet(run.folder / "cases.parquet")
    expected = [one.cleared for one in Scorer(bundle, ScoreConfig(triage=True)).score(list(table["narrative"]))]
    assert table["cleared"].tolist() == expected
    assert run.manifest["counts"]["cleared"] == sum(expected) > 0
    assert not verify(run.folder, tiny_stack.bundle, reencode=True).problems

    queue = pd.read_parquet(run.folder / "queue.parquet").set_index("case_id")
    said = queue["explanation"].str.contains("scored by the first pass alone")
    assert said[table["case_id"]].tolist() == expected

    stored = pq.read_table(run.folder / "cases.parquet")
    place = stored.column_names.index("cleared")
    pq.write_table(stored.set_column(place, "cleared", pc.invert(stored["cleared"])), run.folder / "cases.parquet")
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["counts"]["cleared"] += 1
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    problems = [problem.what for problem in verify(run.folder, tiny_stack.bundle, reencode=True).problems]
    assert any("cleared cases" in what for what in problems)
    assert "is cleared by the first pass now" in problems
    assert "is not cleared by the first pass now" in problems


def test_evidence_is_cut_out_of_what_was_encoded_and_the_rest_encoded(
    tiny_stack: TrainConfig, bundle: Bundle, part: Part, tmp_path: Path
) -> None:
    cases = tmp_path / "cases.csv"
    pd.DataFrame({"case_id": part.ids, "narrative": part.narratives}).to_csv(cases, index=False)
    effects = {}
    for triage in (False, True):
        run = score([cases], tmp_path / f"run-{triage}", bundle, ScoreConfig(triage=triage), ReadOptions())
        found = verify(run.folder, tiny_stack.bundle, reencode=True).effects
        effects[triage] = {(one.case_id, one.mode): one.cut_out for one in found}
    table = pd.read_parquet(tmp_path / "run-True/cases.parquet").set_index("case_id")
    assert 0 < table["cleared"].sum() < len(table)
    for (case_id, mode), cut_out in effects[True].items():
        assert cut_out == (None if table["cleared"][case_id] else effects[False][case_id, mode])


def test_a_frame_says_what_was_cleared(part: Part, plain: Scorer, screening: Scorer) -> None:
    frame = screening.frame([*part.narratives, None])
    expected = [one.cleared for one in screening.score(part.narratives)]
    assert frame["cleared"].tolist()[:-1] == expected
    assert frame["cleared"].isna().tolist() == [False] * len(part) + [True]
    assert "cleared" not in plain.frame(part.narratives)


def test_without_triage_nothing_is_cleared(bundle: Bundle, part: Part, tmp_path: Path) -> None:
    cases = tmp_path / "cases.csv"
    pd.DataFrame({"case_id": part.ids, "narrative": part.narratives}).to_csv(cases, index=False)
    run = score([cases], tmp_path / "run", bundle, ScoreConfig(), ReadOptions())
    assert run.manifest["counts"]["cleared"] == 0
    assert "cleared" not in pd.read_parquet(run.folder / "cases.parquet")


def test_a_bundle_without_a_first_pass_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"no first pass; leave triage out, or train with .* \(model\.linear\)"):
        Scorer(load_bundle(tiny_bundle), ScoreConfig(triage=True))


def out_of_fold(seed: int, size: int, strength: float) -> OutOfFoldScores:
    rng = np.random.default_rng(seed)
    labels = (rng.random((size, 2)) < 0.2).astype(float)
    linear = strength * labels + rng.normal(size=labels.shape)
    return OutOfFoldScores(
        linear=linear,
        labels=labels,
        flagged=rng.random(labels.shape) < 0.2 + 0.7 * labels,
        flagged_unread=linear > 4,
        groups=np.arange(size).astype(str),
    )


@given(seed=st.integers(0, 10_000), size=st.integers(60, 400), strength=st.floats(0, 6))
def test_no_mode_loses_more_recall_than_it_may(seed: int, size: int, strength: float) -> None:
    scores = out_of_fold(seed, size, strength)
    triage = choose_triage(scores, ["a", "b"], [0.3, 0.4], [-3.0, -3.0])
    near = nearness(scores.linear, list(triage.first_pass.values()), [0.3, 0.4])
    cleared = (near < triage.limit) & ~scores.flagged_unread.any(axis=1)
    lost = ((scores.labels == 1) & scores.flagged & cleared[:, None]).sum(axis=0) / (scores.labels == 1).sum(axis=0)
    assert (lost <= MOST_LOST).all()
    assert cleared.mean() == pytest.approx(triage.cleared)
    assert list(triage.recall_lost.values()) == pytest.approx(lost.tolist())


def test_the_better_the_first_pass_the_more_is_cleared() -> None:
    shares = [choose_triage(out_of_fold(1, 2000, s), ["a", "b"], [0.3, 0.3], [-3, -3]).cleared for s in (0.5, 2, 5)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.5


def test_where_everything_would_be_flagged_nothing_is_cleared() -> None:
    scores = out_of_fold(3, 50, 1)
    everything = replace(scores, flagged_unread=np.ones_like(scores.flagged))
    triage = choose_triage(everything, ["a", "b"], [0.3, 0.3], [0, 0])
    assert (triage.limit, triage.cleared) == (CLEARS_NOTHING, 0)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_an_operating_point_at_the_end_of_the_scale_breaks_nothing(threshold: float) -> None:
    triage = choose_triage(out_of_fold(3, 200, 2), ["a", "b"], [threshold, threshold], [-3, -3])
    assert np.isfinite(triage.limit)
    assert all(lost <= MOST_LOST for lost in triage.recall_lost.values())
    assert (triage.cleared == 0) == (threshold == 0)  # above nought lies everything, below one nearly all


def test_nothing_above_an_operating_point_is_cleared_even_where_no_flag_would_be_lost() -> None:
    scores = replace(out_of_fold(5, 500, 3), flagged=np.zeros((500, 2), bool))
    triage = choose_triage(scores, ["a", "b"], [0.3, 0.3], [-3, -3])
    near = nearness(scores.linear, list(triage.first_pass.values()), [0.3, 0.3])
    assert triage.limit == 0
    assert triage.cleared == pytest.approx((near < 0)[~scores.flagged_unread.any(axis=1)].sum() / 500)


def test_ties_at_the_limit_are_not_cleared() -> None:
    labels = np.array([[0.0], [0.0], [1.0], [1.0]])
    scores = OutOfFoldScores(
        linear=np.array([[-2.0], [0.0], [0.0], [2.0]]),
        labels=labels,
        flagged=labels == 1,
        flagged_unread=np.zeros((4, 1), bool),
        groups=np.array(list("abcd")),
    )
    assert choose_triage(scores, ["a"], [0.5], [-3]).cleared == 0.25


def test_it_is_read_as_it_was_written(bundle: Bundle, tiny_stack: TrainConfig) -> None:
    assert bundle.triage is not None
    assert Triage.model_validate_json((tiny_stack.bundle / "triage.json").read_bytes()) == bundle.triage
    assert set(bundle.triage.stand_in) == set(bundle.codebook.mode_ids)


def test_a_long_line_of_cleared_narratives_does_not_hold_up_the_stream(screening: Scorer, part: Part) -> None:
    """They come out as they go in, although the encoder has nothing to do."""
    outcomes = screening.score(part.narratives)
    text = next(text for text, one in zip(part.narratives, outcomes, strict=True) if one.cleared)
    read = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal read
        while True:
            read += 1
            yield [text], [split_passages(text)]

    scored = screening.log_odds(endless())
    for _ in range(1000):
        assert next(scored).cleared
    scored.close()
    assert read < 1200
