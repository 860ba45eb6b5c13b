from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secondlook.config import PoolingConfig
from secondlook.evidence import pool, shares

POOLINGS = [
    PoolingConfig(kind="max"),
    PoolingConfig(kind="noisy_or"),
    PoolingConfig(kind="logsumexp", sharpness=1.0),
    PoolingConfig(kind="logsumexp", sharpness=3.0),
]
SCORES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(-60, 60, allow_nan=False)
)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(scores=SCORES, data=st.data())
def test_pooling_is_monotone(pooling: PoolingConfig, scores: np.ndarray, data: st.DataObject) -> None:
    higher = scores.copy()
    row = data.draw(st.integers(0, len(scores) - 1))
    higher[row] += data.draw(st.floats(0, 30))
    assert (pool(higher, pooling) >= pool(scores, pooling) - 1e-9).all()


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(scores=SCORES)
def test_shares_are_a_partition_of_the_score(pooling: PoolingConfig, scores: np.ndarray) -> None:
    share = shares(scores, pooling)
    assert (share >= 0).all()
    np.testing.assert_allclose(share.sum(axis=0), 1)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(scores=SCORES)
def test_a_higher_passage_never_has_a_smaller_share(pooling: PoolingConfig, scores: np.ndarray) -> None:
    share = shares(scores, pooling)
    for column in range(scores.shape[1]):
        # Of equal passages the first comes last in this order: max gives it the whole share.
        order = np.lexsort((-np.arange(len(scores)), scores[:, column]))
        assert (np.diff(share[order, column]) >= -1e-9).all()


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(scores=SCORES)
def test_one_more_passage_never_lowers_the_score(pooling: PoolingConfig, scores: np.ndarray) -> None:
    longer = np.vstack([scores, scores[:1] - 5])
    assert (pool(longer, pooling) >= pool(scores, pooling) - 1e-9).all()


def test_noisy_or_is_the_probability_that_some_passage_shows_it() -> None:
    p = np.array([[0.5], [0.2]])
    pooled = pool(np.log(p / (1 - p)), PoolingConfig(kind="noisy_or"))
    assert 1 / (1 + np.exp(-pooled[0])) == pytest.approx(1 - 0.5 * 0.8)


def test_extreme_scores_stay_finite() -> None:
    scores = np.array([[-800.0, 800.0], [-900.0, 700.0]])
    for pooling in POOLINGS:
        assert np.isfinite(pool(scores, pooling)).all()
        assert np.isfinite(shares(scores, pooling)).all()
