"""From a narrative to passages: sentences with exact offsets.

A passage is the unit that a model scores. Passages never overlap, and every character that is not
white space lies in exactly one, so that a score can be traced to the text and nothing is skipped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from secondlook.schema import Span

MAX_PASSAGE_CHARACTERS = 1000
"""A longer sentence is cut at white space: unpunctuated text would otherwise be one passage."""

_LINE = re.compile(r"[^\r\n\v\f\x85\u2028\u2029]+")
_MARKER = re.compile(r"\s*(?:[-–—•*·>]|\(?\d{1,3}[.):]|\[?\d{1,2}[:.]?\d\d|[A-Z][\w /]{0,30}:)")
_SENTENCE_END = (".", "!", "?", ":", ";", '"', "”", "’", "'", ")", "]", "…")
_SHORT_LINE = 50


def split_passages(narrative: str, max_characters: int = MAX_PASSAGE_CHARACTERS) -> list[Span]:
    """The passages of a narrative, in order.

    Sentences are found by nupunkt (Punkt, Kiss and Strunk 2006) within blocks of lines: logs, forms
    and lists end their entries with a line break and no full stop.

    >>> text = "02:14 call received\\n02:20 unit there. Nobody answered the door."
    >>> [text[start:end] for start, end in split_passages(text)]
    ['02:14 call received', '02:20 unit there.', 'Nobody answered the door.']
    """
    passages: list[Span] = []
    for block in _blocks(narrative):
        for start, end in _sentences(narrative[block.start : block.end]):
            span = _trim(narrative, Span(block.start + start, block.start + end))
            if span.start < span.end:
                passages.extend(_cut(narrative, span, max_characters))
    return passages


def normalise(text: str) -> str:
    """What a model reads of a passage: compatibility forms, straight quotes, single spaces.

    Offsets never refer to this text.

    >>> normalise("“He’s  here”,\\n she said…")
    '"He\\'s here", she said...'
    """
    # A long run of combining marks is no writing, and takes NFKC quadratic time; so a long text goes piece by piece.
    sparse = _STACKED.sub(r"\1", text)
    pieces = [sparse] if len(sparse) <= _PIECE else _PIECES.findall(sparse)
    plain = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces).translate(_PLAIN)
    return " ".join(plain.split())


_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\u00ad": None, "\u200b": None})


def words(text: str) -> list[str]:
    """The lower-case words of a text, as the corpus audit and the search for near-duplicates count them.

    >>> words("She said: DON'T go at 10.30!")
    ['she', 'said', "don't", 'go', 'at', '10', '30']
    """
    return _WORD.findall(normalise(text).lower())


_STACKED = re.compile(r"([\u0300-\u036f\u0591-\u05c7\u064b-\u065f]{8})[\u0300-\u036f\u0591-\u05c7\u064b-\u065f]+")
_WORD = re.compile(r"\w+(?:'\w+)?")
_PIECE = 1000
_PIECES = re.compile(rf"(?s).{{1,{_PIECE}}}(?=\s|\Z)|.{{1,{_PIECE}}}")
"""Of a text, cut before white space, which nothing before it is composed with; within a word only if it is longer."""

_UNBROKEN = re.compile(rf"\S{{{MAX_PASSAGE_CHARACTERS + 1},}}")
"""No sentence; and what finds sentences would read it to its end at each of its full stops."""


def _blocks(narrative: str) -> Iterator[Span]:
    """Runs of lines that belong together: a line break ends a block unless the text merely wraps."""
    start = None
    last = Span(0, 0)
    for line in _LINE.finditer(narrative):
        if not line.group().strip():
            continue
        gap = narrative[last.end : line.start()]
        if start is None:
            start = line.start()
        elif not _wraps(narrative[slice(*last)], gap, line.group()):
            yield Span(start, last.end)
            start = line.start()
        last = Span(*line.span())
    if start is not None:
        yield Span(start, last.end)


def _wraps(last: str, gap: str, line: str) -> bool:
    """Whether ``line`` goes on with the sentence that the ``last`` line left open."""
    if gap.strip() or len(gap.replace("\r\n", "\n").strip(" \t")) > 1 or _MARKER.match(line):
        return False
    if line.lstrip()[:1].islower():
        return True
    return len(last.strip()) > _SHORT_LINE and not last.rstrip().endswith(_SENTENCE_END)


def _trim(text: str, span: Span) -> Span:
    piece = text[span.start : span.end]
    start = span.start + len(piece) - len(piece.lstrip())
    return Span(start, max(start, span.start + len(piece.rstrip())))


def _cut(text: str, span: Span, max_characters: int) -> Iterator[Span]:
    """Pieces of at most ``max_characters``, cut at white space where there is any."""
    start = span.start
    while span.end - start > max_characters:
        window = text[start : start + max_characters]
        space = max(window.rfind(" "), window.rfind("\t"))
        cut = start + (space + 1 if space > 0 else max_characters)
        yield _trim(text, Span(start, cut))
        start = cut
        while text[start].isspace():  # the span ends with a visible character
            start += 1
    if start < span.end:
        yield Span(start, span.end)


def _sentences(block: str) -> Iterator[tuple[int, int]]:
    # Imported at the first sentence: no module of ours does work when it loads.
    from nupunkt import sent_spans

    position = 0
    for unbroken in [*_UNBROKEN.finditer(block), None]:
        end = unbroken.start() if unbroken else len(block)
        yield from ((position + start, position + stop) for start, stop in sent_spans(block[position:end]))
        if unbroken:
            yield unbroken.span()
            position = unbroken.end()
