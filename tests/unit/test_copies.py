from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.copies import Copies, find_copies, signature, similarity
from secondlook.duplicates import PERMUTATIONS, near_duplicates

WORDS = [f"word{i}" for i in range(400)]


def _text(seed: int, length: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def _changed(text: str, seed: int, changes: int) -> str:
    words, rng = text.split(), random.Random(seed)
    for place in rng.sample(range(len(words)), changes):
        words[place] = f"other{seed}"
    return " ".join(words)


def _find(texts: list[str], threshold: float = 0.8, flags: np.ndarray | None = None) -> Copies:
    signatures = np.stack([signature(text) for text in texts])
    known = np.zeros((len(texts), 2), bool) if flags is None else flags
    return find_copies(signatures, known, np.arange(len(texts)), threshold, texts.__getitem__)


def test_a_text_with_few_words_changed_is_a_copy_and_others_are_not() -> None:
    texts = [_text(seed) for seed in range(40)]
    texts.append(_changed(texts[4], 1, 2).upper())
    found = _find(texts)
    assert found.original.tolist() == [*range(40), 4]
    assert found.similarity[40] == similarity(texts[4], texts[40])
    assert 0.8 <= found.similarity[40] < 1


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), threshold=st.sampled_from([0.6, 0.8, 0.95]))
def test_every_copy_is_as_similar_as_asked_to_a_case_that_is_read(seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    base = [_text(rng.randrange(10**6)) for _ in range(4)]
    texts = [_changed(rng.choice(base), place, rng.randrange(0, 9)) for place in range(25)]
    found = _find(texts, threshold)
    for place, original in enumerate(found.original.tolist()):
        assert original <= place
        assert found.original[original] == original, "a copy of a copy"
        if original != place:
            assert similarity(texts[original], texts[place]) >= threshold


def test_what_is_found_is_what_an_exact_search_finds() -> None:
    rng = random.Random(3)
    texts = [_text(seed) for seed in range(60)]
    texts += [_changed(texts[rng.randrange(60)], seed, 3) for seed in range(40)]
    exact = {later: one for one, later, share in near_duplicates(texts, 0.8) if one < 60 <= later}
    found = {place: int(one) for place, one in enumerate(_find(texts).original) if one != place}
    missed = [place for place in exact if place not in found]
    assert len(missed) <= len(exact) * 0.05
    assert len(exact) >= 20


def test_a_case_with_a_flag_that_the_original_lacks_is_no_copy() -> None:
    text = _text(1)
    flags = np.array([[True, False], [True, True], [True, False], [False, False]])
    assert _find([text] * 4, flags=flags).original.tolist() == [0, 1, 0, 0]


def test_a_campaign_of_one_letter_has_one_original() -> None:
    texts = [f"{_text(1)} signed {place}" for place in range(2000)]
    assert set(_find(texts).original.tolist()) == {0}


def test_short_and_empty_texts_are_never_copies() -> None:
    assert _find(["", "", "please see attached", "please see attached"]).original.tolist() == [0, 1, 2, 3]
    none = find_copies(np.zeros((0, PERMUTATIONS), np.uint32), np.zeros((0, 2), bool), np.arange(0), 0.8, str)
    assert len(none.original) == 0


def test_a_signature_does_not_depend_on_how_much_is_read_at_once() -> None:
    text = _text(1, 25_000)
    words = text.split()
    halves = np.minimum(signature(" ".join(words[:12_503])), signature(" ".join(words[12_500:])))
    assert (signature(text) == halves).all()
    assert signature(text).dtype == np.uint32
