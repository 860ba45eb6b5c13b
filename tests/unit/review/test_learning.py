from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.review.learning import WIDTH, case_vectors, diversity_order, rounds

TOPICS = {
    topic: [f"{topic}{number}" for number in range(12)] for topic in ("custody", "radio", "ledger", "harbour", "school")
}


def _narratives(sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    rng = random.Random(3)
    topics = [topic for topic, size in sizes.items() for _ in range(size)]
    rng.shuffle(topics)
    return [" ".join(rng.choices(TOPICS[topic], k=30)) for topic in topics], topics


def test_the_first_few_show_every_topic_however_rare() -> None:
    narratives, topics = _narratives({"custody": 60, "radio": 20, "ledger": 10, "harbour": 6, "school": 4})
    order = diversity_order(narratives)
    assert sorted(order) == list(range(100))
    assert {topics[i] for i in order[:10]} == set(TOPICS)
    assert topics[order[0]] == "custody"


def test_the_same_narratives_and_seed_give_the_same_order() -> None:
    narratives, _ = _narratives({"custody": 30, "radio": 30})
    first = diversity_order(narratives, seed=5).tolist()
    assert diversity_order(iter(narratives), seed=5).tolist() == first
    assert diversity_order(narratives, seed=6).tolist() != first


@pytest.mark.parametrize(
    "narratives", [[], [""], ["", "", ""], ["one"], ["the same"] * 40, ["\x00", "\U0001f600", "word"]]
)
def test_few_empty_and_equal_narratives_do_no_harm(narratives: list[str]) -> None:
    assert sorted(diversity_order(narratives)) == list(range(len(narratives)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=30))
def test_every_case_has_one_place(narratives: list[str]) -> None:
    assert sorted(diversity_order(narratives)) == list(range(len(narratives)))


def test_vectors_are_of_one_length_and_alike_where_the_words_are() -> None:
    narratives, topics = _narratives({"custody": 20, "radio": 20})
    vectors = case_vectors(narratives)
    assert vectors.shape == (40, min(WIDTH, 40))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    alike = vectors @ vectors.T
    same = np.equal.outer(topics, topics)
    assert alike[same].min() > alike[~same].max()


def test_rounds_go_from_cluster_to_cluster_the_largest_first() -> None:
    """Three clusters far apart, of 14, 9 and 7 cases."""
    rng = np.random.default_rng(1)
    owner = np.repeat([0, 1, 2], (14, 9, 7))
    vectors = (10 * np.eye(3, dtype=np.float32)[owner] + rng.normal(0, 0.01, (30, 3))).astype(np.float32)
    found = owner[rounds(vectors)].tolist()
    assert found == [0, 1, 2] * 7 + [0, 1] * 2 + [0] * 5
