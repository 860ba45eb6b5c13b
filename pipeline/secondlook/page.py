"""A page of the queue: ranked cases with their evidence marked, in one file that asks the network for nothing.

What the page shows comes from strangers, so every text is escaped, and control characters that could
reorder or hide text are written out as codes. The bytes depend on the arguments only.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from secondlook.codebook import Codebook
from secondlook.schema import Case, Evidence, ScoredCase, Span
from secondlook.text import normalise, split_passages

FIRST = "queue.html"
FOLDER = "pages"
LIST = "list-001.html"

PALETTE = 8
"""Colours with line patterns in ``queue.css``; later modes use them again, told apart by their number."""

DEEPEST = 4
"""Lines drawn under one stretch of text; the numbers name every mode all the same."""

METADATA_CHARACTERS = 300
"""A longer metadata value is cut here: a column may hold a whole letter."""

DIFFERENCES = 5
"""Sentences that a copy has and its original has not, on the page."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page says of the run as a whole.

    ``narrative_characters`` bounds how much of one narrative is on the page. ``shown`` is how many cases are on
    all pages together, None where there is one page; ``undated`` how many cases have no date that could be read, and
    ``set_aside`` how many were too old to be scored, ``cleared`` how many the first pass alone scored.
    """

    bundle: str
    bundle_digest: str
    scored: int
    rejected: int
    narrative_characters: int
    shown: int | None = None
    undated: int = 0
    set_aside: int = 0
    cleared: int = 0


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where a page stands among the pages of a queue: ``number`` counts from 1, ``starts`` are their first ranks."""

    number: int
    starts: Sequence[int]

    @property
    def total(self) -> int:
        """How many pages there are."""
        return len(self.starts)

    @property
    def first(self) -> str:
        """The way from this page to the first."""
        return FIRST if self.number == 1 else f"../{FIRST}"

    @property
    def folder(self) -> str:
        """The way from this page to the others; with a slash at its end, or empty."""
        return f"{FOLDER}/" if self.number == 1 else ""

    def href(self, number: int) -> str:
        """The way from this page to another."""
        return self.first if number == 1 else self.folder + page_name(number)

    @property
    def near(self) -> list[int]:
        """The numbers of the pages to link to: the first, the last and those around this one; 0 stands for a gap."""
        numbers = [n for n in range(1, self.total + 1) if n in (1, self.total) or abs(n - self.number) <= 2]
        return [n for one, other in pairwise([0, *numbers]) for n in ([other] if other == one + 1 else [0, other])]


def page_name(number: int) -> str:
    """The name of a page after the first, in its folder; ``queue.js`` makes the same.

    >>> page_name(2)
    'queue-00002.html'
    """
    return f"queue-{number:05d}.html"


class Segment(NamedTuple):
    """A stretch of a narrative over which the evidence does not change."""

    start: int
    end: int
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class ModeMark:
    """How a mode looks on the page: its number, its place in the palette, its title."""

    number: int
    slot: int
    title: str


@dataclass(frozen=True, slots=True)
class Badge:
    """One mode's score in one case: its bar, and on it the range that the calibration leaves open, in percent."""

    mark: ModeMark
    percent: str
    width: int
    low: int
    reach: int
    interval: str
    flagged: bool


