"""Views: what do the pages say? Plain values for the templates, and for the addresses that lead from one to another.

A narrative is shown in parts of at most :data:`PART` characters, cut where words end, so that one of five megabytes
opens as quickly as any other. Each part is cut further into pieces over which evidence and marks do not change; a piece
says where it starts, so that a browser can say where in the narrative something was selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import urlencode

from fastapi import HTTPException
from starlette.datastructures import QueryParams

from secondlook.codebook import Codebook, Mode
from secondlook.page import (
    DEEPEST,
    METADATA_CHARACTERS,
    Badge,
    ModeMark,
    PagePlace,
    badge,
    mode_marks,
    percent,
    segments,
)
from secondlook.review.casefile import CaseFile, ModeView, OtherReview
from secondlook.review.decisions import MarkView
from secondlook.review.queue import Facets, Filters, Line, Order, Progress, QueuePage
from secondlook.review.tables import Kind, Run, Status
from secondlook.schema import Evidence, Span

PART = 100_000
"""Characters of a narrative on one page."""

WORD = 200
"""So many characters before a part's end, a space is looked for to cut at."""

EXCERPT = 160
"""Characters of a marked passage where marks are listed."""

SIGNS = {
    Status.OPEN: "○",
    Status.TAKEN: "◐",
    Status.FINISHED: "✓",
    Status.DISPUTED: "≠",
    Status.SETTLED: "✓",
}

ORDERS = (
    (Order.RANK, "of the queue"),
    (Order.UNCERTAIN, "of most doubt"),
    (Order.DIVERSE, "of most variety"),
    (Order.RANDOM, "of chance"),
)

CASE_KEYS = (
    ("j k", "next, previous mark in the text"),
    ("1 – 9", "go to a mode by its number"),
    ("c r u", "confirm, reject, unsure; then on to the next mode that needs a verdict"),
    ("t", "take the verdict back"),
    ("w", "write why"),
    ("s S", "select the next, previous sentence; Shift with an arrow key changes the selection"),
    ("m", "mark the selection for a mode, by its number"),
    ("d", "remove the mark that you are on"),
    ("n", "write a note"),
    ("z", "undo"),
    ("f", "finish, and open the next case"),
    ("o", "open a finished case again"),
    ("l", "leave it, for others or for later, and open the next case"),
    ("q", "back to the queue"),
    ("p", "print view"),
)
"""What keys do on a case, as ``case.js`` has it."""

QUEUE_KEYS = (
    ("j k", "next, previous case"),
    ("Enter", "open the case"),
    ("g", "read the next case"),
    ("n p", "next, previous page"),
    ("/", "search"),
    ("f", "filters"),
    ("x", "clear the filters"),
)
"""What keys do in a queue, as ``desk.js`` has it."""


# --- Addresses ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cases are asked for, and in what order the next one comes; the same on every page that follows.

    ``usual`` is the order where an address names none.
    """

    filters: Filters = field(default_factory=Filters)
    order: Order = Order.RANK
    usual: Order = Order.RANK

    @property
    def query(self) -> str:
        """As the query of an address, with its question mark; empty where nothing is asked for."""
        given = self.filters
        pairs = [
            ("mode", given.mode),
            ("status", given.status),
            ("reviewer", given.reviewer),
            ("since", given.since and given.since.isoformat()),
            ("until", given.until and given.until.isoformat()),
            *((FIELD + name, value) for name, value in given.fields),
            ("text", given.text),
            ("audit", "1" if given.audit else None),
            ("order", None if self.order == self.usual else self.order),
        ]
        return with_query("", pairs)


FIELD = "field."
"""What the name of a field's filter begins with."""

LONGEST = 300
"""Characters of a value to filter by."""


def with_query(path: str, pairs: Iterable[tuple[str, object]]) -> str:
    """An address with those values that are given.

    >>> with_query("/queues/1", [("page", 2), ("mode", None), ("text", "a b")])
    '/queues/1?page=2&text=a+b'
    """
    query = urlencode([(name, str(value)) for name, value in pairs if value not in (None, "")])
    return f"{path}?{query}" if query else path


