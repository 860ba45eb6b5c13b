"""Pseudonyms take the place of what was found: the same one for the same thing, and spans go along."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from secondlook.review.redaction.names import fold
from secondlook.review.redaction.patterns import Identifier
from secondlook.schema import Span

_PSEUDONYM = re.compile(rf"\[({'|'.join(Identifier)}) (\d{{1,6}}(?:/\d{{1,6}})*)\]", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Find(NamedTuple):
    """A stretch that says something of somebody; ``key`` is the same for the same thing, however it is written."""

    span: Span
    identifier: Identifier
    key: str


class Pseudonyms:
    """The names that a case's texts get for persons and things: numbers by kind, in the order of appearance.

    Persons have the number of their place among the parties. Numbers that a text has already are left to whoever put
    them there.

    Args:
        narratives: the texts.
        parties: how many persons are known; their keys are "0", "1", or several of them with "/" between.
    """

    def __init__(self, narratives: Iterable[str], parties: int) -> None:
        self._taken = {
            (Identifier(found[1]), int(number))
            for narrative in narratives
            for found in _PSEUDONYM.finditer(narrative)
            for number in found[2].split("/")
        }
        self._free = {identifier: self._numbers_for(identifier) for identifier in Identifier}
        self._numbers = {
            (Identifier.PERSON, str(party)): next(self._free[Identifier.PERSON]) for party in range(parties)
        }

    def of(self, find: Find) -> str:
        """What stands in the place of a find; ``[PERSON 1/2]`` where either may be meant."""
        keys = find.key.split("/") if find.identifier is Identifier.PERSON else [find.key]
        return f"[{find.identifier} {'/'.join(str(self._number(find.identifier, key)) for key in keys)}]"

    def _numbers_for(self, identifier: Identifier) -> Iterator[int]:
        return (number for number in count(1) if (identifier, number) not in self._taken)

    def _number(self, identifier: Identifier, key: str) -> int:
        if (identifier, key) not in self._numbers:
            self._numbers[identifier, key] = next(self._free[identifier])
        return self._numbers[identifier, key]


def masked(text: str) -> str:
    """A text of the same length in which pseudonyms have no letters, and every code point can be encoded."""
    hidden = _PSEUDONYM.sub(lambda found: f"[{'█' * (len(found[0]) - 2)}]", text)
    return _SURROGATE.sub("\ufffd", hidden)


def apart(finds: Iterable[Find], text: str) -> list[Find]:
    """Finds that do not overlap, in their order: of several that do, the longest says what their whole stretch is."""
    clusters: list[list[Find]] = []
    reach = 0
    for find in sorted(finds):
        if clusters and find.span.start < reach:
            clusters[-1].append(find)
        else:
            clusters.append([find])
        reach = max(reach, find.span.end)
    return [_together(cluster, text) for cluster in clusters]


def _together(cluster: Sequence[Find], text: str) -> Find:
    longest = max(cluster, key=lambda find: find.span.end - find.span.start)
    whole = Span(cluster[0].span.start, max(find.span.end for find in cluster))
    if longest.identifier is Identifier.PERSON:
        keys = {int(one.key) for one in cluster if one.span == longest.span and one.identifier is Identifier.PERSON}
        return Find(whole, Identifier.PERSON, "/".join(map(str, sorted(keys))))
    return Find(whole, longest.identifier, longest.key if whole == longest.span else fold(text[slice(*whole)]))


def replace(text: str, spans: Iterable[Span], stretches: Sequence[tuple[Span, str]]) -> tuple[str, list[Span]]:
    """A text with some stretches replaced, and spans as they lie in it.

    Args:
        text: the text.
        spans: of the text; one that begins or ends within a stretch widens to all that replaces it.
        stretches: what to replace by what: apart from one another, in their order.
    """
    starts = [0, *(span.start for span, _ in stretches)]
    ends = [0, *(span.end for span, _ in stretches)]
    new_starts, new_ends, pieces = [0], [0], [""]
    for number, (span, replacement) in enumerate(stretches, 1):
        pieces += [text[ends[number - 1] : span.start], replacement]
        new_starts.append(new_ends[-1] + span.start - ends[number - 1])
        new_ends.append(new_starts[-1] + len(replacement))

    def place(offset: int, inside: Sequence[int]) -> int:
        last = bisect_right(starts, offset) - 1
        if starts[last] < offset < ends[last]:
            return inside[last]
        return new_starts[last] if offset == starts[last] else new_ends[last] + offset - ends[last]

    moved = [Span(place(span.start, new_starts), place(span.end, new_ends)) for span in spans]
    return "".join(pieces) + text[ends[-1] :], moved
