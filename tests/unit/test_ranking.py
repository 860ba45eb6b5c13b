from __future__ import annotations

import random
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.codebook import Codebook, Mode
from secondlook.config import ScoreConfig
from secondlook.copies import signature
from secondlook.dates import read_dates
from secondlook.errors import ConfigError
from secondlook.ranking import (
    Ranking,
    Scores,
    explanations,
    page_starts,
    pages_of,
    queue_columns,
    rank,
    received_before,
)
from secondlook.schema import Case

CODEBOOK = Codebook(
    name="t",
    version="1",
    modes=(
        Mode(id="told", title="Information leaked", definition="-", severity=3.0),
        Mode(id="unseen", title="GP not told", definition="-", severity=1.0),
    ),
)
Row = tuple[str, tuple[float, float], str | None]  # id, scores, date received


def _scores(rows: list[Row], texts: dict[str, str] | None = None) -> Scores:
    scores = np.array([row[1] for row in rows], float).reshape(-1, 2)
    return Scores(
        case_ids=pa.array([row[0] for row in rows], pa.string()),
        scores=scores,
        flags=scores >= 0.5,
        received=read_dates([row[2] for row in rows]),
        signatures=np.stack([signature(texts[row[0]]) for row in rows]) if texts else None,
    )


def _rank(rows: list[Row], texts: dict[str, str] | None = None, **choices: Any) -> tuple[list[str], Ranking]:
    scored = _scores(rows, texts)
    found = rank(scored, CODEBOOK, ScoreConfig(**choices), (lambda row: texts[rows[row][0]]) if texts else None)
    return [rows[row][0] for row in found.rows], found


