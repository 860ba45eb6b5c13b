from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from secondlook.card import write_page
from secondlook.config import TrainConfig
from secondlook.evaluate import evaluate


def test_the_page_draws_every_curve_and_says_what_it_was_measured_on(tiny_config: TrainConfig, tmp_path: Path) -> None:
    summary = evaluate(tiny_config, out=tmp_path).summary
    write_page(tmp_path, "A <b>title</b>", json.loads((tmp_path / "metrics.json").read_text()))
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert page.count('<svg role="img" aria-label=') == len(list((tmp_path / "plots").glob("*.csv"))) == 3
    assert "<?xml" not in page
    assert "A &lt;b&gt;title" in page
    assert summary["measured_on"]["nature"] in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_without_positives_there_is_a_page_without_curves(tiny_config: TrainConfig, tmp_path: Path) -> None:
    summary = evaluate(tiny_config, out=tmp_path).summary
    for path in (tmp_path / "plots").glob("*.csv"):
        pd.DataFrame(columns=["mode"]).to_csv(path, index=False)
    write_page(tmp_path, "Nothing", summary)
    assert "<svg" not in (tmp_path / "evaluation.html").read_text(encoding="utf-8")
