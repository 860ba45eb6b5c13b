"""The card of a bundle and its page of figures: what it is, what it was measured on, what it is not for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from secondlook.bundle import load_bundle
from secondlook.config import TrainConfig
from secondlook.errors import BundleError
from secondlook.figures import draw, svg

CARD = "README.md"
PAGE = "evaluation.html"


def card(config: TrainConfig) -> Path:
    """Write the card and the page of figures of the configuration's bundle; returns its folder.

    Raises:
        BundleError: the bundle is missing or has not been evaluated.
    """
    folder = config.bundle
    bundle = load_bundle(folder)
    summary = _read_summary(folder)
    text = _environment(escape=False).get_template("card.md.jinja").render(bundle=bundle, summary=summary)
    (folder / CARD).write_text(text, encoding="utf-8", newline="\n")
    write_page(folder, f"{bundle.provenance.name}: evaluation", summary)
    return folder


def write_page(folder: Path, title: str, summary: dict[str, Any]) -> None:
    """Write ``evaluation.html`` from the measures and the curves that lie in a folder."""
    curves: dict[str, Any] = {
        path.stem: pd.read_csv(path).to_dict("records") for path in sorted((folder / "plots").glob("*.csv"))
    }
    drawn = draw({name: rows for name, rows in curves.items() if rows})
    figures = [svg(name, figure) for name, figure in drawn.items()]
    template = _environment(escape=True).get_template("evaluation.html.jinja")
    page = template.render(title=title, summary=summary, figures=figures)
    (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")


def interval(measure: dict[str, float | None]) -> str:
    """A measure with its interval, as a person reads it.

    >>> interval({"value": 0.5, "low": 0.41, "high": 0.592})
    '0.50 (0.41 to 0.59)'
    >>> interval({"value": None, "low": None, "high": None})
    'not defined'
    """
    if measure["value"] is None:
        return "not defined"
    if measure["low"] is None:
        return f"{measure['value']:.2f} (no interval)"
    return f"{measure['value']:.2f} ({measure['low']:.2f} to {measure['high']:.2f})"


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if not summary.keys() >= {"measured_on", "modes", "pairs", "slices"}:
            raise ValueError("of an earlier version")
    except (OSError, ValueError, AttributeError):
        raise BundleError(f"{folder}: has not been evaluated; run 'secondlook evaluate' first") from None
    return summary


def _environment(escape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("secondlook"),
        autoescape=escape,  # noqa: S701 (Markdown from our own figures is not escaped)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["interval"] = interval
    environment.filters["words"] = lambda name: name.replace("_", " ")
    return environment
