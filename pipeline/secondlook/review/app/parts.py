"""Parts: which figures are told together, in which words? A part has a title, a picture, and a table of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from secondlook.review.agreement import Agreement, ArmsCompared
from secondlook.review.app.pictures import Number, Picture, Row, between, picture, whole
from secondlook.review.estimates import Figure, share
from secondlook.review.figures import Figures, FlagPrecision, Left, Pace, Times
from secondlook.review.missed import Audit, Missed
from secondlook.review.patterns import MONTH, MOST_MONTHS, MOST_VALUES, Column, Count, Patterns

HIDDEN = "not\u00a0shown"


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers: column heads, and rows that begin with what they are of."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Part:
    """What is told together: sentences, pictures where there is something to draw, the numbers, and what to mind."""

    title: str
    lead: Sequence[str]
    pictures: Sequence[Picture]
    table: Table
    notes: Sequence[str] = ()


def figure_parts(figures: Figures) -> list[Part]:
    """All figures of a run, in the order to read them."""
    own = _people(figures.reviewers, "Reviewer", "By reviewer, all modes together")
    return [
        _left(figures.left, figures.pace),
        _pace(figures.pace),
        _times(figures.everybody, figures.times),
        _flags(figures.flags),
        _missed(figures.audit, figures.flags),
        _agreement(figures.modes),
        *([own] if figures.reviewers else []),
        *([_people(figures.pairs, "Pair", "By pair, all modes together")] if figures.pairs else []),
        _arms(figures.arms),
    ]


def pattern_part(patterns: Patterns, below: int) -> Part:
    """Patterns across cases; ``below`` is from where on a count is shown."""
    done = "flagged" if patterns.count is Count.FLAGGED else "confirmed"
    title = f"Cases {done}, by {patterns.by}"
    if not patterns.cases:
        which = "cases on this queue" if patterns.count is Count.FLAGGED else "cases that were read to the end"
        return Part(title, [f"There are fewer than {below} {which}: nothing is shown."], [], Table(title, [], []))
    drawn = [_pattern_picture(mode, column, patterns) for mode, column in patterns.modes]
    of = "cases" if patterns.count is Count.FLAGGED else "cases read"
    rows = [
        [row, f"{cases:,}", *(_part_of(column.counts[place], cases) for _, column in patterns.modes)]
        for place, (row, cases) in enumerate(zip(patterns.rows, patterns.cases, strict=True))
    ]
    every = sum(patterns.cases)
    total = ["all", f"{every:,}", *(_part_of(column.total, every) for _, column in patterns.modes)]
    named = f"the latest {MOST_MONTHS}" if patterns.by == MONTH else f"the {MOST_VALUES} most frequent"
    notes = [
        f"Values that fewer than {below} cases have are counted together and not named, and so are all but {named}. Of "
        f"the others, a count under {below} is {HIDDEN}, and neither are those from which it could be worked out.",
        "A case may show several modes, so that modes do not add up. Near-copies are counted once.",
        "The line on a bar is the range that chance alone leaves, by so few cases (95%).",
    ]
    heads = [patterns.by, of, *(mode for mode, _ in patterns.modes)]
    return Part(title, [], [one for one in drawn if one], Table(title, heads, [*rows, total]), notes)


def shown_share(figure: Figure) -> str:
    """A share and its interval, in per cent; or why there is none.

    >>> shown_share(Figure(0.75, 0.61, 0.852))
    '75% (61% to 85%)'
    """
    if figure.value is None:
        return figure.why
    reach = "" if figure.low is None or figure.high is None else f" ({_percent(figure.low)} to {_percent(figure.high)})"
    return _percent(figure.value) + reach


def shown_seconds(seconds: float) -> str:
    """A time.

    >>> shown_seconds(125.2), shown_seconds(59), shown_seconds(3725)
    ('2 min 5 s', '59 s', '1 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _left(left: Left, pace: Pace) -> Part:
    states = {
        "finished": left.finished,
        "settled by an adjudicator": left.settled,
        "disputed, for an adjudicator": left.disputed,
        "taken": left.taken,
        "open": left.open,
    }
    lead = [f"Done: {left.done:,} of {left.done + left.undone:,} cases. Left: {left.undone:,}."]
    if left.undone and pace.a_day.value is not None and pace.days_left.value is not None:
        days = ceil(pace.days_left.value)
        done = f"{pace.a_day.value:,.{0 if pace.a_day.value >= 10 else 1}f}"
        lead.append(f"On days with work, {done} cases were done: the rest takes {days:,} such days.")
    elif left.undone:
        lead.append(f"How long the rest takes cannot be said: {pace.days_left.why}.")
    rows = [Row(name, f"{count:,}", [Number("bar", count)]) for name, count in states.items()]
    drawn = picture("Cases, by how far they are", rows)
    table = Table("Cases, by how far they are", ["State", "Cases"], [[row.name, row.words] for row in rows])
    copies = f"{left.copies:,} near-copies are read with the cases that they copy, and are not among them."
    return Part("What is left", lead, _drawn(drawn), table, [copies] if left.copies else [])


def _pace(pace: Pace) -> Part:
    title = "Cases done a day"
    rows = [Row(day.isoformat(), f"{count:,}", [Number("bar", count)]) for day, count in pace.days]
    if pace.a_day.value is None:
        return Part(title, [_sentence(pace.a_day.why)], [], Table(title, [], []))
    table = Table(title, ["Day (UTC)", "Cases"], [[row.name, row.words] for row in rows])
    return Part(title, [], _drawn(picture(title, rows)), table, ["A case is done on the day of its last review."])


def _times(everybody: Times | None, people: Sequence[tuple[str, Times]]) -> Part:
    title = "Time a case"
    if everybody is None:
        return Part(title, ["No case was finished yet."], [], Table(title, [], []))
    named = [("all", everybody), *people]
    rows = [
        Row(name, shown_seconds(own.median), [Number("dot", own.median, own.lower, own.upper)]) for name, own in named
    ]
    heads = ["Reviewer", "Reviews", "a quarter took at most", "half", "three quarters"]
    cells = [
        [name, f"{own.reviews:,}", *(shown_seconds(time) for time in (own.lower, own.median, own.upper))]
        for name, own in named
    ]
    lead = [f"Half of the reviews took {shown_seconds(everybody.median)} or less."]
    notes = ["Adjudications apart. Long pauses are not counted whole. The dot is the median, in seconds on the axis."]
    return Part(title, lead, _drawn(picture(title, rows)), Table(title, heads, cells), notes)


def _flags(flags: Iterable[FlagPrecision]) -> Part:
    title = "Flags that were confirmed"
    flags = list(flags)
    heads = ["Mode", "flagged", "confirmed", "rejected", "unsure", "disputed", "share confirmed"]
    cells = [
        [
            own.title,
            *(f"{count:,}" for count in (own.flagged, own.confirmed, own.rejected, own.unsure, own.disputed)),
            shown_share(own.share),
        ]
        for own in flags
    ]
    notes = [
        "The share is of the flags that were confirmed or rejected: the precision of the flags among those reviewed. "
        "These are mostly the first of the queue; flags further down may hold less often.",
    ]
    drawn = _shares(title, ((own.title, own.share) for own in flags))
    return Part(title, [], drawn, Table(title, heads, cells), notes)


def _missed(audit: Audit, flags: Iterable[FlagPrecision]) -> Part:
    title = "What was missed"
    elsewhere = {own.title: own.unflagged for own in flags}
    why = _one_reason(own.estimate for own in audit.modes)
    lead = [_sentence(why)] if why else []
    if audit.drawn:
        drawn = f"Of {audit.population:,} cases that nobody would read, {audit.drawn:,} were drawn at random"
        lead.insert(0, f"{drawn}; {audit.read:,} of these have been read.")
    rows = [Row(own.title, _estimate(own), _numbers("dot", own.estimate)) for own in audit.modes]
    heads = [
        "Mode",
        "found in the audit",
        "unsure",
        "estimated of all",
        "confirmed without a flag elsewhere",
    ]
    cells = [
        [
            own.title,
            f"{own.found:,}",
            f"{own.unsure:,}",
            "–" if why else _estimate(own),
            f"{elsewhere[own.title] - own.found:,}",
        ]
        for own in audit.modes
    ]
    notes = [
        "How many of the cases that nobody would read hold a mode that was not flagged. Each case of the audit stands "
        "for as many as its chance of being drawn says. A mode that the reviewer left undecided counts as not found.",
    ]
    return Part(title, lead, _drawn(picture(title, rows)), Table(title, heads, cells), notes)


def _agreement(modes: Iterable[Agreement]) -> Part:
    part = _people(modes, "Mode", "Agreement of two who read the same case")
    notes = [
        "Neither saw what the other decided. Alpha is Krippendorff’s: agreement beyond chance, 1 where all agree, 0 "
        "where they do as often as chance would have it. A mode that was not flagged and that a reviewer left "
        "undecided counts as rejected; unsure differs from both.",
    ]
    return Part(part.title, part.lead, part.pictures, part.table, notes if part.table.rows else [])


def _people(agreements: Iterable[Agreement], head: str, title: str) -> Part:
    agreements = list(agreements)
    if why := _one_reason(own.share for own in agreements):
        return Part(title, [_sentence(why)], [], Table(title, [], []))
    heads = [head, "verdicts compared", "the same", "share", "alpha"]
    cells = [
        [
            own.name,
            f"{own.compared:,}",
            HIDDEN if own.share.value is None and own.compared else f"{own.same:,}",
            shown_share(own.share),
            _alpha(own.alpha),
        ]
        for own in agreements
    ]
    drawn = _shares(title, ((own.name, own.share) for own in agreements))
    return Part(title, [], drawn, Table(title, heads, cells))


def _arms(arms: Iterable[ArmsCompared]) -> Part:
    title = "What the model’s word does"
    arms = list(arms)
    if why := _one_reason(own.difference for own in arms):
        return Part(title, [_sentence(why)], [], Table(title, [], []))
    heads = ["Mode", "flagged cases read both ways", "confirmed, flags seen", "confirmed, flags unseen", "difference"]
    rows, cells = [], []
    for own in arms:
        kept_back = own.difference.value is None
        prompted, unprompted = (share(count, own.cases, "") for count in (own.prompted, own.unprompted))
        seen, unseen = ("–", "–") if kept_back else (shown_share(prompted), shown_share(unprompted))
        cells.append([own.title, f"{own.cases:,}", seen, unseen, _difference(own.difference)])
        numbers = [] if kept_back else [*_numbers("dot", prompted), *_numbers("square", unprompted)]
        rows.append(Row(own.title, _difference(own.difference), numbers))
    lead = [
        "How often a flag is confirmed by a reviewer who sees it (dot), and by another who reads the same case without "
        "the model’s word (square)."
    ]
    notes = ["The difference is in percentage points. Above 0, seeing a flag makes people confirm it more often."]
    return Part(title, lead, _drawn(picture(title, rows, most=1)), Table(title, heads, cells), notes)


def _pattern_picture(mode: str, column: Column, patterns: Patterns) -> Picture | None:
    counts = zip(patterns.rows, column.counts, patterns.cases, strict=True)
    rows = [
        Row(name, _part_of(count, cases), _numbers("bar", share(count, cases, "")))
        for name, count, cases in counts
        if count is not None
    ]
    hidden = [Row(f"{column.counts.count(None)} more", HIDDEN)] if None in column.counts else []
    return picture(mode, [*rows, *hidden], most=1)


def _shares(title: str, shares: Iterable[tuple[str, Figure]]) -> list[Picture]:
    rows = [Row(name, shown_share(figure), _numbers("dot", figure)) for name, figure in shares]
    return _drawn(picture(title, rows, most=1))


def _numbers(shape: str, figure: Figure) -> list[Number]:
    return [] if figure.value is None else [Number(shape, figure.value, figure.low, figure.high)]


def _drawn(drawn: Picture | None) -> list[Picture]:
    return [drawn] if drawn else []


def _part_of(count: int | None, cases: int) -> str:
    return HIDDEN if count is None else f"{count:,} of {cases:,} ({_percent(count / cases)})"


def _estimate(missed: Missed) -> str:
    figure = missed.estimate
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.why
    return f"about {whole(figure.value)} ({between(figure.low, figure.high)})"


def _alpha(figure: Figure) -> str:
    if figure.value is None:
        return figure.why
    reach = "" if figure.low is None or figure.high is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.value:.2f}{reach}" + (f"; {figure.why}" if figure.why else "")


def _difference(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.why
    value, low, high = (f"{round(100 * number):+d}" for number in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _percent(part: float) -> str:
    """Whole per cent; 0% and 100% only where it is that.

    The counts stand beside it, so that nobody takes a rounded share for all.
    """
    rounded = round(100 * part)
    if 0 < part < 0.005:
        return "<1%"
    return ">99%" if 0.995 < part < 1 else f"{rounded}%"


def _one_reason(figures: Iterable[Figure]) -> str:
    """Why none of some figures is known, where that is the same for all."""
    reasons = {figure.why if figure.value is None else "" for figure in figures}
    return reasons.pop() if len(reasons) == 1 else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
