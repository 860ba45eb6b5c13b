"""Redaction: what must not leave the desk, and what stands in its place.

Personal data that is written in a known way, and the names of a case's own parties, give way to pseudonyms such as
``[PHONE 1]``; the same person or number has the same one throughout a case. Spans go along. Whatever is written in no
known way stays: docs/redaction.md says how much that is, and that a person must read before anything leaves.

=============  ===================================================================
module         what it answers
=============  ===================================================================
``patterns``   how is personal data written?
``names``      who are the parties, and where does a narrative name them?
``replacing``  how do pseudonyms take the place of what was found?
``engine``     where do the patterns find something? Slow to import: see there
=============  ===================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from secondlook.config import ReviewConfig
from secondlook.errors import DeskError
from secondlook.review.redaction.names import parties_in
from secondlook.review.redaction.patterns import Identifier
from secondlook.review.redaction.replacing import Find, Pseudonyms, apart, masked, replace
from secondlook.schema import Span

__all__ = ["Identifier", "Redacted", "Redactor"]

_MOST_PASSES = 10


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redacted text, the spans asked for as they lie in it, and how many stretches of each kind were replaced.

    A span that began or ended within a replaced stretch holds the whole pseudonym. Offsets are code points.
    """

    text: str
    spans: tuple[Span, ...]
    counts: Mapping[Identifier, int]


class Redactor:
    """Redacts the texts of one case.

    Args:
        parties: the names given with the case, as its columns have them; several may stand in one.
        references: whether to replace what the files call the case, too.
    """

    def __init__(self, parties: Sequence[str] = (), *, references: bool = True) -> None:
        self._parties = parties_in(parties)
        self._kept = frozenset() if references else frozenset({Identifier.REFERENCE})

    @classmethod
    def for_case(cls, details: Mapping[str, Any], config: ReviewConfig) -> Self:
        """A redactor that knows the parties whom a case's own columns name (``party_columns``)."""
        return cls([str(value) for name in config.party_columns if (value := details.get(name)) is not None])

    def redact(self, narrative: str, spans: Sequence[Span] = ()) -> Redacted:
        """Replace personal data in one text by pseudonyms.

        Args:
            narrative: any text.
            spans: stretches of it, in code points.

        Raises:
            DeskError: the extra that redaction needs is not installed.
        """
        return self.redact_many([narrative], [spans])[0]

    def redact_many(self, narratives: Sequence[str], spans: Sequence[Sequence[Span]] = ()) -> list[Redacted]:
        """Replace personal data in all texts of a case: the same person has the same pseudonym in each.

        Args:
            narratives: any texts.
            spans: for each of them stretches of it, in code points; empty if none are asked for.

        Raises:
            DeskError: the extra that redaction needs is not installed.
        """
        pseudonyms = Pseudonyms(narratives, len(self._parties))
        asked = spans or [()] * len(narratives)
        return [self._redact(text, tuple(own), pseudonyms) for text, own in zip(narratives, asked, strict=True)]

    def _redact(self, text: str, spans: tuple[Span, ...], pseudonyms: Pseudonyms) -> Redacted:
        counts: Counter[Identifier] = Counter()
        # What is replaced can bring a number and the word that speaks for it together: look until nothing is found.
        for _ in range(_MOST_PASSES):
            finds = apart(self._find(masked(text)), text)
            if not finds:
                break
            counts.update(find.identifier for find in finds)
            text, moved = replace(text, spans, [(find.span, pseudonyms.of(find)) for find in finds])
            spans = tuple(moved)
        return Redacted(text, spans, dict(counts))

    def _find(self, text: str) -> Iterator[Find]:
        for number, party in enumerate(self._parties):
            yield from (Find(span, Identifier.PERSON, str(number)) for span in party.find(text))
        try:
            from secondlook.review.redaction import engine
        except ModuleNotFoundError as missing:
            raise DeskError(f"redaction needs {missing.name}: pip install 'secondlook[review]'") from None
        yield from (find for find in engine.find(text) if find.identifier not in self._kept)
