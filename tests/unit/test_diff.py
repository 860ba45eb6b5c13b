"""What moved between two runs, and why."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import PoolingConfig, ScoreConfig
from secondlook.diff import CaseDifference, Change, Difference, diff, write_difference
from secondlook.errors import RunError
from secondlook.readers import ReadOptions
from secondlook.score import score
from secondlook.storage import MANIFEST

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."
WENT = "Nobody went to her house in case 7. The niser pruan wiling."
PLAIN = "The banan ketor lomed tevor. The priing sotus teved wilan."
ONE = {"A1": PLAIN, "A2": TOLD, "A3": WENT, "A4": "The ketan barus nising."}


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def _run(folder: Path, narratives: Mapping[str, str], bundle: Bundle, config: ScoreConfig | None = None) -> Path:
    folder.mkdir()
    lines = [json.dumps({"case_id": case_id, "narrative": text}) for case_id, text in narratives.items()]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    score([folder / "in.jsonl"], folder / "run", bundle, config or ScoreConfig(), ReadOptions())
    return folder / "run"


def _case(difference: Difference, case_id: str) -> CaseDifference:
    return next(case for case in difference.cases if case.case_id == case_id)


def _names(difference: Difference) -> list[str]:
    return [setting.name for setting in difference.settings]


@pytest.fixture
def before(bundle: Bundle, tmp_path: Path) -> Path:
    return _run(tmp_path / "a", ONE, bundle)


def test_a_run_does_not_differ_from_itself(before: Path) -> None:
    found = diff(before, before)
    assert {case.change for case in found.cases} == {Change.NONE}
    assert not found.settings
    assert not found.notes
    assert found.largest_moves(5) == []
    assert all((item.gained, item.lost) == (0, 0) for item in found.flags)


def test_cases_that_came_went_and_changed(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    narratives = {"A1": TOLD, "A2": TOLD, "A3": " ", "A5": PLAIN}
    found = diff(before, _run(tmp_path / "b", narratives, bundle))
    assert _names(found) == ["inputs"]
    assert {case.case_id: case.change for case in found.cases} == {
        "A1": Change.NARRATIVE,
        "A2": Change.NONE,
        "A3": Change.ONLY_IN_A,
        "A4": Change.ONLY_IN_A,
        "A5": Change.ONLY_IN_B,
    }
    assert _case(found, "A1").gained == ("told_suspect",)
    assert _case(found, "A3").why.startswith("rejected in B: ")
    assert _case(found, "A4").why == "not among the rows of B"
    assert _case(found, "A5").rank[0] is None
    assert _case(found, "A5").move is None
    told, went = found.flags
    assert (told.mode, told.a, told.b, told.gained, told.lost) == ("told_suspect", 1, 2, 1, 0)
    # A flag of a case that is in one run only is neither gained nor lost.
    assert (went.a, went.b, went.gained, went.lost) == (1, 0, 0, 0)
    assert found.count(Change.ONLY_IN_A) == 2


def test_the_largest_moves_come_first(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    found = diff(before, _run(tmp_path / "b", ONE | {"A1": f"{TOLD} {WENT}"}, bundle))
    moves = found.largest_moves(10)
    assert moves[0].case_id == "A1"
    assert moves[0].rank[1] == 1
    distances = [abs(case.move or 0) for case in moves]
    assert distances == sorted(distances, reverse=True)
    assert 0 not in distances
    assert found.largest_moves(1) == moves[:1]


def test_another_bundle_explains_other_scores(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = replace(bundle, pooling=PoolingConfig(kind="noisy_or"))
    found = diff(before, _run(tmp_path / "b", ONE, other, ScoreConfig(evidence_per_mode=2)))
    changes = {case.case_id: case.change for case in found.cases}
    # Of a single passage, every pooling makes the same.
    assert changes == dict.fromkeys(["A1", "A2", "A3"], Change.SCORES) | {"A4": Change.NONE}
    assert _names(found) == ["bundle", "configuration: evidence_per_mode", "inputs"]
    assert _case(found, "A2").why == "other bundle; other configuration: evidence_per_mode"


def test_another_configuration_with_the_same_scores(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    found = diff(before, _run(tmp_path / "b", ONE, bundle, ScoreConfig(evidence_per_mode=1)))
    assert {case.change for case in found.cases} == {Change.NONE}
    assert [(one.a, one.b) for one in found.settings][:1] == [("3", "1")]


def test_runs_of_other_modes(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    first, second = bundle.codebook.modes
    book = bundle.codebook.model_copy(update={"modes": (first, second.model_copy(update={"id": "not_visited"}))})
    settings = dict(zip(book.mode_ids, bundle.modes.values(), strict=True))
    found = diff(before, _run(tmp_path / "b", ONE | {"A1": TOLD}, replace(bundle, codebook=book, modes=settings)))
    assert [(one.mode, one.a, one.b) for one in found.flags] == [
        ("told_suspect", 1, 2),
        ("nobody_went", 1, None),
        ("not_visited", None, 1),
    ]
    assert _case(found, "A2").change is Change.SCORES
    assert _case(found, "A2").why == "other bundle"
    score_a, score_b = _case(found, "A3").scores["nobody_went"]
    assert score_a is not None
    assert score_b is None
    # A mode that one run does not know is neither gained nor lost.
    assert (_case(found, "A3").gained, _case(found, "A3").lost) == ((), ())
    write_difference(tmp_path / "d.csv", found)
    with (tmp_path / "d.csv").open(newline="") as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert rows["A3"]["p_nobody_went_b"] == ""
    assert float(rows["A3"]["p_not_visited_b"]) == pytest.approx(score_a)
    assert rows["A1"]["flags_gained"] == "told_suspect"


def test_the_table_has_a_row_for_every_case(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    found = diff(before, _run(tmp_path / "b", {"=A9": PLAIN, "A2": TOLD}, bundle))
    write_difference(tmp_path / "d.csv", found)
    with (tmp_path / "d.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["case_id"] for row in rows) == ["'=A9", "A1", "A2", "A3", "A4"]
    assert {row["change"] for row in rows} == {"only in A", "only in B", "same scores"}
    with pytest.raises(RunError, match="is part of a run"):
        write_difference(before / "rejects.csv", found)


def test_scores_that_nothing_explains_send_to_verify(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    after = _run(tmp_path / "b", ONE, bundle)
    queue = pq.read_table(after / "queue.parquet")
    priority = pa.array([value + 0.01 for value in queue["priority"].to_pylist()])
    pq.write_table(queue.set_column(2, "priority", priority), after / "queue.parquet")
    found = diff(before, after)
    assert "secondlook verify" in found.cases[0].why
    assert "was changed since the run was written" in found.notes[0]


@pytest.mark.parametrize("name", ["queue.parquet", "cases.parquet", MANIFEST])
def test_a_run_that_cannot_be_read(before: Path, bundle: Bundle, tmp_path: Path, name: str) -> None:
    after = _run(tmp_path / "b", ONE, bundle)
    (after / name).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        diff(before, after)
    (after / name).unlink()
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        diff(after, before)


def test_a_case_that_stands_twice(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    after = _run(tmp_path / "b", ONE, bundle)
    table = pq.read_table(after / "cases.parquet")
    pq.write_table(pa.concat_tables([table, table]), after / "cases.parquet")
    with pytest.raises(RunError, match="several rows of one case"):
        diff(before, after)


def test_what_else_is_missing_is_noted(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    after = _run(tmp_path / "b", ONE, bundle)
    (after / "rejects.csv").unlink()
    (after / "evidence.parquet").unlink()
    assert sorted(note.split(": ")[1] for note in diff(before, after).notes) == ["evidence.parquet", "rejects.csv"]
