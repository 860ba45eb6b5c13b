"""The card of a bundle: what it is, what it was measured on, what it must not be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from secondlook.bundle import Bundle


def write_card(folder: Path, bundle: Bundle, summary: dict[str, Any]) -> None:
    """Write ``README.md`` beside the bundle from its settings and its evaluation."""
    environment = Environment(  # noqa: S701 (Markdown, from our own figures)
        loader=PackageLoader("secondlook"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["interval"] = interval
    text = environment.get_template("card.md.jinja").render(bundle=bundle, summary=summary)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


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
