"""Every figure of a tiny model, frozen: a change that moves one is meant, or it is a mistake.

    SECONDLOOK_APPROVE=1 pytest tests/behaviour/test_approved_figures.py

writes the figures as they are now; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondlook.bundle import load_bundle
from secondlook.config import BootstrapConfig, TrainConfig
from secondlook.evaluate import evaluate
from secondlook.train import train

APPROVED = Path(__file__).parent / "approved" / "tiny-linear.json"


def _blur(config: TrainConfig) -> None:
    """Give every fifth narrative the wrong labels, so that no figure is 0 or 1 by itself."""
    path = config.data.annotations / "tiny.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        if number % 5 == 2 or number % 15 == 4:
            whole = {"start": 0, "end": row["narrative"].index(".") + 1}
            row["labels"] = {mode: not value for mode, value in row["labels"].items()}
            row["evidence"] = [{"mode": mode, **whole} for mode, holds in row["labels"].items() if holds]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}/{number}")
    elif value is None or isinstance(value, int | float):
        yield place, value


def test_the_figures_of_a_tiny_model(tmp_path: Path, write_tiny_corpus: Callable[..., TrainConfig]) -> None:
    config = write_tiny_corpus(tmp_path, size=150).model_copy(update={"bootstrap": BootstrapConfig(resamples=100)})
    _blur(config)
    train(config)
    report = evaluate(config).summary
    settings = {mode: one.model_dump() for mode, one in load_bundle(config.bundle).modes.items()}
    found = dict(_leaves({"measures": {key: report[key] for key in ("modes", "slices")}, "settings": settings}))
    if os.environ.get("SECONDLOOK_APPROVE"):
        rounded = {place: None if value is None else round(value, 5) for place, value in found.items()}
        APPROVED.write_text(json.dumps(rounded, indent=1) + "\n")
    approved = json.loads(APPROVED.read_text())
    assert found.keys() == approved.keys()
    assert len({value for value in approved.values() if value not in (None, 0, 1)}) > 50
    for place, value in approved.items():
        expected = None if value is None else pytest.approx(value, abs=5e-3)
        assert found[place] == expected, f"{place}: {found[place]}, approved {value}"
    assert np.isfinite([value for value in found.values() if value is not None]).all()
