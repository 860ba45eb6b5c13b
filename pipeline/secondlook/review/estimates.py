"""Estimates: what do a few counts say of the whole, and how surely? Pure arithmetic, without the desk.

A figure that cannot be computed says why, and is never 0 or NaN. Intervals are of 95 per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95
FEWEST_FOR_ALPHA = 20
"""Cases from which on alpha is given an interval: resamples of fewer say little."""

RESAMPLES = 1000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and the interval in which it may well lie; where one of them is None, ``why`` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


def unknown(why: str) -> Figure:
    """A figure that cannot be computed, and why."""
    return Figure(None, why=why)


def share(part: int, whole: int, why: str) -> Figure:
    """A part of a whole, with Wilson's interval (1927); ``why`` is what to say where the whole is 0.

    >>> share(9, 10, "nothing was read yet")
    Figure(value=0.9, low=0.5958499732047615, high=0.9821237869049271, why='')
    >>> share(0, 0, "nothing was read yet").why
    'nothing was read yet'
    """
    if not whole:
        return unknown(why)
    interval = binomtest(part, whole).proportion_ci(CONFIDENCE, method="wilson")
    return Figure(part / whole, float(interval.low), float(interval.high))


def paired_difference(both: int, first: int, second: int, neither: int, why: str) -> Figure:
    """How much more often the first of two says yes, where both were asked of the same cases.

    The interval is method 10 of Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data" (Statistics in Medicine 17, 1998).

    Args:
        both: cases where both say yes.
        first: cases where only the first does.
        second: cases where only the second does.
        neither: cases where none does.
        why: what to say where there is no case.
    """
    whole = both + first + second + neither
    one, other = share(both + first, whole, why), share(both + second, whole, why)
    if one.value is None or other.value is None:
        return unknown(why)
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    excess = both * neither - first * second
    corrected = max(excess - whole / 2, 0) if excess > 0 else excess
    phi = corrected / sqrt(product) if product else 0.0
    value = one.value - other.value
    return Figure(
        value,
        value - _combined(_below(one), _above(other), phi),
        value + _combined(_above(one), _below(other), phi),
    )


def stratified_total(strata: Sequence[tuple[int, int, int]]) -> Figure:
    """How many cases of a population hold something, by a random sample of each of its strata.

    Each case that was read stands for ``size / read`` of its stratum: the inverse of the probability with which it
    came to be read (Horvitz and Thompson 1952). The interval combines Wilson's of every stratum, as Zou, Huang and
    Zhang do, "A note on confidence interval estimation for a linear function of binomial proportions" (Computational
    Statistics & Data Analysis 53, 2009); a stratum that was read whole adds no doubt.

    Args:
        strata: of each, how many of the cases read hold it, how many were read, at least one, and how many there are.
    """
    value, below, above = 0.0, 0.0, 0.0
    for held, seen, size in strata:
        own = share(held, seen, "")
        value += size * (own.value or 0)
        if seen < size:
            below += (size * _below(own)) ** 2
            above += (size * _above(own)) ** 2
    # What was seen is certain.
    low = sum(held for held, _, _ in strata)
    high = low + sum(size - seen for _, seen, size in strata)
    return Figure(value, max(low, value - sqrt(below)), min(high, value + sqrt(above)))


def alpha(tables: Counts) -> float:
    """Krippendorff's alpha (1980) of two readings of every case, where the readers change from case to case.

    Agreement beyond chance: 1 where all agree, 0 where they do as often as chance would have it. Over several modes,
    chance is what it is in each. From counts, so that it needs neither the cases nor NLTK, which
    :mod:`secondlook.agreement` computes the same with.

    Args:
        tables: how often the one said this and the other that. *Shape:* ``(..., modes, verdicts, verdicts)``.

    Returns:
        NaN where all said the same throughout. *Shape:* ``(...)``.
    """
    pairs = tables + np.swapaxes(tables, -1, -2)
    said = pairs.sum(-1)
    every = said.sum(-1)
    differ = every - np.trace(pairs, axis1=-2, axis2=-1)
    by_chance = (every**2 - (said**2).sum(-1)) / np.maximum(every - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - differ.sum(-1) / by_chance.sum(-1)  # type: ignore[no-any-return]


def alpha_figure(tables: Counts, *, interval: bool) -> Figure:
    """:func:`alpha`, with an interval of resampled cases where asked and where there are enough of them.

    Args:
        tables: as there. *Shape:* ``(modes, verdicts, verdicts)``.
        interval: give one.
    """
    cases = int(tables.sum())
    if not cases:
        return unknown("no case was read twice yet")
    value = float(alpha(tables))
    if np.isnan(value):
        return unknown("every verdict is the same: agreement cannot be told from chance")
    if not interval:
        return Figure(value)
    if cases < FEWEST_FOR_ALPHA:
        return Figure(value, why=f"no interval: fewer than {FEWEST_FOR_ALPHA} cases")
    if value == 1:
        return Figure(value, why="no interval: no disagreement yet")
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(int(one.sum()), (one / max(one.sum(), 1)).ravel(), RESAMPLES) for one in tables]
    resampled = np.stack(drawn, axis=1).reshape(RESAMPLES, *tables.shape)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(alpha(resampled), [tail, 1 - tail])
    return Figure(value, float(low), float(high))


def _below(figure: Figure) -> float:
    return (figure.value or 0) - (figure.low or 0)


def _above(figure: Figure) -> float:
    return (figure.high or 0) - (figure.value or 0)


def _combined(one: float, other: float, phi: float) -> float:
    return sqrt(one**2 - 2 * phi * one * other + other**2)