def _many(number: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    return [(f"c{i:04d}", (round(rng.random() ** 3, 3), round(rng.random() ** 3, 3)), None) for i in range(number)]


def _text(seed: int) -> str:
    return " ".join(random.Random(seed).choices([f"word{i}" for i in range(300)], k=80))


def test_ties_go_to_the_older_then_to_the_id_and_those_without_a_date_are_last() -> None:
    same = (0.4, 0.4)
    rows: list[Row] = [
        ("a", same, None), ("e", same, "2026-09-02"), ("d", same, "2026-09-02"), ("z", same, "2026-09-01"),
        ("y", same, "soon"), ("low", (0.1, 0.1), "2020-01-01"), ("high", (0.9, 0.9), None),
    ]  # fmt: skip
    assert _rank(rows)[0] == ["high", "z", "d", "e", "a", "y", "low"]


dates = st.sampled_from([None, "soon", "2026-09-01", "2026-09-02", "0001-01-01", "9999-12-31"])
shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
tables = st.dictionaries(
    st.text("ab0-Ü", min_size=1, max_size=4), st.tuples(st.tuples(shares, shares), dates), max_size=25
)


@settings(deadline=None)
@given(table=tables, seed=st.integers(0, 99), audit=st.integers(0, 6), top=st.none() | st.integers(1, 9))
def test_the_order_in_which_cases_come_changes_nothing(table: Any, seed: int, audit: int, top: int | None) -> None:
    rows: list[Row] = [(case_id, *rest) for case_id, rest in table.items()]
    texts = {case_id: _text(len(case_id)) for case_id in table}
    mixed = random.Random(seed).sample(rows, len(rows))
    (one, first), (other, second) = (_rank(own, texts, audit=audit, top=top) for own in (rows, mixed))
    assert one == other
    for name in ("priority", "original", "similarity", "drawn", "probability", "stratum", "reading"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()


@settings(deadline=None)
@given(table=tables)
def test_the_order_is_total_and_every_case_is_in_it_once(table: Any) -> None:
    rows: list[Row] = [(case_id, *rest) for case_id, rest in table.items()]
    order, found = _rank(rows)
    assert sorted(order) == sorted(table)
    moments = dict(zip(table, read_dates([row[2] for row in rows]), strict=True))
    keys = [
        (
            -priority,
            np.isnat(moments[case_id]),
            0 if np.isnat(moments[case_id]) else int(moments[case_id].astype(int)),
            case_id,
        )
        for case_id, priority in zip(order, found.priority.tolist(), strict=True)
    ]
    assert keys == sorted(keys)


def test_a_copy_stands_behind_its_original_and_both_point_to_each_other() -> None:
    rows: list[Row] = [
        ("a", (0.9, 0.9), None),
        ("b", (0.7, 0.7), None),
        ("c", (0.6, 0.6), None),
        ("d", (0.1, 0.1), None),
    ]
    texts = {"a": _text(1), "b": _text(2), "c": _text(1) + " once more", "d": _text(2)}
    order, found = _rank(rows, texts)
    assert order == ["a", "c", "b", "d"]
    assert found.original.tolist() == [0, 0, 2, 2]
    scored = _scores(rows, texts)
    columns = queue_columns(found, scored, CODEBOOK, ScoreConfig(), range(1, 4))
    assert columns["duplicate_of"].to_pylist() == ["a", None, "b"]
    assert columns["similarity"].to_pylist() == [pytest.approx(found.similarity[1]), None, 1.0]
    assert columns["explanation"].to_pylist()[2] == "Read as copy of b (the same wording)"
    assert _rank(rows, texts, group_duplicates=False)[0] == ["a", "b", "c", "d"]


def test_what_is_said_of_a_case() -> None:
    rows: list[Row] = [("a", (0.6, 0.999), None), ("b", (0.3, 0.001), None)]
    for choice, wanted in (
        ({"kind": "severity"}, ["Expected severity 0.70: information leaked 0.60 (flagged), GP not told above 0.99 (flagged)",
                                "Expected severity 0.23: information leaked 0.30 (not flagged)"]),
        ({"kind": "any_mode"}, ["Probability of any mode above 0.99: GP not told above 0.99 (flagged), information leaked 0.60 (flagged)",
                                "Probability of any mode 0.30: information leaked 0.30 (not flagged)"]),
        ({"kind": "mode", "mode": "unseen"}, ["Ranked by one mode: GP not told above 0.99 (flagged), information leaked 0.60 (flagged)",
                                              "Ranked by one mode: GP not told below 0.01 (not flagged)"]),
    ):  # fmt: skip
        config = ScoreConfig(priority=choice)
        scored = _scores(rows)
        assert list(explanations(rank(scored, CODEBOOK, config), scored, CODEBOOK, config)) == wanted


def test_a_mode_that_the_codebook_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'told'"):
        _rank([("a", (0.1, 0.2), None)], priority={"kind": "mode", "mode": "tolt"})


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(0, 80),
    audit=st.integers(0, 90),
    strata=st.integers(1, 8),
    top=st.none() | st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_the_draw_is_of_the_size_asked_for_and_every_probability_is_known(
    number: int, audit: int, strata: int, top: int | None, seed: int
) -> None:
    _, found = _rank(_many(number, seed), audit=audit, audit_strata=strata, top=top, audit_seed=seed)
    flagged = np.array([max(row[1]) >= 0.5 for row in _many(number, seed)], bool)[found.rows]
    read = np.arange(number) < top if top else flagged
    assert found.drawn.sum() == min(audit, (~read).sum())
    assert not (found.drawn & read).any()
    assert (found.probability[read] == 1).all()
    if audit:
        assert (found.probability[~read] > 0).all()
        # Horvitz and Thompson: the inverse probabilities of a sample add up to the cases that it stands for.
        assert (1 / found.probability[found.drawn]).sum() == pytest.approx((~read).sum())
    else:
        assert (found.probability[~read] == 0).all()
    for stratum in range(1, len(found.bands) + 1):
        own = found.stratum == stratum
        low, high = found.bands[stratum - 1]
        assert (found.priority[own].min(), found.priority[own].max()) == (low, high)
        assert np.unique(found.probability[own]).size == 1


def test_over_many_seeds_cases_are_drawn_as_often_as_is_said_and_the_estimate_is_right() -> None:
    rows = _many(120)
    truth = {case_id: scores[0] > 0.15 for case_id, scores, _ in rows}
    estimates, drawn = [], np.zeros(120)
    for seed in range(600):
        order, found = _rank(rows, audit=24, top=20, audit_seed=seed)
        drawn += found.drawn
        holds = np.array([truth[case_id] for case_id in order])
        counted = (np.arange(120) < 20) | found.drawn
        estimates.append((holds[counted] / found.probability[counted]).sum())
    # Four standard errors.
    spread = 4 * np.sqrt(found.probability * (1 - found.probability) / 600)
    assert (np.abs(drawn / 600 - np.where(np.arange(120) < 20, 0, found.probability)) <= spread + 1e-12).all()
    error = np.std(estimates) / np.sqrt(600)
    assert abs(np.mean(estimates) - sum(truth.values())) <= 4 * error
    # Where more is expected, more is drawn.
    first = [found.probability[found.stratum == stratum][0] for stratum in range(1, len(found.bands) + 1)]
    assert first == sorted(first)


def test_drawn_cases_say_so_and_stand_evenly_among_those_to_read() -> None:
    rows = _many(100)
    _, found = _rank(rows, audit=4, top=20)
    assert len(found.reading) == 24
    places = np.flatnonzero(found.drawn[found.reading])
    assert places.tolist() == [4, 9, 15, 20]
    assert found.reading[~found.drawn[found.reading]].tolist() == list(range(20))
    scored = _scores(rows)
    said = list(explanations(found, scored, CODEBOOK, ScoreConfig(audit=4, top=20)))
    for place in np.flatnonzero(found.drawn):
        assert said[place].startswith("Drawn at random for the audit (stratum ")
        assert "), not for its score; expected severity 0." in said[place]
    assert sum(text.startswith("Drawn") for text in said) == 4


def test_without_a_cut_everything_is_shown_once() -> None:
    _, found = _rank(_many(100), audit=5)
    assert sorted(found.reading.tolist()) == list(range(100))


@settings(deadline=None)
@given(number=st.integers(0, 60), audit=st.integers(0, 9), top=st.none() | st.integers(1, 50), size=st.integers(1, 20))
def test_a_rank_is_found_by_the_pages_starts(number: int, audit: int, top: int | None, size: int) -> None:
    _, found = _rank(_many(number), audit=audit, top=top)
    starts, pages = page_starts(found, size), pages_of(found, size)
    assert list(starts) == sorted(starts)
    assert len(starts) == max(1, -(-len(found.reading) // size))
    for place in found.reading:
        if not found.drawn[place]:
            page = max(at for at, start in enumerate(starts, start=1) if start <= place + 1 or at == 1)
            # Pages of drawn cases only begin where the page before does.
            assert starts[pages[place] - 1] <= place + 1
            assert starts[page - 1] == starts[pages[place] - 1]


def test_since_sets_aside_with_a_reason_and_never_for_want_of_a_date() -> None:
    config = ScoreConfig(date_column="received", since=date(2026, 9, 1))
    reasons = {
        text: received_before(Case("a", "x", {"received": text}), config)
        for text in ("2026-08-31", "2026-09-01", "2026-08-31T23:59:59", "soon", None)
    }
    assert (
        reasons.pop("2026-08-31") == "received 2026-08-31, before 2026-09-01: not scored; leave out --since to score it"
    )
    assert reasons.pop("2026-08-31T23:59:59")
    assert set(reasons.values()) == {None}
    assert received_before(Case("a", "x"), config) is None
    assert received_before(Case("a", "x", {"received": "2020-01-01"}), ScoreConfig()) is None
