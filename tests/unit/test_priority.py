from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from secondlook.codebook import Codebook, Mode
from secondlook.config import AnyModePriority, PriorityConfig, SeverityPriority, SingleModePriority
from secondlook.errors import ConfigError
from secondlook.priority import priorities

CODEBOOK = Codebook(
    name="t",
    version="1",
    modes=(
        Mode(id="told", title="Told", definition="-", severity=3.0),
        Mode(id="unseen", title="Unseen", definition="-", severity=1.0),
    ),
)
CHOICES: list[PriorityConfig] = [SeverityPriority(), AnyModePriority(), SingleModePriority(mode="unseen")]


def test_each_kind_is_what_it_says() -> None:
    scores = np.array([[0.8, 0.4]])
    found = [float(priorities(scores, CODEBOOK, choice)[0]) for choice in CHOICES]
    assert found == pytest.approx([0.7, 1 - 0.2 * 0.6, 0.4])


def test_an_unknown_mode_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no mode 'unsen' \(did you mean 'unseen'\?\)"):
        priorities(np.zeros((1, 2)), CODEBOOK, SingleModePriority(mode="unsen"))


@settings(deadline=None)
@given(scores=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(0, 1)))
def test_a_case_has_the_same_priority_alone_and_among_others(scores: np.ndarray) -> None:
    for choice in CHOICES:
        together = priorities(scores, CODEBOOK, choice)
        alone = [priorities(row[None], CODEBOOK, choice)[0] for row in scores]
        assert together.tolist() == alone
        assert ((together >= 0) & (together <= 1 + 1e-12)).all()


@settings(deadline=None)
@given(scores=arrays(np.float64, (5, 2), elements=st.floats(0, 1)))
def test_any_mode_lies_between_the_bounds_of_frechet(scores: np.ndarray) -> None:
    found = priorities(scores, CODEBOOK, AnyModePriority())
    assert (found >= scores.max(axis=1) - 1e-12).all()
    assert (found <= np.minimum(1, scores.sum(axis=1)) + 1e-12).all()
