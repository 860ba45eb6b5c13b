from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from secondlook.bundle import load_bundle
from secondlook.config import ScoreConfig
from secondlook.evidence import pool
from secondlook.scorer import Scorer

TEXT = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."


@pytest.fixture(scope="module")
def scorer(tiny_bundle: Path) -> Scorer:
    return Scorer(load_bundle(tiny_bundle))


def test_the_score_can_be_computed_again_from_its_passages(scorer: Scorer) -> None:
    outcome = scorer.score([TEXT])[0]
    pooled = pool(outcome.log_odds, scorer.bundle.pooling)
    for column, mode in enumerate(scorer.bundle.codebook.mode_ids):
        settings = scorer.bundle.modes[mode]
        assert outcome.scores[mode] == float(settings.calibration.probability(pooled[column]))
        assert outcome.flags[mode] == (outcome.scores[mode] >= settings.operating_point.threshold)


def test_the_evidence_is_the_sentence_that_shows_it(scorer: Scorer) -> None:
    outcome = scorer.score([TEXT])[0]
    best = next(evidence for evidence in outcome.evidence if evidence.mode == "told_suspect")
    assert TEXT[slice(*best.span)] == "The clerk told him everything in case 5."
    assert outcome.flags["told_suspect"]
    assert not outcome.flags["nobody_went"]


def test_evidence_is_limited_and_every_mode_has_some(tiny_bundle: Path) -> None:
    scorer = Scorer(load_bundle(tiny_bundle), ScoreConfig(evidence_per_mode=2, evidence_minimum_share=0))
    outcome = scorer.score([TEXT])[0]
    for mode in scorer.bundle.codebook.mode_ids:
        own = [evidence for evidence in outcome.evidence if evidence.mode == mode]
        assert len(own) == 2
        assert own[0].share >= own[1].share


def test_priority_lies_between_the_scores(scorer: Scorer) -> None:
    outcome = scorer.score([TEXT])[0]
    assert min(outcome.scores.values()) <= outcome.priority <= max(outcome.scores.values())


def test_one_by_one_is_the_same_as_together(scorer: Scorer) -> None:
    texts = [TEXT, "Nobody went to her house in case 9.", "The banan ketor lomed tevor wilan."]
    for text, together in zip(texts, scorer.score(texts), strict=True):
        alone = scorer.score([text])[0]
        np.testing.assert_allclose(alone.log_odds, together.log_odds)
        assert [e.span for e in alone.evidence] == [e.span for e in together.evidence]


def test_nothing_in_nothing_out(scorer: Scorer) -> None:
    assert scorer.score([]) == []
    with pytest.raises(ValueError, match="without any text"):
        scorer.score(["fine text", "   "])


def test_another_language_is_said_to_be_unreadable(scorer: Scorer) -> None:
    reason = scorer.unreadable("Niemand ging zu ihr, und der Beamte erzählte ihm alles noch am selben Abend.")
    assert reason is not None
    assert "another language" in reason
    assert "Beamte" not in reason
    assert scorer.unreadable(TEXT) is None


def test_a_frame_says_what_the_outcomes_say_and_why_there_is_none(tiny_bundle: Path) -> None:
    scorer = Scorer.load(tiny_bundle)
    texts = [TEXT, None, "  ", "The banan ketor lomed.", 3.5, "Nikt do niej nie pojechał.", "a\ud800b"]
    cases = pd.DataFrame({"narrative": texts}, index=list("gfedcba"), dtype=object)
    found = cases.join(scorer.frame(cases["narrative"]))
    assert list(found.index) == list("gfedcba")
    assert found["reason"].notna().tolist() == [False, True, True, False, True, True, True]
    assert found["priority"].isna().tolist() == found["reason"].notna().tolist()
    assert "pojechał" not in str(found["reason"].tolist())
    for label, outcome in zip("gd", scorer.score([TEXT, texts[3]]), strict=True):
        row = found.loc[label]
        assert row["priority"] == outcome.priority
        for mode in scorer.bundle.codebook.mode_ids:
            assert (row[f"p_{mode}"], row[f"flag_{mode}"]) == (outcome.scores[mode], outcome.flags[mode])
            assert (row[f"low_{mode}"], row[f"high_{mode}"]) == outcome.intervals[mode]
    assert found.loc["g", "evidence_told_suspect"][0] == "The clerk told him everything in case 5."
    assert found["flag_told_suspect"].sum() == 1


def test_a_frame_of_nothing_has_its_columns(tiny_bundle: Path) -> None:
    scorer = Scorer.load(tiny_bundle)
    empty, one = scorer.frame([]), scorer.frame([TEXT])
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == one.dtypes.to_dict()
    assert list(one.index) == [0]
