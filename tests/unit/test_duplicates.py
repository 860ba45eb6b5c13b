from __future__ import annotations

import random

from secondlook.duplicates import near_duplicates

WORDS = [f"word{i}" for i in range(300)]


def _text(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=120))


def test_a_text_with_a_few_words_changed_is_found_and_others_are_not() -> None:
    texts = [_text(seed) for seed in range(30)]
    words = texts[4].split()
    words[10] = "changed"
    texts.append(" ".join(words).upper())
    assert [(i, j) for i, j, _ in near_duplicates(texts)] == [(4, 30)]


def test_the_same_texts_give_the_same_pairs() -> None:
    texts = [_text(seed % 5) for seed in range(10)]
    assert list(near_duplicates(texts)) == list(near_duplicates(texts))


def test_short_and_empty_texts_do_no_harm() -> None:
    assert [(i, j) for i, j, _ in near_duplicates(["", "one", "two"])] == []
