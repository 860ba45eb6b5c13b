from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.codebook import Codebook, Mode
from secondlook.config import ScoreConfig
from secondlook.consistency import check_ranks
from secondlook.copies import signature
from secondlook.dates import read_dates
from secondlook.ranking import Scores, queue_columns, rank

CODEBOOK = Codebook(name="t", version="1", modes=(Mode(id="told", title="Told", definition="-"),))
LETTERS = [
    "the letter said that the matter of the key was closed in spring",
    "nobody came to the house on the hill in all that time",
]


def _queue(number: int, seed: int) -> pd.DataFrame:
    """A queue as ranking makes it, with ties, dates that are missing and copies."""
    rng = np.random.default_rng(seed)
    texts = [f"{LETTERS[rng.integers(2)]}, she wrote to them" for _ in range(number)]
    values = rng.choice([0.1, 0.4, 0.7], (number, 1))
    dates = [str(rng.choice(["2026-09-01", "2026-09-02", "?"])) for _ in range(number)]
    signatures = np.array([signature(text) for text in texts], np.uint32).reshape(-1, 128)
    ids = pa.array([f"c{place}" for place in rng.permutation(number)], pa.string())
    scored = Scores(ids, values, values > 0.5, read_dates(dates), signatures)
    ranking = rank(scored, CODEBOOK, ScoreConfig(), texts.__getitem__)
    columns: dict[str, Any] = {
        "case_id": ids.take(pa.array(ranking.rows)),
        "rank": np.arange(1, number + 1),
        "priority": ranking.priority,
    }
    return pa.table(columns | queue_columns(ranking, scored, CODEBOOK, ScoreConfig(), range(number))).to_pandas()


@settings(deadline=None, max_examples=30)
@given(number=st.integers(0, 40), seed=st.integers(0, 10**6))
def test_what_ranking_makes_is_in_order(number: int, seed: int) -> None:
    assert list(check_ranks(_queue(number, seed))) == []


def _edited(queue: pd.DataFrame, one: int, other: int) -> pd.DataFrame:
    order = list(range(len(queue)))
    order[one], order[other] = order[other], order[one]
    return queue.iloc[order].reset_index(drop=True).assign(rank=range(1, len(queue) + 1))


@pytest.mark.parametrize("seed", range(8))
def test_two_originals_that_changed_places_are_named(seed: int) -> None:
    queue = _queue(30, seed)
    first, *_, last = queue.index[queue["duplicate_of"].isna()]
    assert any("stands behind case" in str(problem) for problem in check_ranks(_edited(queue, first, last)))


def test_a_copy_that_strayed_is_named() -> None:
    queue = _queue(30, 1)
    copy = int(queue.index[queue["duplicate_of"].notna()][0])
    queue.loc[copy, "duplicate_of"] = "another"
    assert [problem.case_id for problem in check_ranks(queue)] == [queue["case_id"][copy]]


def test_a_queue_without_dates_and_copies_is_ordered_by_priority_and_id() -> None:
    queue = pd.DataFrame({"case_id": ["b", "a"], "rank": [1, 3], "priority": [0.5, 0.5]})
    queue = queue.assign(date_received=pd.NaT, duplicate_of=None)
    assert [str(problem).split(";")[0] for problem in check_ranks(queue)] == [
        "queue.parquet, case a: has rank 3 and stands in place 2",
        "queue.parquet, case a: stands behind case b, which has a lower priority or, at the same, a later date or, at that, a later id",
    ]
