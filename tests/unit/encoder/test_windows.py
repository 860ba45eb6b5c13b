from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from secondlook.encoder.windows import CONTEXT, WindowCutter
from secondlook.schema import Span
from secondlook.text import split_passages


def _tokenizer() -> Tokenizer:
    """Every word and sign is a token of its own."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


words = st.lists(st.sampled_from(["He", "came", "back", "that", "night", "alone"]), min_size=1, max_size=30)
narratives = st.lists(words, min_size=1, max_size=12).map(lambda all_: " ".join(" ".join(one) + "." for one in all_))


@given(narratives, st.integers(16, 48), st.integers(0, 8))
def test_every_token_of_a_passage_is_owned_by_one_window(narrative: str, size: int, context: int) -> None:
    passages = split_passages(narrative)
    windows = WindowCutter(_tokenizer(), size, context).cut(narrative, passages)
    owned = [int(p) for window in windows for p in window.passages if p != CONTEXT]
    expected = [
        number
        for number, (start, end) in enumerate(passages)
        for _ in _tokenizer().encode(narrative[start:end], add_special_tokens=False).ids
    ]
    assert owned == expected
    assert all(len(window.ids) == len(window.passages) <= size for window in windows)


@given(narratives, st.integers(24, 48), st.integers(1, 8))
def test_a_passage_has_its_left_context(narrative: str, size: int, context: int) -> None:
    windows = WindowCutter(_tokenizer(), size, context).cut(narrative, split_passages(narrative))
    before = 0
    for window in windows:
        own = np.flatnonzero(window.passages != CONTEXT)
        read = own[0] - 1  # the token that opens a window is no context
        assert read <= context
        assert read == 0 if before == 0 else read > 0
        before += len(own)


def test_only_a_passage_longer_than_a_window_is_cut() -> None:
    narrative = "Short one. " + "long " * 60 + ". Short again."
    passages = split_passages(narrative)
    windows = WindowCutter(_tokenizer(), 32, 8).cut(narrative, passages)
    where = [{number for number, w in enumerate(windows) if (w.passages == p).any()} for p in range(len(passages))]
    assert [len(one) for one in where] == [1, 3, 1]


def test_a_passage_without_a_token_owns_none() -> None:
    tokenizer = _tokenizer()
    narrative = "   He left."
    windows = WindowCutter(tokenizer, 32, 8).cut(narrative, [Span(0, 2), Span(3, 11)])
    assert {int(p) for window in windows for p in window.passages} == {CONTEXT, 1}
    assert WindowCutter(tokenizer, 32, 8).cut("  ", [Span(0, 2)]) == []


def test_context_must_leave_room() -> None:
    with pytest.raises(ValueError, match="no room"):
        WindowCutter(_tokenizer(), 10, 8)
