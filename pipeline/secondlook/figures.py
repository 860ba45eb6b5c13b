"""Pictures of an evaluation: precision and recall, reliability, and what a review budget finds."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_AXES = {
    "precision_recall": ("recall", "precision", "Precision and recall"),
    "reliability": ("score", "observed", "Reliability: observed share of positives by score"),
    "review_budget": ("read", "found", "Review budget: positives found, by share of the queue read"),
}
_DIAGONALS = {"reliability": "perfectly calibrated", "review_budget": "read at random"}


def draw(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Figure]:
    """A figure for every curve of an evaluation, one line a mode."""
    return {name: _figure(name, rows) for name, rows in curves.items()}


def svg(name: str, figure: Figure) -> str:
    """The figure of a curve as SVG to stand in a page; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "secondlook", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    # Ids are unique within a figure only, and a page has several.
    drawn = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", drawn[drawn.index("<svg") :])
    label = escape(f"{_AXES[name][2]}; the numbers stand in plots/{name}.csv")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _figure(name: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    x, y, title = _AXES[name]
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for mode, style in zip(dict.fromkeys(row["mode"] for row in rows), _styles(), strict=False):
        own = [row for row in rows if row["mode"] == mode]
        axes.plot([row[x] for row in own], [row[y] for row in own], label=mode, **style)
    if name in _DIAGONALS:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label=_DIAGONALS[name])
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize="small")
    return figure


def _styles() -> list[dict[str, Any]]:
    """Lines that differ in colour and in marker, so that neither alone carries the meaning (Okabe and Ito 2008)."""
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
    markers = "osD^vPX*<>"
    return [
        {
            "color": colours[i % len(colours)],
            "marker": markers[i % len(markers)],
            "markevery": 0.1,
            "markersize": 4,
        }
        for i in range(len(colours) * len(markers))
    ]