@dataclass(frozen=True, slots=True)
class Layer:
    """A mode for which a piece of text is evidence, and the part of its score that lies there."""

    mark: ModeMark
    share: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with the same evidence throughout; white space at its ends stays outside the mark."""

    before: str
    text: str
    after: str
    layers: tuple[Layer, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a narrative that is shown, and how many characters before it are not."""

    skipped: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """The case that a copy is read as: its id, its rank if it is on the same page, and what only the copy says.

    ``others`` counts sentences of that kind that are not shown; None where the original's text is not at hand.
    """

    case_id: str
    rank: int | None
    only_here: tuple[str, ...]
    others: int | None


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as the template needs it."""

    rank: int
    case_id: str
    priority: str
    metadata: tuple[tuple[str, str], ...]
    badges: tuple[Badge, ...]
    flagged: tuple[ModeMark, ...]
    standing_in: ModeMark
    depth: int
    excerpts: tuple[Excerpt, ...]
    skipped_at_end: int
    explanation: str
    drawn: bool
    copied: Copied | None


def render_queue(
    cases: Sequence[ScoredCase],
    codebook: Codebook,
    facts: PageFacts,
    place: PagePlace | None = None,
    before: ScoredCase | None = None,
) -> str:
    """A page of the queue, as HTML.

    Args:
        cases: the cases to show, in the order to read them.
        codebook: the modes, which every case has a score for.
        facts: the run's counts and its bundle.
        place: where the page stands among others; None where it is the only one.
        before: the last case on the pages before that is no copy: the first ones here may be copies of it.
    """
    marks = mode_marks(codebook)
    style, script = asset("queue.css"), asset("queue.js")
    return (
        environment()
        .get_template("queue.html.jinja")
        .render(
            cases=list(_case_views(cases, marks, facts.narrative_characters, before)),
            modes=[(marks[mode.id], mode) for mode in codebook.modes],
            flagged={marks[mode].number: sum(item.flags[mode] for item in cases) for mode in marks},
            unflagged=sum(not any(item.flags.values()) for item in cases),
            drawn=sum(item.drawn_for_audit for item in cases),
            facts=facts,
            shown=len(cases) if facts.shown is None else facts.shown,
            place=place,
            list=LIST,
            style=Markup(style),  # noqa: S704 (our own file)
            script=Markup(script),  # noqa: S704 (our own file)
            policy=policy(style, script),
        )
    )


def mode_marks(codebook: Codebook) -> dict[str, ModeMark]:
    """How each mode looks, by its id."""
    return {
        mode.id: ModeMark(number, (number - 1) % PALETTE, mode.title)
        for number, mode in enumerate(codebook.modes, start=1)
    }


def segments(length: int, evidence: Sequence[Evidence]) -> list[Segment]:
    """Cut a text of ``length`` characters wherever evidence begins or ends.

    The segments tile the text; what reaches past its end is cut off.

    >>> marked = [Evidence("a", Span(2, 6), 0.7), Evidence("b", Span(4, 8), 0.9)]
    >>> [(start, end, [item.mode for item in own]) for start, end, own in segments(10, marked)]
    [(0, 2, []), (2, 4, ['a']), (4, 6, ['a', 'b']), (6, 8, ['b']), (8, 10, [])]
    """
    inside = [
        (max(0, item.span.start), min(length, item.span.end), item)
        for item in evidence
        if max(0, item.span.start) < min(length, item.span.end)
    ]
    cuts = sorted({0, length, *(start for start, _, _ in inside), *(end for _, end, _ in inside)})
    return [
        Segment(start, end, tuple(item for first, last, item in inside if first <= start and end <= last))
        for start, end in pairwise(cuts)
    ]


def excerpts(text: str, evidence: Sequence[Evidence], limit: int) -> list[Span]:
    """The parts of a text to show: at most ``limit`` characters in all, in order, never touching.

    A text within the limit is shown whole. Of a longer one the beginning, then the surroundings of
    the evidence, that with the largest share first.

    >>> excerpts("x" * 50, [], 100)
    [Span(start=0, end=50)]
    >>> excerpts("x" * 5000, [Evidence("a", Span(3000, 3100), 1.0)], 1000)
    [Span(start=0, end=250), Span(start=2675, end=3425)]
    """
    if len(text) <= limit:
        return [Span(0, len(text))] if text else []
    head = limit // 4
    spans = list(dict.fromkeys(item.span for item in sorted(evidence, key=lambda item: -item.share)))
    # Few passages that can be read in their context are worth more than many torn from it.
    spans = spans[: max(1, (limit - head) // 300)]
    first = head if spans else limit
    windows = [_at_words(text, Span(0, first), Span(0, 0))]
    for span in spans:
        window = _window(len(text), span, (limit - head) // len(spans))
        windows.append(_at_words(text, window, span))
    return _merged(windows)


def percent(share: float) -> str:
    """A whole percent that never claims certainty.

    >>> percent(0.624), percent(0.0001), percent(0.9999)
    ('62%', '<1%', '>99%')
    """
    whole = round(share * 100)
    return "<1%" if whole < 1 else ">99%" if whole > 99 else f"{whole}%"


def plain(text: str) -> str:
    """A text in which control characters are codes, for use where markup cannot go.

    >>> plain("a\\u202eb")
    'a⟦U+202E⟧b'
    """
    return _CONTROL.sub(lambda found: _code(found.group()), text)


def shown(text: str) -> Markup:
    """A text as markup: escaped, control characters as marked codes, line ends as they were."""
    if not _CONTROL.search(text):
        return escape(text)
    parts = _LINE_END_OR_CONTROL.split(text)
    return Markup("").join(_control(part) if place % 2 else part for place, part in enumerate(parts))


# Controls, line and paragraph separators, direction marks and overrides, halves of surrogate pairs and
# noncharacters. Tab and line feed stay, and joiners, which Persian and emoji need.
_CONTROLS = "".join(
    (
        "\x00-\x08\x0b-\x1f\x7f-\x9f",
        "\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f",
        "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff",
    )
)
_CONTROL = re.compile(f"[{_CONTROLS}]")
_LINE_END_OR_CONTROL = re.compile(f"(\r\n|[{_CONTROLS}])")


def _control(found: str) -> Markup:
    # An HTML parser would turn a bare carriage return into a line feed; a reference survives it.
    if found == "\r\n":
        return Markup("&#13;\n")
    if found == "\r":
        return Markup("&#13;<br>")
    return Markup('<span class="code">{}</span>').format(_code(found))


def _code(character: str) -> str:
    return f"⟦U+{ord(character):04X}⟧"


def _thousands(count: int) -> str:
    return f"{count:,}"


def asset(name: str) -> str:
    """A template file that is taken as it is."""
    return (files("secondlook") / "templates" / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """Templates that escape what they are given."""
    environment = Environment(
        loader=PackageLoader("secondlook"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(shown=shown, plain=plain, thousands=_thousands)
    return environment


def policy(style: str, script: str) -> str:
    """A content security policy that admits this style and this script, and no request at all."""
    sources = "; ".join(
        f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in (("style", style), ("script", script))
    )
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def _case_views(
    cases: Sequence[ScoredCase], marks: Mapping[str, ModeMark], limit: int, original: ScoredCase | None
) -> Iterator[CaseView]:
    on_page = False
    for item in cases:
        if item.duplicate_of is None:
            original, on_page = item, True
        yield _case_view(item, marks, limit, _copied(item, original, on_page, limit))


def _copied(item: ScoredCase, original: ScoredCase | None, on_page: bool, limit: int) -> Copied | None:
    if item.duplicate_of is None:
        return None
    if original is None or original.case.case_id != item.duplicate_of:
        return Copied(item.duplicate_of, None, (), None)
    if max(len(item.case.narrative), len(original.case.narrative)) > limit:  # a book would take its time
        return Copied(item.duplicate_of, original.rank if on_page else None, (), None)
    only_here = _only_here(item.case.narrative, original.case.narrative)
    shown_here = tuple(text[:METADATA_CHARACTERS] for text in only_here[:DIFFERENCES])
    return Copied(item.duplicate_of, original.rank if on_page else None, shown_here, len(only_here) - len(shown_here))


def _only_here(text: str, original: str) -> list[str]:
    """The sentences of a text that its original does not have: one word in them may be what matters."""
    known = {normalise(original[start:end]).lower() for start, end in split_passages(original)}
    sentences = [text[start:end] for start, end in split_passages(text)]
    return [sentence for sentence in sentences if normalise(sentence).lower() not in known]


def _case_view(item: ScoredCase, marks: Mapping[str, ModeMark], limit: int, copied: Copied | None) -> CaseView:
    flagged = [mode for mode in marks if item.flags[mode]]
    highest = max(marks, key=lambda mode: item.scores[mode])
    chosen = [evidence for evidence in item.evidence if evidence.mode in (flagged or [highest])]
    text = item.case.narrative
    parts = segments(len(text), chosen)
    spans = excerpts(text, chosen, limit)
    ends = [0, *(span.end for span in spans)]
    return CaseView(
        rank=item.rank,
        case_id=item.case.case_id,
        priority=f"{item.priority:.2f}",
        metadata=tuple(_metadata(item.case)),
        badges=tuple(badge(marks[m], item.scores[m], item.intervals[m], item.flags[m]) for m in marks),
        flagged=tuple(marks[mode] for mode in flagged),
        standing_in=marks[highest],
        depth=min(DEEPEST, max((len({own.mode for own in part.evidence}) for part in parts), default=0)),
        excerpts=tuple(
            Excerpt(span.start - end, tuple(_pieces(text, span, parts, marks, bool(flagged))))
            for span, end in zip(spans, ends, strict=False)
        ),
        skipped_at_end=len(text) - ends[-1],
        explanation=item.explanation,
        drawn=item.drawn_for_audit,
        copied=copied,
    )


def _metadata(case: Case) -> Iterator[tuple[str, str]]:
    for name, value in case.metadata.items():
        text = (value or "").strip() or "not given"
        yield name, text if len(text) <= METADATA_CHARACTERS else f"{text[:METADATA_CHARACTERS]} …"
    if case.file:
        yield "Source", f"{case.file}, row {case.row}"


def badge(mark: ModeMark, score: float, interval: tuple[float, float], flagged: bool) -> Badge:
    """A mode's score in one case as a page shows it.

    >>> badge(ModeMark(1, 0, "Leak"), 0.93, (0.88, 0.96), True).percent
    '93%'
    """
    low, high = interval
    width, start = max(1, round(score * 100)), min(99, round(low * 100))
    reach = max(1, round(high * 100) - start)
    return Badge(mark, percent(score), width, start, reach, f"{percent(low)} to {percent(high)}", flagged)


def _pieces(
    text: str, span: Span, parts: Sequence[Segment], marks: Mapping[str, ModeMark], flagged: bool
) -> Iterator[Piece]:
    for part in parts:
        start, end = max(part.start, span.start), min(part.end, span.end)
        if start < end:
            yield _piece(text[start:end], part.evidence, marks, flagged)


def _piece(text: str, evidence: Sequence[Evidence], marks: Mapping[str, ModeMark], flagged: bool) -> Piece:
    core = text.strip()
    if not core or not evidence:
        return Piece(text, "", "", (), "")
    before = text[: len(text) - len(text.lstrip())]
    shares: dict[str, float] = {}
    for item in evidence:
        shares[item.mode] = shares.get(item.mode, 0.0) + item.share
    layers = tuple(Layer(marks[mode], percent(shares[mode])) for mode in marks if mode in shares)
    aside = "" if flagged else " (not flagged)"
    label = "; ".join(f"evidence for {own.mark.title}{aside}, {own.share} of the score" for own in layers)
    return Piece(before, core, text[len(before) + len(core) :], layers, label)


def _window(length: int, span: Span, room: int) -> Span:
    """``room`` characters around a span, or the first of it where it is longer."""
    if span.end - span.start >= room:
        return Span(span.start, span.start + room)
    start = max(0, span.start - (room - (span.end - span.start)) // 2)
    end = min(length, start + room)
    return Span(max(0, end - room), end)


def _at_words(text: str, window: Span, keep: Span) -> Span:
    """A window that begins and ends between words where it can, without losing any of ``keep``."""
    start, end = window
    space = _SPACE.search(text, start, min(end, start + _WORD_CHARACTERS))
    if start > 0 and space and space.end() <= keep.start:
        start = space.end()
    tail = text[max(start, end - _WORD_CHARACTERS) : end]
    space = _LAST_SPACE.search(tail)
    if end < len(text) and space and end - len(tail) + space.start() >= keep.end:
        end = end - len(tail) + space.start()
    return Span(start, end)


_WORD_CHARACTERS = 40
_SPACE = re.compile(r"\s+")
_LAST_SPACE = re.compile(r"\s+\S*$")


def _merged(windows: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for window in sorted(window for window in windows if window.start < window.end):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return merged
