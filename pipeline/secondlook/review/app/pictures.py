"""Pictures: how do a few numbers look? Drawn as SVG that needs neither script nor style attribute.

A picture is a row for each number, with its name and the number in words above what is drawn. Shapes tell things
apart, not colours: a bar is a count, a dot or a square a number, a line the interval about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDTH = 480
"""In user units, of the whole picture."""

ROW = 40
"""In user units, of one row."""

LONGEST_NAME = 40
"""Characters of a name; the table beneath has all of it."""

_EDGE = 7
"""Room for a dot that lies on the end of the axis."""


@dataclass(frozen=True, slots=True)
class Number:
    """What to draw in a row: a number, with the interval about it. ``shape`` is bar, dot or square."""

    shape: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its name, its numbers in words, and as they are to be drawn; none where nothing is known."""

    name: str
    words: str
    numbers: Sequence[Number] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A number in its place: ``x`` and ``y`` of its middle, ``start`` where the axis is 0, and the interval's ends."""

    kind: str
    x: str
    y: str
    start: str
    width: str
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A row in its place."""

    name: str
    words: str
    top: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, as the template draws it; ``ticks`` are places on the axis with what stands there."""

    title: str
    description: str
    rows: tuple[DrawnRow, ...]
    ticks: tuple[tuple[str, str], ...]
    height: int


def picture(title: str, rows: Sequence[Row], most: float | None = None) -> Picture | None:
    """Draw rows of numbers; None where no row has one.

    Args:
        title: of the picture.
        rows: from top to bottom.
        most: where the axis ends: 1 for shares, which it shows in per cent; None for counts, as far as they go.
    """
    numbers = [number for row in rows for number in row.numbers]
    if not numbers:
        return None
    end = most or round_up(max(number.high or number.value for number in numbers))
    ticks = [(0.0, "0%"), (0.5, "50%"), (1.0, "100%")] if most == 1 else [(0.0, "0"), (end, f"{end:,.0f}")]
    return Picture(
        title=title,
        description="; ".join(f"{row.name}: {row.words}" for row in rows) + ".",
        rows=tuple(_drawn(row, place, end) for place, row in enumerate(rows)),
        ticks=tuple((_place(value, end), words) for value, words in ticks),
        height=len(rows) * ROW + 20,
    )


def round_up(value: float) -> float:
    """The end of an axis of counts: 1, 2 or 5 times a power of ten.

    >>> round_up(3), round_up(17), round_up(512), round_up(0)
    (5, 20, 1000, 1)
    """
    if value <= 1:
        return 1
    power: int = 10 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def shortened(name: str) -> str:
    """A name that fits into a picture.

    >>> shortened("a" * 50)[-3:]
    'aa…'
    """
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _drawn(row: Row, place: int, end: float) -> DrawnRow:
    top = place * ROW
    return DrawnRow(shortened(row.name), row.words, top, tuple(_shapes(row.numbers, top, end)))


def _shapes(numbers: Sequence[Number], top: int, end: float) -> Iterable[Shape]:
    for turn, number in enumerate(numbers):
        # Two numbers of a row would hide each other.
        y = top + 27 + (turn * 10 - 5 if len(numbers) > 1 else 0)
        low, high = (None if limit is None else _place(limit, end) for limit in (number.low, number.high))
        start, x = _place(0, end), _place(number.value, end)
        yield Shape(number.shape, x, str(y), start, f"{float(x) - float(start):.1f}", low, high)


def _place(value: float, end: float) -> str:
    """Where a value lies on the axis; what is beyond its ends, there."""
    return f"{_EDGE + (WIDTH - 2 * _EDGE) * min(max(value / end, 0), 1):.1f}"


def whole(value: float) -> str:
    """A count that may have been estimated.

    >>> whole(1234.4)
    '1,234'
    """
    return f"{value:,.0f}"


def between(low: float, high: float) -> str:
    """An interval of counts, in whole numbers around it.

    >>> between(3.2, 1204.1)
    '3 to 1,205'
    """
    return f"{floor(low):,} to {ceil(high):,}"
