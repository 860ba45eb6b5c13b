"""Whether a narrative is in the language that a model was taught in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from secondlook.text import normalise

_WORD = re.compile(r"\b\w\w+\b")
_ENOUGH = 100_000
"""Characters to judge a language by."""

MINIMUM_GROUPS = 2
"""A word of one case only, such as a name, is nobody's business: a bundle travels."""


@dataclass(frozen=True)
class KnownWords:
    """The words that training saw in enough groups of narratives."""

    words: frozenset[str]

    @classmethod
    def of(cls, narratives: Sequence[str], groups: Iterable[str]) -> Self:
        """Count words by group."""
        seen: dict[str, set[str]] = {}
        for narrative, group in zip(narratives, groups, strict=True):
            for word in set(_words(narrative)):
                seen.setdefault(word, set()).add(group)
        enough = min(MINIMUM_GROUPS, len({group for groups in seen.values() for group in groups}))
        return cls(frozenset(word for word, where in seen.items() if len(where) >= enough))

    def share(self, narrative: str) -> float:
        """The share of a narrative's words that training saw: near 0 for another language. Its beginning is enough."""
        found = _words(narrative[:_ENOUGH])
        return sum(word in self.words for word in found) / len(found) if found else 0.0

    def to_bytes(self) -> bytes:
        """A JSON list."""
        return json.dumps(sorted(self.words), ensure_ascii=False, indent=0).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What :meth:`to_bytes` wrote; ValueError if it is no list of words."""
        words = json.loads(content)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("the known words are not a list of words")
        return cls(frozenset(words))


def _words(text: str) -> list[str]:
    return _WORD.findall(normalise(text).lower())