def asked_of(params: QueryParams, order: str = Order.RANK) -> Asked:
    """What an address asks for.

    Args:
        params: of its query; an empty value is none.
        order: where it names none.

    Raises:
        HTTPException: 422, a value is none that can be asked for.
    """
    values = {name: value.strip() for name, value in params.multi_items() if value.strip()}
    if long := [name for name, value in values.items() if len(name) > LONGEST or len(value) > LONGEST]:
        raise HTTPException(422, f"{long[0][:40]}: is too long to look for; {LONGEST} characters are the most")
    fields = tuple((name.removeprefix(FIELD), value) for name, value in values.items() if name.startswith(FIELD))
    filters = Filters(
        mode=values.get("mode"),
        status=Status(_one_of("status", values["status"], Status)) if "status" in values else None,
        reviewer=values.get("reviewer"),
        since=_day(values, "since"),
        until=_day(values, "until"),
        fields=fields,
        text=values.get("text"),
        audit="audit" in values,
    )
    return Asked(filters, Order(_one_of("order", values.get("order", order), Order)), Order(order))


def number_of(params: QueryParams, name: str, default: int) -> int:
    """A whole number from 0 in an address.

    Raises:
        HTTPException: 422, it is none.
    """
    given = params.get(name, "").strip()
    if not given:
        return default
    if not (given.isascii() and given.isdigit()) or len(given) > 9:
        raise HTTPException(422, f"{name}: give a whole number")
    return int(given)


def _one_of(name: str, value: str, known: Iterable[str]) -> str:
    if value not in list(known):
        raise HTTPException(422, f"{name}: is one of {', '.join(known)}")
    return value


