"""What people read of an evaluation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from secondlook.bundle import default_bundle
from secondlook.terminal import measures_table


@pytest.fixture
def summary() -> dict[str, Any]:
    """What was measured of the bundle that comes with the package."""
    measured: dict[str, Any] = json.loads((default_bundle() / "metrics.json").read_text(encoding="utf-8"))
    return measured


def test_minimal_pairs_stand_below_the_measures(summary: dict[str, Any]) -> None:
    shown = _shown(summary)
    right = summary["pairs"]["all"]["both_right"]
    assert f"{summary['pairs']['all']['pairs']} minimal pairs: both right {right['value']:.2f}" in shown
    assert f"({right['low']:.2f}-{right['high']:.2f})" in shown
    assert summary["interval"] in shown


def test_a_file_without_pairs_has_no_line_for_them(summary: dict[str, Any]) -> None:
    shown = _shown(summary | {"pairs": {}})
    assert "minimal pairs" not in shown
    assert summary["interval"] in shown


def _shown(summary: dict[str, Any]) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(measures_table(summary))
    return capture.get()
