"""Windows: what the encoder reads at once, and which of its tokens belong to which passage.

A narrative is tokenised once. Windows own whole passages, in order, and begin with tokens of what
precedes them, so that a passage is read knowing who "he" is; only a passage longer than a window is cut
into pieces. Every token is owned by one window, and a passage's score is a mean over the tokens it owns:
it does not matter how many windows they lie in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from secondlook.schema import Span

Tokens = NDArray[np.int64]
CONTEXT = -1
"""The passage number of tokens that a window only reads: special tokens and context."""

NOTHING = -12.0
"""Log-odds of a passage without any token (zero-width characters, say): about six in a million."""

_PLAIN = str.maketrans("‘’“”–—", "''\"\"--")
"""Typography that means nothing, one sign for one, so that offsets stay."""


@dataclass(frozen=True, slots=True)
class Window:
    """Token ids, and for each the number of the passage that owns it here, or ``CONTEXT``.

    *Shape of both:* ``(tokens,)``.
    """

    ids: Tokens
    passages: Tokens


class WindowCutter:
    """Cuts narratives into windows.

    Args:
        tokenizer: its truncation and padding are switched off.
        window_tokens: the longest window, special tokens included.
        context_tokens: how many tokens before its own passages a window reads at most; where whole
            passages make up half of it, these, so that context does not begin in the middle of a sentence.

    Raises:
        ValueError: the window has no room beside its context and special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, window_tokens: int, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._before, self._after = _special_tokens(tokenizer)
        self._context = context_tokens
        self._room = window_tokens - len(self._before) - len(self._after)
        if self._room - context_tokens < 1:
            raise ValueError(f"a window of {window_tokens} tokens has no room beside {context_tokens} of context")

    def cut(self, narrative: str, passages: Sequence[Span]) -> list[Window]:
        """The windows of a narrative; none if the tokenizer finds no token in its passages."""
        encoded = self._tokenizer.encode(narrative.translate(_PLAIN), add_special_tokens=False)
        ids = np.array(encoded.ids, dtype=np.int64)
        pieces = self._pieces(_token_ranges(encoded.offsets, passages))
        windows, first = [], 0
        while first < len(pieces):
            start = self._start(pieces, first)
            last = first
            while last + 1 < len(pieces) and pieces[last + 1][2] - start <= self._room:
                last += 1
            windows.append(self._window(ids, start, pieces[first : last + 1]))
            first = last + 1
        return windows

    def _pieces(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Passage number, first token and end of what a window can own at once."""
        step = self._room - self._context
        return [
            (number, piece, min(piece + step, end))
            for number, (start, end) in enumerate(ranges)
            for piece in range(start, end, step)
        ]

    def _start(self, pieces: Sequence[tuple[int, int, int]], first: int) -> int:
        """Where a window begins: with the earliest whole piece in reach, or in the middle of a long one."""
        own = pieces[first][1]
        reach = max(0, own - self._context)
        starts = [piece[1] for piece in pieces[max(0, first - self._context) : first + 1]]
        whole = starts[bisect_left(starts, reach)]
        return whole if own - whole >= (own - reach) / 2 else reach

    def _window(self, ids: Tokens, start: int, pieces: Sequence[tuple[int, int, int]]) -> Window:
        end = pieces[-1][2]
        owner = np.full(end - start, CONTEXT, dtype=np.int64)
        for number, first, last in pieces:
            owner[first - start : last - start] = number
        around = [np.full(len(special), CONTEXT, dtype=np.int64) for special in (self._before, self._after)]
        return Window(
            ids=np.concatenate([self._before, ids[start:end], self._after]),
            passages=np.concatenate([around[0], owner, around[1]]),
        )


def _token_ranges(offsets: Sequence[tuple[int, int]], passages: Sequence[Span]) -> list[tuple[int, int]]:
    """First token and end of each passage; a token across a border belongs to the passage it begins in."""
    ranges, token = [], 0
    for start, end in passages:
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        first = token
        while token < len(offsets) and offsets[token][0] < end:
            token += 1
        ranges.append((first, token))
    return ranges


def _special_tokens(tokenizer: Tokenizer) -> tuple[Tokens, Tokens]:
    """What the tokenizer puts before and after a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    place = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    return np.array(full[:place], dtype=np.int64), np.array(full[place + len(plain) :], dtype=np.int64)
