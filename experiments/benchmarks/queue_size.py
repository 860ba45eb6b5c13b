"""What a queue of any size costs: ranking, copies, pages and workbook, and how long a browser takes to open them.

Narratives are the corpus's own, again and again; scores are drawn at random. ``--browser`` opens the first page, one in
the middle and the list in Chromium, and prints what its main thread worked until they stood.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from secondlook.codebook import load_codebook
from secondlook.config import DataConfig, ScoreConfig
from secondlook.copies import find_copies, signature
from secondlook.corpus import load_corpus
from secondlook.page import PageFacts
from secondlook.queue_files import write_queue_files
from secondlook.ranking import Ranking, Scores, queue_columns, rank
from secondlook.schema import Case, Evidence, ScoredCase, Span
from secondlook.text import split_passages

Result = TypeVar("Result")


def main() -> None:
    """Print what each step costs, and how alike the narratives of the corpus are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("--rank-only", action="store_true", help="write no pages and no workbook")
    parser.add_argument("--browser", help="the path of a Chromium, to open the pages with")
    choices = parser.parse_args()
    codebook = load_codebook(DataConfig().codebook)
    corpus = load_corpus(DataConfig().annotations, codebook)
    texts = [item.narrative for item in corpus]
    known = _timed("signatures", len(texts), lambda: np.stack([signature(text) for text in texts]))
    labels = np.array([[bool(item.labels.get(mode)) for mode in codebook.mode_ids] for item in corpus])
    _say_how_alike(texts, known, labels)
    scored, dates = _draw(choices.cases, len(codebook.modes))
    config = ScoreConfig(date_column="received", audit=100)
    ranking = _timed("ranking", choices.cases, lambda: rank(scored, codebook, config))
    _timed("explanations and columns", choices.cases, lambda: _columns(ranking, scored, codebook, config))
    if not choices.rank_only:
        folder = Path(tempfile.mkdtemp())
        _files(folder, ranking, scored, codebook, config, texts, dates)
        if choices.browser:
            _open(folder, choices.browser)
        shutil.rmtree(folder)


def _say_how_alike(texts: Sequence[str], known: np.ndarray, labels: np.ndarray) -> None:
    order = np.arange(len(texts))
    for threshold in (0.8, 0.9, 0.95):
        found = find_copies(known, np.zeros_like(labels), order, threshold, texts.__getitem__)
        copies = np.flatnonzero(found.original != order)
        hidden = (labels[copies] & ~labels[found.original[copies]]).any(axis=1).sum()
        print(
            f"of {len(texts)} narratives {len(copies)} are {threshold} like an earlier one; {hidden} have a label more"
        )


def _draw(cases: int, modes: int) -> tuple[Scores, list[str]]:
    rng = np.random.default_rng(0)
    values = rng.beta(0.3, 2, (cases, modes))
    received = np.datetime64("2026-01-01", "ms") + rng.integers(0, 300, cases).astype("timedelta64[D]")
    ids = pa.array([f"CMP-{number:07d}" for number in rng.permutation(cases)])
    return Scores(ids, values, values > 0.5, received), [str(day)[:10] for day in received]


def _columns(ranking: Ranking, scored: Scores, *rest: object) -> None:
    for start in range(0, len(ranking), 50_000):
        queue_columns(ranking, scored, *rest, range(start, min(len(ranking), start + 50_000)))  # type: ignore[arg-type]


def _files(folder: Path, ranking: Ranking, scored: Scores, codebook, config, texts, dates) -> None:  # type: ignore[no-untyped-def]
    spans = [split_passages(text) for text in texts]

    def fetch(rows: Sequence[int]) -> list[ScoredCase]:
        return [case(row) for row in rows]

    def case(row: int) -> ScoredCase:
        at, modes = row % len(texts), codebook.mode_ids
        scores = dict(zip(modes, scored.scores[row].tolist(), strict=True))
        flags = dict(zip(modes, scored.flags[row].tolist(), strict=True))
        evidence = tuple(
            Evidence(mode, Span(*spans[at][place % len(spans[at])]), 0.5) for place, mode in enumerate(modes)
        )
        own = Case(
            scored.case_ids[row].as_py(), texts[at], {"received": dates[row], "channel": "letter"}, "cases.csv", row
        )
        return ScoredCase(own, 0, 0.0, scores, dict.fromkeys(modes, (0.1, 0.3)), flags, evidence)

    facts = PageFacts("bundle", "0" * 64, len(ranking), 0, config.page_narrative_characters)
    write = lambda: write_queue_files(folder, ranking, scored, codebook, config, facts, ["received", "channel"], fetch)  # noqa: E731
    _timed("pages, list and workbook", len(ranking), write)
    for name in ("*.html", "*.xlsx"):
        files = list(folder.rglob(name))
        print(
            f"{name}: {len(files)} files, {sum(file.stat().st_size for file in files) / len(ranking):.0f} bytes a case"
        )


def _timed(what: str, count: int, run: Callable[[], Result]) -> Result:
    start = time.process_time()
    result = run()
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {spent:.1f} s of processor time, {spent / count * 1e3:.3f} ms a case, "
        f"peak memory so far {peak:.0f} MiB"
    )
    return result


def _open(folder: Path, browser: str) -> None:
    from playwright.sync_api import sync_playwright

    pages = sorted((folder / "pages").glob("queue-*.html"))
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for path in [folder / "queue.html", *pages[len(pages) // 2 :][:1], folder / "pages/list-001.html"]:
            if not path.exists():
                continue
            tab = chromium.new_page(viewport={"width": 1280, "height": 900})
            session = tab.context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            start = time.perf_counter()
            tab.goto(path.as_uri())
            wall = time.perf_counter() - start
            measured = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
            shown = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            print(
                f"{path.name}: {measured['TaskDuration']:.2f} s of its thread, {wall:.2f} s by the clock, "
                f"first seen after {shown:.0f} ms"
            )
            tab.close()
        chromium.close()


if __name__ == "__main__":
    main()
