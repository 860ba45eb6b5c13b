"""What must not change a score, whatever the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.bundle import default_bundle, load_bundle
from secondlook.scorer import Scorer

LETTER = (
    "I asked the sergeant to keep my letter to himself. By the evening he had read it to my husband over the "
    "telephone.\n\nNobody came to the house. I have moved to my sister's."
)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(load_bundle(default_bundle()))


@pytest.fixture(scope="module")
def tiny_scorer(tiny_bundle: Path) -> Scorer:
    return Scorer(load_bundle(tiny_bundle))


@pytest.mark.parametrize(
    "same",
    [
        "\n\n  " + LETTER + "\n\n\n",
        LETTER.replace("'", "’"),
        LETTER.replace("\n", "\r\n"),
        LETTER.replace(". ", ".  "),
    ],
    ids=["white space around", "curly apostrophes", "Windows line ends", "two spaces after a full stop"],
)
def test_typography_changes_no_score(scorer: Scorer, same: str) -> None:
    before, after = scorer.score([LETTER, same])
    for mode in before.scores:
        assert after.scores[mode] == pytest.approx(before.scores[mode], abs=1e-9)


def test_evidence_stays_where_the_sentence_is(scorer: Scorer) -> None:
    shifted = "😀 " * 3 + "\n\n" + LETTER
    for one, other in zip(scorer.score([LETTER])[0].evidence, scorer.score([shifted])[0].evidence, strict=False):
        if one.mode == other.mode and one.share > 0.9:
            assert LETTER[slice(*one.span)] == shifted[slice(*other.span)]


@given(
    st.lists(
        st.sampled_from(["The banan ketor lomed.", "Nobody went to her house in case 4.", "Sotus teved."]),
        min_size=1,
        max_size=6,
    )
)
def test_a_paragraph_more_never_lowers_the_pooled_score(tiny_scorer: Scorer, sentences: list[str]) -> None:
    """A passage's own score depends on those before it, so one more at the end leaves the others as they were."""
    text = "\n\n".join(sentences)
    before, after = tiny_scorer.score([text, text + "\n\nThe clerk told him everything in case 1."])
    np.testing.assert_allclose(after.log_odds[: len(before.log_odds)], before.log_odds)
    for mode in before.scores:
        assert after.scores[mode] >= before.scores[mode] - 1e-12


def test_names_decide_nothing(scorer: Scorer) -> None:
    """Nobody's name may raise or lower a score by much: 0.1 is far below what separates cases."""
    text = "{name} rang the station twice that night. Nobody came, and the log was closed at six with {name} not seen."
    scores = [
        o.scores for o in scorer.score([text.format(name=name) for name in ("Anne", "Oluwaseun", "Mrs Kaur", "Piotr")])
    ]
    for mode in scores[0]:
        values = [score[mode] for score in scores]
        assert max(values) - min(values) < 0.1, mode