def _day(values: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(values[name]) if name in values else None
    except ValueError:
        raise HTTPException(422, f"{name}: give a day such as 2026-03-01") from None


# --- The queue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A run in the list of queues."""

    run: Run
    progress: Progress


@dataclass(frozen=True, slots=True)
class LineView:
    """A case in the queue."""

    href: str
    case_id: str
    rank: int
    explanation: str
    received: datetime | None
    flags: tuple[tuple[ModeMark, str], ...]
    status: str
    sign: str
    copies: int
    drawn_for_audit: bool
    reviewers: tuple[str, ...]
    blind: bool


@dataclass(frozen=True, slots=True)
class QueueView:
    """A page of the queue."""

    run_id: int
    name: str
    asked: Asked
    found: QueuePage
    progress: Progress
    facets: Facets
    lines: tuple[LineView, ...]
    modes: tuple[tuple[ModeMark, str], ...]

    statuses = tuple(Status)
    orders = ORDERS

    @property
    def filters(self) -> Filters:
        """Which cases are asked for."""
        return self.asked.filters

    @property
    def filtered(self) -> bool:
        """Whether not all cases are asked for."""
        return self.filters != Filters()

    @property
    def filtered_further(self) -> bool:
        """Whether one of the less usual filters is set."""
        given = self.filters
        return bool(given.reviewer or given.since or given.until or given.fields or given.audit)

    @property
    def near(self) -> list[int]:
        """The numbers of the pages to link to; 0 stands for a gap."""
        return PagePlace(self.found.page, range(self.found.pages)).near

    def href(self, number: int) -> str:
        """The address of another page."""
        base = f"/queues/{self.run_id}{self.asked.query}"
        return base if number == 1 else f"{base}{'&' if self.asked.query else '?'}page={number}"

    def chosen(self, name: str) -> str:
        """What a field is to hold."""
        return dict(self.filters.fields).get(name, "")


def queue_view(run: Run, asked: Asked, found: QueuePage, progress: Progress, facets: Facets) -> QueueView:
    """A page of a run's queue."""
    marks = marks_of(run)
    return QueueView(
        run_id=run.id,
        name=run.name,
        asked=asked,
        found=found,
        progress=progress,
        facets=facets,
        lines=tuple(_line(line, marks, asked) for line in found.lines),
        modes=tuple((mark, mode) for mode, mark in marks.items()),
    )


def marks_of(run: Run) -> dict[str, ModeMark]:
    """How each mode of a run looks, by its id."""
    return mode_marks(Codebook.model_validate(run.codebook))


def _line(line: Line, marks: Mapping[str, ModeMark], asked: Asked) -> LineView:
    return LineView(
        href=f"/cases/{line.id}{asked.query}",
        case_id=line.case_id,
        rank=line.rank,
        explanation="" if line.blind else line.explanation,
        received=line.received,
        flags=tuple((marks[mode], percent(score)) for mode, score in line.flags if mode in marks),
        status=line.status,
        sign=SIGNS[Status(line.status)],
        copies=line.copies,
        drawn_for_audit=line.drawn_for_audit,
        reviewers=tuple(line.reviewers),
        blind=line.blind,
    )


# --- The narrative ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Marked(Evidence):
    """A passage that a person marked; ``by`` is what they are called."""

    key: int = 0
    by: str = "you"


@dataclass(frozen=True, slots=True)
class LayerView:
    """A mode that a piece of text shows: by the model, with its share of the score, or by a person."""

    mark: ModeMark
    share: str
    own: bool


@dataclass(frozen=True, slots=True)
class PieceView:
    """Text over which evidence and marks do not change; white space at its ends stays outside the mark.

    ``start`` and ``length`` are of all of it, in code points. ``stop`` says that a passage begins here, ``marks`` are
    the keys of the person's own marks on it.
    """

    start: int
    length: int
    before: str
    text: str
    after: str
    layers: tuple[LayerView, ...]
    marks: tuple[int, ...]
    stop: bool
    label: str


def parts_of(text: str) -> list[Span]:
    """The parts in which a narrative is shown; they tile it, and end after a space where there is one.

    >>> parts_of("")
    [Span(start=0, end=0)]
    """
    parts, start = [], 0
    while len(text) - start > PART:
        end = start + PART
        cut = max(text.rfind(space, end - WORD, end) for space in " \n")
        end = cut + 1 if cut > 0 else end
        parts.append(Span(start, end))
        start = end
    return [*parts, Span(start, len(text))]


def pieces_of(text: str, part: Span, shown: Sequence[Evidence], marks: Mapping[str, ModeMark]) -> list[PieceView]:
    """A part of a narrative, cut into pieces that tile it.

    Args:
        text: the whole narrative.
        part: what of it is shown.
        shown: evidence, and passages that people marked.
        marks: how each mode looks.
    """
    offset, length = part.start, part.end - part.start
    inside = [item for item in shown if item.span.overlap(part)]
    moved = {id(item): Span(item.span.start - offset, item.span.end - offset) for item in inside}
    local = [_moved(item, moved[id(item)]) for item in inside]
    return [
        _piece(text[offset + start : offset + end], offset + start, own, marks, _begins(own, start))
        for start, end, own in segments(length, local)
    ]


def _moved(item: Evidence, span: Span) -> Evidence:
    if isinstance(item, Marked):
        return Marked(item.mode, span, item.share, item.key, item.by)
    return Evidence(item.mode, span, item.share)


def _begins(evidence: Sequence[Evidence], start: int) -> bool:
    return any(max(0, item.span.start) == start for item in evidence)


def _piece(
    text: str, start: int, evidence: Sequence[Evidence], marks: Mapping[str, ModeMark], begins: bool
) -> PieceView:
    core = text.strip()
    if not core or not evidence:
        return PieceView(start, len(text), text, "", "", (), (), False, "")
    before = text[: len(text) - len(text.lstrip())]
    people = [item for item in evidence if isinstance(item, Marked)]
    shares: dict[str, float] = {}
    for item in evidence:
        if not isinstance(item, Marked):
            shares[item.mode] = shares.get(item.mode, 0.0) + item.share
    model = [LayerView(marks[mode], percent(shares[mode]), False) for mode in marks if mode in shares]
    own = [LayerView(marks[mode], "marked", True) for mode in marks if mode in {item.mode for item in people}]
    said = [f"evidence for {layer.mark.title}, {layer.share} of the score" for layer in model]
    said += [f"marked by {item.by} for {marks[item.mode].title}" for item in people]
    return PieceView(
        start=start,
        length=len(text),
        before=before,
        text=core,
        after=text[len(before) + len(core) :],
        layers=(*own, *model),
        marks=tuple(item.key for item in people if item.key),
        stop=begins,
        label="; ".join(said),
    )


# --- A case -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModeForm:
    """What there is to decide on one mode.

    ``badge`` is None where the model's word is hidden, ``needed`` says that the review cannot be finished without a
    verdict, ``open`` that one may be given.
    """

    id: str
    mark: ModeMark
    definition: str
    badge: Badge | None
    needed: bool
    open: bool
    verdict: str
    reason: str

    @property
    def flagged(self) -> bool:
        """Whether it is shown as flagged."""
        return self.badge is not None and self.badge.flagged


@dataclass(frozen=True, slots=True)
class PassageView:
    """A passage that somebody marked, as it is listed."""

    id: int
    mode: str
    mark: ModeMark
    start: int
    end: int
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What one reviewer said of one mode."""

    verdict: str
    reason: str
    passages: tuple[PassageView, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """What the reviewers of a case said of one mode, beside each other."""

    mark: ModeMark
    differ: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case, as its page and its print view show it: what is on file, and how.

    ``part`` is what of the narrative is shown, ``depth`` how many lines it has room for. Where no mode is flagged,
    ``standing_in`` is the one whose evidence is shown.
    """

    file: CaseFile
    addresses: Addresses
    parts: tuple[Span, ...]
    part: Span
    pieces: tuple[PieceView, ...]
    depth: int
    standing_in: ModeMark | None
    modes: tuple[ModeForm, ...]
    marks: tuple[PassageView, ...]
    compared: tuple[Compared, ...]
    before: str | None
    after: str | None

    @property
    def number(self) -> int:
        """Which part is shown, from 1."""
        return self.parts.index(self.part) + 1

    def part_href(self, number: int) -> str | None:
        """The address of another part; None where there is none."""
        inside = 1 <= number <= len(self.parts)
        return self.addresses.page(at=self.parts[number - 1].start) if inside else None

    @property
    def marks_key(self) -> str:
        """Which marks are drawn; ``case.js`` makes the same."""
        return ",".join(f"{mark.id} {mark.mode} {mark.start} {mark.end}" for mark in self.marks)

    @property
    def details(self) -> list[tuple[str, str]]:
        """The input's own columns, long values cut."""
        values = ((name, str(value or "").strip() or "not given") for name, value in self.file.details.items())
        return [(name, _cut(value, METADATA_CHARACTERS)) for name, value in values]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a case's page leads to."""

    case: int
    run: int
    asked: Asked
    kind: str = ""

    def page(self, kind: str | None = None, at: int | None = None) -> str:
        """The case's own page or another ``kind`` of it, with a place in the narrative."""
        path = f"/cases/{self.case}{self.kind if kind is None else kind}{self.asked.query}"
        return path if at is None else f"{path}{'&' if self.asked.query else '?'}at={at}"

    def place(self, at: int) -> str:
        """The case's page, where a passage begins."""
        return f"{self.page('', at)}#at-{at}"

    @property
    def queue(self) -> str:
        """The queue that the case was opened from."""
        return f"/queues/{self.run}{self.asked.query}"

    @property
    def next(self) -> str:
        """What leads to the next case."""
        return f"/queues/{self.run}/next{self.asked.query}"

    @property
    def api(self) -> str:
        """Where what is decided goes."""
        return f"/api/cases/{self.case}"


def case_view(file: CaseFile, asked: Asked, at: int | None = None, kind: str = "") -> CaseView:
    """A case as a page shows it.

    Args:
        file: the case.
        asked: which cases the person is going through.
        at: the part with this character of the narrative is shown; None takes the one with the first evidence.
        kind: of the page: empty, or the print view's.
    """
    marks = _marks_of(file)
    flagged = [mode for mode, score in file.scores.items() if score.flag]
    highest = None if flagged or not file.scores else max(file.scores, key=lambda mode: file.scores[mode].score)
    wanted = flagged or ([highest] if highest else [])
    evidence = [item for item in file.evidence if item.mode in wanted]
    shown: list[Evidence] = [*evidence, *_marked(file)]
    first = min((item.span.start for item in evidence), default=0)
    parts = parts_of(file.narrative)
    part = _part_with(parts, first if at is None else at)
    pieces = pieces_of(file.narrative, part, shown, marks)
    before = [item.span.start for item in shown if item.span.end <= part.start]
    after = [item.span.start for item in shown if item.span.start >= part.end]
    addresses = Addresses(file.id, file.run_id, asked, kind)
    return CaseView(
        file=file,
        addresses=addresses,
        parts=tuple(parts),
        part=part,
        pieces=tuple(pieces),
        depth=min(DEEPEST, max((len(piece.layers) for piece in pieces), default=0)),
        standing_in=marks[highest] if highest and evidence else None,
        modes=tuple(_mode(file, mode, marks[mode.id]) for mode in file.modes),
        marks=tuple(_passage(file, marks, mark, addresses) for mark in (file.review.marks if file.review else ())),
        compared=tuple(_compared(file, marks, addresses)) if file.others else (),
        before=addresses.place(max(before)) if before else None,
        after=addresses.place(min(after)) if after else None,
    )


def _marks_of(file: CaseFile) -> dict[str, ModeMark]:
    modes = tuple(Mode(id=mode.id, title=mode.title, definition=mode.definition) for mode in file.modes)
    return mode_marks(Codebook(name=file.run_name, version="", modes=modes))


def _marked(file: CaseFile) -> list[Marked]:
    own = [
        Marked(one.mode, Span(one.start, one.end), 0.0, one.id) for one in (file.review.marks if file.review else ())
    ]
    return own + [
        Marked(one.mode, Span(one.start, one.end), 0.0, by=other.reviewer)
        for other in file.others
        for one in other.state.marks
    ]


def _part_with(parts: Sequence[Span], at: int) -> Span:
    return next((part for part in parts if at < part.end), parts[-1])


def _mode(file: CaseFile, mode: ModeView, mark: ModeMark) -> ModeForm:
    score = file.scores.get(mode.id)
    verdict, reason = file.review.decisions.get(mode.id, ("", "")) if file.review else ("", "")
    return ModeForm(
        id=mode.id,
        mark=mark,
        definition=mode.definition,
        badge=badge(mark, score.score, (score.low, score.high), score.flag) if score else None,
        needed=mode.id in file.to_decide,
        open=mode.id in file.to_decide or not (file.review and file.review.kind == Kind.ADJUDICATION),
        verdict=verdict,
        reason=reason,
    )


def _passage(file: CaseFile, marks: Mapping[str, ModeMark], mark: MarkView, addresses: Addresses) -> PassageView:
    words = " ".join(file.narrative[mark.start : min(mark.end, mark.start + 2 * EXCERPT)].split())
    href = addresses.place(mark.start)
    return PassageView(mark.id, mark.mode, marks[mark.mode], mark.start, mark.end, _cut(words, EXCERPT), href)


def _compared(file: CaseFile, marks: Mapping[str, ModeMark], addresses: Addresses) -> Iterator[Compared]:
    for mode, mark in marks.items():
        cells = tuple(_cell(file, other, mode, marks, addresses) for other in file.others)
        yield Compared(mark, mode in file.disputed, cells)


def _cell(file: CaseFile, other: OtherReview, mode: str, marks: Mapping[str, ModeMark], addresses: Addresses) -> Cell:
    verdict, reason = other.state.decisions.get(mode, ("", ""))
    own = tuple(_passage(file, marks, one, addresses) for one in other.state.marks if one.mode == mode)
    return Cell(verdict, reason, own)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
