"""The queue built end to end from made-up outcomes: what scoring has to hand over, and what comes out."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondlook.codebook import Codebook, Mode
from secondlook.config import ScoreConfig
from secondlook.copies import signature
from secondlook.dates import read_dates
from secondlook.page import PageFacts
from secondlook.queue_files import write_queue_files
from secondlook.ranking import Ranking, Scores, queue_columns, rank
from secondlook.schema import Case, Evidence, ScoredCase, Span

CODEBOOK = Codebook(
    name="t",
    version="1",
    modes=(Mode(id="told", title="Told", definition="-"), Mode(id="unseen", title="Unseen", definition="-")),
)
WORDS = [f"word{i}" for i in range(300)]


def _outcome(number: int) -> ScoredCase:
    """A case as scoring leaves it: nobody has ranked it. Every tenth repeats the text of the one before."""
    rng = random.Random(number - 1 if number % 10 == 9 else number)
    text = " ".join(rng.choices(WORDS, k=60)) + "."
    scores = {"told": rng.random() ** 3, "unseen": rng.random() ** 3}
    received = f"2026-09-{rng.randrange(1, 29):02d}" if number % 7 else "some day"
    return ScoredCase(
        case=Case(f"C-{number:03d}", text, {"received": received}, "cases.csv", number + 2),
        rank=0,
        priority=0.0,
        scores=scores,
        intervals={mode: (value / 2, value) for mode, value in scores.items()},
        flags={mode: value >= 0.5 for mode, value in scores.items()},
        evidence=(Evidence("told", Span(0, 20), 0.7),),
    )


def _build(folder: Path, count: int, **choices: Any) -> tuple[Ranking, Scores]:
    config = ScoreConfig.model_validate({"date_column": "received", "page_cases": 20} | choices)
    outcomes = [_outcome(number) for number in range(count)]
    modes = CODEBOOK.mode_ids
    scored = Scores(
        case_ids=pa.array([item.case.case_id for item in outcomes], pa.string()),
        scores=np.array([[item.scores[mode] for mode in modes] for item in outcomes]).reshape(-1, 2),
        flags=np.array([[item.flags[mode] for mode in modes] for item in outcomes], bool).reshape(-1, 2),
        received=read_dates([item.case.metadata["received"] for item in outcomes]),
        signatures=np.array([signature(item.case.narrative) for item in outcomes], np.uint32).reshape(-1, 128),
    )
    ranking = rank(scored, CODEBOOK, config, lambda row: outcomes[row].case.narrative)

    def fetch(rows: Sequence[int]) -> list[ScoredCase]:
        return [outcomes[row] for row in rows]

    folder.mkdir()
    facts = PageFacts("default", "ab" * 32, count, 0, 1000)
    write_queue_files(folder, ranking, scored, CODEBOOK, config, facts, ["received"], fetch)
    columns = queue_columns(ranking, scored, CODEBOOK, config, range(count))
    pq.write_table(
        pa.table({"case_id": scored.case_ids.take(pa.array(ranking.rows))} | columns), folder / "queue.parquet"
    )
    return ranking, scored


@pytest.mark.filterwarnings("ignore:Unknown extension", "ignore:Conditional Formatting extension")
def test_page_workbook_list_and_parquet_say_the_same(tmp_path: Path) -> None:
    ranking, _ = _build(tmp_path / "run", 100, top=30, audit=6)
    table = pq.read_table(tmp_path / "run/queue.parquet").to_pandas()
    assert table["drawn_for_audit"].sum() == 6
    assert table["duplicate_of"].notna().sum() == 10
    originals = table.index[table["duplicate_of"].isna()]
    shown = set(originals[:30]) | set(table.index[table["drawn_for_audit"]])
    shown |= {place for place in table.index if table["duplicate_of"][place] in set(table["case_id"][sorted(shown)])}
    wanted = {table["case_id"][place] for place in shown}

    sheet = openpyxl.load_workbook(tmp_path / "run/queue.xlsx")["Queue"]
    rows = list(sheet.iter_rows(min_row=2, values_only=True))
    assert {row[1] for row in rows} == wanted
    for row in rows:
        assert table["case_id"][row[0] - 1] == row[1]
        assert table["explanation"][row[0] - 1] == row[3]

    pages = [tmp_path / "run/queue.html", *sorted((tmp_path / "run/pages").glob("queue-*.html"))]
    found = [match for path in pages for match in re.findall(r'id="case-(\d+)"', path.read_text(encoding="utf-8"))]
    assert [int(rank) for rank in found] == [row[0] for row in rows]
    listed = (tmp_path / "run/pages/list-001.html").read_text(encoding="utf-8")
    assert len(re.findall("<li>[\\d,]+\t", listed)) == 100
    assert len(re.findall('#case-\\d+">', listed)) == len(wanted)
    assert f"{len(wanted)} of 100 are here to read" in pages[0].read_text(encoding="utf-8")
    undated = int(np.isnat(ranking.received).sum())
    assert f"{undated} without a date that could be read" in pages[0].read_text(encoding="utf-8")


def test_the_same_cases_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _build(tmp_path / name, 50, audit=3)
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("count", [0, 1, 20])
def test_few_cases_are_one_page(count: int, tmp_path: Path) -> None:
    _build(tmp_path / "run", count)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["queue.html", "queue.parquet", "queue.xlsx"]
