from __future__ import annotations

import pytest

from secondlook.language import KnownWords

TEXTS = ["The clerk told nobody that it rained.", "It rained, and the clerk went.", "Oakhampton was told."]
WORDS = KnownWords.of(TEXTS, ["a", "b", "b"])


def test_the_share_of_known_words_tells_another_language() -> None:
    assert WORDS.share("The clerk rained on it.") > 0.5
    assert WORDS.share("Никто не пришёл её проверить.") == 0
    assert WORDS.share("…!") == 0


def test_a_word_of_one_case_only_does_not_travel() -> None:
    """A name recurs in the narratives of one case; it must not stand in a bundle."""
    assert "oakhampton" not in WORDS.words
    assert "told" in WORDS.words
    assert "oakhampton" in KnownWords.of(TEXTS, ["a", "a", "a"]).words


def test_words_come_back_as_they_were_saved() -> None:
    assert KnownWords.from_bytes(WORDS.to_bytes()) == WORDS
    with pytest.raises(ValueError, match="not a list"):
        KnownWords.from_bytes(b'{"a": 1}')
