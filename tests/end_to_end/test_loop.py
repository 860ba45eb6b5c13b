"""From a week's decisions to a better champion: score, review in a real browser, export, merge, train, promote, score."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from secondlook.cli import app
from secondlook.config import TrackingConfig, TrainConfig
from secondlook.corpus import read_annotations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("mlflow", reason="MLflow is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'secondlook[review]'")

MODES = ("told_suspect", "nobody_went")
KNOWN = {"told_suspect": "The clerk told him everything", "nobody_went": "Nobody went to her house"}
UNHEARD = "An officer passed her words along to his brother"
"""Tells the suspect, in words that the first model has never read."""
SELECT = """sentence => {
  const walker = document.createTreeWalker(document.getElementById("narrative"), NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const start = nodes.map(node => node.data).join("").indexOf(sentence);
  const point = offset => {
    for (const node of nodes) {
      if (offset <= node.length) return [node, offset];
      offset -= node.length;
    }
  };
  getSelection().setBaseAndExtent(...point(start), ...point(start + sentence.length));
}"""
LEXICON = [a + b for a in ("bar", "ket", "lom", "nis", "pru", "sot", "tev", "wil") for b in ("an", "ed", "ing", "or")]


def _narrative(number: int, *shows: str) -> str:
    rng = random.Random(1000 + number)
    sentences = [" ".join(["The", *rng.choices(LEXICON, k=8)]) for _ in range(3)]
    return " ".join(f"{sentence} in case {number}." for sentence in (*sentences[:2], *shows, *sentences[2:]))


def _cases(path: Path, narratives: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"case_id": i, "narrative": text}) + "\n" for i, text in narratives.items()))
    return path


def _say(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"
    return done.output


@contextmanager
def _desk(*words: str | Path) -> Iterator[str]:
    """A desk in a process of its own; gives the link that opens it once."""
    command = [sys.executable, "-m", "secondlook", "review", *map(str, words), "--port", "0"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        try:
            while not (link := re.search(r"https?://\S+", printed)):
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield link.group()
        finally:
            process.send_signal(signal.SIGINT)


def _read_case(page: Page) -> None:
    """Decide as somebody would who reads: what is said in other words is marked."""
    narrative = page.locator("#narrative").text_content() or ""
    holds = {"told_suspect": KNOWN["told_suspect"] in narrative or UNHEARD in narrative}
    holds["nobody_went"] = KNOWN["nobody_went"] in narrative
    for mode, sentences in {
        "told_suspect": (UNHEARD, KNOWN["told_suspect"]),
        "nobody_went": (KNOWN["nobody_went"],),
    }.items():
        for sentence in sentences:
            if sentence in narrative:
                page.evaluate(SELECT, sentence)
                page.keyboard.press("m")
                page.keyboard.press(str(MODES.index(mode) + 1))
                _saved(page)
    for mode in MODES:
        verdict = "confirm" if holds[mode] else "reject"
        page.locator(f"fieldset[data-mode={mode}] input[value={verdict}]").check()
        _saved(page)
    before = page.url
    page.keyboard.press("f")
    page.wait_for_url(lambda url: url != before)


def _saved(page: Page) -> None:
    playwright.expect(page.locator("#saved")).to_have_attribute("data-state", "saved")


def _review(browser: Browser, link: str) -> None:
    """Read the whole queue in a real browser."""
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.goto(link)
    page.wait_for_url("**/queues/*")
    page.keyboard.press("g")
    page.wait_for_url("**/cases/*")
    while "/cases/" in page.url:
        _read_case(page)
    playwright.expect(page.get_by_text("There is nothing left to read here for you")).to_be_visible()
    page.close()


@pytest.fixture
def office(
    tmp_path: Path, write_tiny_corpus: Callable[[Path], TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with a corpus and the configuration that trains on it; MLflow keeps its registry there."""
    import mlflow

    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db", register_as="office")
    config = write_tiny_corpus(tmp_path).model_copy(update={"tracking": tracking})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (tmp_path / "score.yaml").write_text("minimum_known_words: 0\n")
    (tmp_path / "review.yaml").write_text("double_share: 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    yield tmp_path
    mlflow.set_tracking_uri(None)


def _scores(run: Path) -> dict[str, tuple[float, bool]]:
    rows = pq.read_table(run / "queue.parquet").to_pylist()
    return {row["case_id"]: (row["p_told_suspect"], row["flag_told_suspect"]) for row in rows}


def test_a_weeks_decisions_make_a_better_champion(office: Path, browser: Browser) -> None:
    week = {f"new-{number}": _narrative(number, UNHEARD) for number in range(8)}
    week |= {"old-1": _narrative(20, *KNOWN.values()), "old-2": _narrative(21)}
    march = _cases(office / "march.jsonl", week)
    april = _cases(office / "april.jsonl", {"later": _narrative(40, UNHEARD), "nothing": _narrative(41)})
    score = ("--config", "score.yaml", "--bundle", "models:/office@champion")
    _say("train", "train.yaml")
    _say("score", march, "--out", "march", *score)
    _say("score", april, "--out", "before", *score)

    with _desk("march", "--desk", "desk.sqlite", "--bundle", "models/tiny", "--config", "review.yaml") as link:
        _review(browser, link)
    exported = _say(
        "review", "export", "--run", "march", "--desk", "desk.sqlite", "--format", "corpus", "--out", "week"
    )
    assert "10 annotations written" in exported
    assert "10 narratives added" in _say("labels", "merge", "week", "--into", "labels/annotations")
    assert "10 as they were" in _say("labels", "merge", "week", "--into", "labels/annotations")
    located, _ = read_annotations(Path("labels/annotations/decisions.jsonl"))
    told = [one.annotation for one in located if UNHEARD in one.annotation.narrative]
    assert [[span.text for span in item.evidence] for item in told] == [[UNHEARD]] * 8
    _say("labels", "check", "--annotations", "labels/annotations", "--codebook", "labels/codebook.yaml")

    _say("train", "train.yaml")
    assert "is version 2" in _say("promote", "train.yaml")
    _say("score", april, "--out", "after", *score)
    before, after = _scores(Path("before")), _scores(Path("after"))
    assert (before["later"][1], after["later"][1]) == (False, True)
    assert after["later"][0] > before["later"][0]
    assert after["nothing"][1] is False
