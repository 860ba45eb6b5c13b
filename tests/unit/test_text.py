from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.text import normalise, split_passages, words

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400)
PROSE = st.text(alphabet="ab .?!\n\t\r\"'A:1-é\u200b😀", max_size=400)


@given(ANY_TEXT | PROSE)
def test_passages_are_ordered_and_cover_every_visible_character_once(text: str) -> None:
    covered = [0] * len(text)
    end_before = 0
    for start, end in split_passages(text):
        assert end_before <= start < end <= len(text)
        end_before = end
        for i in range(start, end):
            covered[i] += 1
    assert all(count == 1 for character, count in zip(text, covered, strict=True) if not character.isspace())


@given(PROSE)
def test_passages_neither_begin_nor_end_with_white_space(text: str) -> None:
    for start, end in split_passages(text):
        assert text[start:end] == text[start:end].strip()


@given(st.integers(min_value=10, max_value=60), ANY_TEXT)
def test_no_passage_is_longer_than_the_limit(limit: int, text: str) -> None:
    assert all(end - start <= limit for start, end in split_passages(text, limit))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sgt. Hale rang at 10.30 p.m. He left.", ["Sgt. Hale rang at 10.30 p.m.", "He left."]),
        ("From: A\nSent: Monday\n\nWe met him", ["From: A", "Sent: Monday", "We met him"]),
        ("- told him\n- told her", ["- told him", "- told her"]),
        (
            "the officer then\nwent back to the house. Nobody\nfollowed.",
            ["the officer then\nwent back to the house.", "Nobody\nfollowed."],
        ),
        ("Crlf line one.\r\n\r\nLine two.", ["Crlf line one.", "Line two."]),
    ],
)
def test_logs_lists_and_wrapped_lines(text: str, expected: list[str]) -> None:
    found = [text[start:end] for start, end in split_passages(text)]
    assert found == expected


def test_a_long_text_without_full_stops_is_cut_at_spaces() -> None:
    text = "word " * 1000
    passages = split_passages(text)
    assert len(passages) > 4
    assert all(text[start:end].startswith("word") and text[start:end].endswith("word") for start, end in passages)


@given(ANY_TEXT)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_words_keep_apostrophes() -> None:
    assert words("Don’t go") == ["don't", "go"]


@pytest.mark.parametrize(
    "text",
    [
        "e" + "\u0301\u0327" * 100_000,
        "a" + "\u20d0" * 300_000 + "\u20d2" * 300_000,
        "She left. " + "a.;" * 100_000,
        "lower case and wrapped\n" * 60_000,
        "x" * 2_000_000,
        "\n" * 1_000_000 + "End.",
    ],
    ids=[
        "stacked marks",
        "marks of two kinds",
        "full stops without a space",
        "wrapped lines",
        "one word",
        "blank lines",
    ],
)
def test_hostile_texts_take_time_in_proportion(text: str) -> None:
    """Quadratic time would run into minutes here; the test's own time limit is the assertion."""
    passages = split_passages(text)
    assert passages
    assert sum(len(normalise(text[start:end])) for start, end in passages) > 0
    assert normalise(text)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), min_size=60, max_size=90))
def test_a_long_text_is_normalised_as_its_words_are(parts: list[str]) -> None:
    text = " ".join(f"{part} of the case" for part in parts)
    assert normalise(text) == " ".join(filter(None, (normalise(word) for word in text.split())))


@given(st.integers(400, 3000))
def test_what_has_no_space_for_long_is_cut_and_its_surroundings_are_split_as_ever(length: int) -> None:
    sentence = "She rang twice. Nobody came. "
    whole = f"{sentence}{'a.;' * length} {sentence}"
    found = [whole[start:end] for start, end in split_passages(whole)]
    assert found[:2] == found[-2:] == ["She rang twice.", "Nobody came."]
    assert "".join(found[2:-2]) == "a.;" * length
