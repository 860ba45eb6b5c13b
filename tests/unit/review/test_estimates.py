"""What a few counts say of the whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.agreement import AnnotationTask

from secondlook.review.estimates import alpha, alpha_figure, paired_difference, share, stratified_total

COUNTS = st.integers(0, 30)
TABLES = st.lists(COUNTS, min_size=9, max_size=9).map(lambda cells: np.array(cells, np.int64).reshape(1, 3, 3))


def test_a_share_of_nothing_says_why_it_is_unknown():
    figure = share(0, 0, "nothing was read yet")
    assert (figure.value, figure.low, figure.high, figure.why) == (None, None, None, "nothing was read yet")


def test_the_paired_difference_is_that_of_newcombes_example():
    figure = paired_difference(36, 12, 2, 0, "")
    assert figure.value == pytest.approx(0.2)
    assert (figure.low, figure.high) == (pytest.approx(0.0569, abs=5e-5), pytest.approx(0.3404, abs=5e-5))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_paired_difference_lies_within_its_interval_and_turns_with_its_sides(both, first, second, neither):
    figure, turned = (
        paired_difference(both, first, second, neither, "-"),
        paired_difference(both, second, first, neither, "-"),
    )
    if not both + first + second + neither:
        assert figure.why == "-"
        return
    assert -1 <= figure.low <= figure.value <= figure.high <= 1
    assert (turned.value, turned.low, turned.high) == pytest.approx((-figure.value, -figure.high, -figure.low))


@given(TABLES)
def test_alpha_is_that_of_nltk(table):
    items = [pair for (_, one, other), count in np.ndenumerate(table) for pair in [(one, other)] * count]
    seen = {verdict for pair in items for verdict in pair}
    if len(seen) < 2:
        assert alpha_figure(table, interval=True).value is None
        return
    data = [(coder, item, pair[coder]) for item, pair in enumerate(items) for coder in (0, 1)]
    assert float(alpha(table)) == pytest.approx(AnnotationTask(data=data).alpha())


def test_alpha_over_modes_does_not_take_their_different_frequencies_for_agreement():
    """Within each mode the two agree as often as chance has it; together they would seem to agree."""
    rare, common = np.array([[1, 9], [9, 81]]), np.array([[81, 9], [9, 1]])
    apart, together = np.stack([rare, common]), (rare + common)[None]
    assert float(alpha(apart)) == pytest.approx(0, abs=0.01)
    assert float(alpha(together)) > 0.6


@given(TABLES)
def test_alphas_interval_holds_its_value_or_says_why_there_is_none(table):
    figure = alpha_figure(table, interval=True)
    if figure.low is None:
        assert figure.why
    else:
        assert table.sum() >= 20
        assert figure.low <= figure.value <= figure.high
        assert not any(math.isnan(number) for number in (figure.value, figure.low, figure.high))


def test_an_audit_that_was_read_whole_of_every_case_leaves_no_doubt():
    figure = stratified_total([(2, 50, 50), (1, 10, 10)])
    assert (figure.value, figure.low, figure.high) == (3, 3, 3)


def test_every_case_read_stands_for_its_part_of_the_stratum():
    figure = stratified_total([(1, 20, 2000), (3, 10, 50)])
    assert figure.value == pytest.approx(100 + 15)


def test_one_stratum_has_the_interval_of_wilson():
    figure, part = stratified_total([(3, 40, 4000)]), share(3, 40, "")
    assert (figure.low, figure.high) == (pytest.approx(4000 * part.low), pytest.approx(4000 * part.high))


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 500), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_estimate_lies_between_what_was_seen_and_what_there_could_be(strata):
    read, sizes = [seen for seen, _, _ in strata], [seen + unseen for seen, unseen, _ in strata]
    found = [round(seen * part) for seen, _, part in strata]
    figure = stratified_total(list(zip(found, read, sizes, strict=True)))
    assert sum(found) <= figure.low <= figure.value + 1e-9
    assert figure.value - 1e-9 <= figure.high <= sum(found) + sum(sizes) - sum(read)
