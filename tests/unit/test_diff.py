"""What moved between two runs, and why."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import PoolingConfig, ScoreConfig
from secondlook.diff import MOVES_NO_SCORE, CaseDifference, Change, Difference, diff, write_difference
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


def test_a_rejected_case_is_found_by_its_id_as_it_is_shown(bundle: Bundle, tmp_path: Path) -> None:
    ids = ["x" * 200, "=A\u202e1", "+" + "y" * 200, "A2"]
    polish = "Nikt do niej nie pojechał, a wszystko mu powiedziano jeszcze tego wieczoru."
    before = _run(tmp_path / "a", dict.fromkeys(ids, PLAIN), bundle)
    found = diff(before, _run(tmp_path / "b", {ids[0]: " ", ids[1]: " ", ids[2]: polish, "A2": PLAIN}, bundle))
    for case_id in ids[:3]:
        assert _case(found, case_id).why.startswith("rejected in B: ")


def _files(folder: Path, contents: Mapping[str, str | None], inputs: list[str], bundle: Bundle, name: str) -> Path:
    """A run of texts; None is a file that is rejected whole."""
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"%PDF-1.4 broken" if text is None else text.encode())
    score([folder / path for path in inputs], folder / name, bundle, ScoreConfig(), ReadOptions())
    return folder / name


def test_a_case_whose_file_was_rejected_whole(bundle: Bundle, tmp_path: Path) -> None:
    contents = {f"in/{name}.txt": PLAIN for name in ("17", "18", "19")}
    before = _files(tmp_path, contents, ["in"], bundle, "before")
    (tmp_path / "in/19.txt").unlink()
    after = _files(tmp_path, {"in/17.txt": None, "elsewhere/18.pdf": None}, ["in/17.txt", "elsewhere"], bundle, "after")
    found = diff(before, after)
    reasons = {item["file"]: item["reason"] for item in _rejects(after)}
    assert len(reasons) == 2
    assert _case(found, "17").why == f"its file was rejected in B: {reasons[str(tmp_path / 'in/17.txt')]}"
    assert _case(found, "18").why.startswith("a file of its name was rejected in B: ")
    assert _case(found, "19").why == "not among the rows of B"
    assert _case(diff(after, before), "17").why.startswith("its file was rejected in A: ")


def test_a_case_whose_archive_was_rejected(bundle: Bundle, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("week/17.txt", PLAIN)
        archive.writestr("week/table.csv", f"case_id,narrative\nA1,{PLAIN}\n")
    before = _files(tmp_path, {}, ["in.zip"], bundle, "before")
    (tmp_path / "in.zip").write_bytes(b"PK")
    found = diff(before, _files(tmp_path, {"A1.txt": TOLD, "b.txt": PLAIN}, ["in.zip", "b.txt"], bundle, "after"))
    for case_id in ("17", "A1"):
        assert _case(found, case_id).why.startswith("its file was rejected in B: ")


def _rejects(run: Path) -> list[dict[str, str]]:
    with (run / "rejects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
    # How much evidence is listed moves no score.
    assert _case(found, "A2").why == "other bundle"


def test_rows_that_are_joined_in_one_run_only_explain_another_narrative(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"case_id,narrative\nA1,{PLAIN}\nA1,{TOLD}\nA2,{WENT}\n")
    for name, config in (("plain", ScoreConfig()), ("joined", ScoreConfig(join_rows=True))):
        score([tmp_path / "in.csv"], tmp_path / name, bundle, config, ReadOptions())
    found = diff(tmp_path / "plain", tmp_path / "joined")
    assert _names(found) == ["configuration: join_rows"]
    assert (_case(found, "A1").change, _case(found, "A1").why) == (Change.NARRATIVE, "other configuration: join_rows")
    assert _case(found, "A2").change is Change.NONE


def test_only_what_can_move_a_score_explains_one(before: Path, bundle: Bundle, tmp_path: Path) -> None:
    after = _run(tmp_path / "b", ONE, replace(bundle, pooling=PoolingConfig(kind="noisy_or")))
    manifest = json.loads((after / MANIFEST).read_text())
    manifest["bundle"] = json.loads((before / MANIFEST).read_text())["bundle"]
    manifest["config"]["values"] = dict.fromkeys(manifest["config"]["values"], 7) | {"triage": False}
    manifest["versions"] |= {"pyarrow": "0"}
    (after / MANIFEST).write_text(json.dumps(manifest))
    assert "not explained by the manifests" in _case(diff(before, after), "A2").why
    manifest["versions"] |= {"onnxruntime": "0", "tokenizers": "0"}
    (after / MANIFEST).write_text(json.dumps(manifest))
    found = diff(before, after)
    assert _case(found, "A2").why == "other version: tokenizers; other version: onnxruntime"
    assert "version: pyarrow" in _names(found)


def test_every_choice_of_the_scorer_but_triage_is_known_to_move_no_score(before: Path) -> None:
    """Whoever adds one says in diff.py which it is."""
    choices = json.loads((before / MANIFEST).read_text())["config"]["values"]
    assert {f"configuration: {name}" for name in choices} - MOVES_NO_SCORE == {"configuration: triage"}


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
    for name in ("rejects.csv", "mine.csv", "new/folder/mine.csv"):
        with pytest.raises(RunError, match="lies in the run"):
            write_difference(before / name, found)
    write_difference(before / ".." / "beside.csv", found)


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


def test_another_column_explains_another_narrative(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"case_id,narrative,details\nA1,{PLAIN},{TOLD}\n")
    for name, column in (("one", None), ("other", "details")):
        score([tmp_path / "in.csv"], tmp_path / name, bundle, ScoreConfig(), ReadOptions(narrative_column=column))
    case = _case(diff(tmp_path / "one", tmp_path / "other"), "A1")
    assert (case.change, case.why) == (Change.NARRATIVE, "other configuration: narrative_column")
