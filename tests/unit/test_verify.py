"""A run is believed only if everything in it fits; whatever happens to it is named and never a traceback."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.bundle import Bundle, load_bundle, save_bundle
from secondlook.config import PoolingConfig, ScoreConfig, TrainConfig
from secondlook.errors import BundleError, RunError
from secondlook.evidence import pool
from secondlook.readers import ReadOptions
from secondlook.schema import Span
from secondlook.score import score
from secondlook.scorer import Scorer
from secondlook.storage import MANIFEST, file_digest, inventory
from secondlook.tables import CASES, EVIDENCE, PASSAGES, QUEUE, REJECTS
from secondlook.text import split_passages
from secondlook.verify import Verification, cut_out, verify, write_effects

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."
PLAIN = "The banan ketor lomed tevor. The priing sotus teved wilan."
NARRATIVES = {
    "A1": PLAIN,
    "A2": TOLD,
    "A3": "Nobody went to her house in case 7.\n\nThe niser pruan wiling.\tFor three days nobody went to see her.",
    "A4": "\ufeff\tThe clerk\r\ntold him 😀 \u202eeverything\u202c. The banan ketor lomed wilan.\n\n",
    "A5": PLAIN,
}
FILES = [QUEUE, EVIDENCE, PASSAGES, CASES, REJECTS, "queue.html", "queue.xlsx"]
TABLES = [QUEUE, EVIDENCE, PASSAGES, CASES]
SECRET = "told him everything"

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def pristine(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody touched; copy it, do not change it."""
    root = tmp_path_factory.mktemp("pristine")
    lines = [{"case_id": case_id, "narrative": text, "unit": "x"} for case_id, text in NARRATIVES.items()]
    lines += [{"case_id": "A6", "narrative": " ", "unit": "x"}]
    (root / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "odd.xyz").write_text("?")
    score([root / "in.jsonl", root / "odd.xyz"], root / "run", bundle, ScoreConfig(), ReadOptions())
    return root / "run"


@pytest.fixture
def run(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "run")


def _seal(run: Path) -> None:
    """Make the manifest's digests right again, as somebody would who tampers with care."""
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["files"] = {name: file_digest(run / name) for name in manifest["files"] if (run / name).exists()}
    (run / MANIFEST).write_text(json.dumps(manifest))


def _change(run: Path, name: str, change: Change) -> None:
    pq.write_table(change(pq.read_table(run / name)), run / name)
    _seal(run)


def _set(column: str, row: int, value: object) -> Change:
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        place = table.schema.get_field_index(column)
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    return change


def _swap(*columns: str) -> Change:
    """Exchange what the first two rows have in some columns."""

    def change(table: pa.Table) -> pa.Table:
        for column in columns:
            first, second = table[column].to_pylist()[:2]
            table = _set(column, 1, first)(_set(column, 0, second)(table))
        return table

    return change


def _without(row: int) -> Change:
    return lambda table: pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def _said(found: Verification) -> str:
    text = "\n".join(map(str, found.problems))
    assert SECRET not in text, "a problem quotes a narrative"
    return text


def test_what_scoring_wrote_has_no_problems(run: Path, tiny_bundle: Path) -> None:
    found = verify(run, tiny_bundle, reencode=True)
    assert _said(found) == ""
    assert found.recomputed
    assert found.coverage.narratives == len(NARRATIVES)
    assert found.coverage.characters == sum(map(len, NARRATIVES.values()))
    assert found.coverage.scored + sum(found.coverage.skipped.values()) == found.coverage.characters


def test_a_run_of_a_transformer_is_verified(tiny_transformer: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/c1.txt").write_text(TOLD)
    (tmp_path / "in/c2.txt").write_text(PLAIN + " \u200b\u200b\u200b.\n\n\u200b\n\nThe niser pruan wiling.")
    score(
        [tmp_path / "in"],
        tmp_path / "run",
        load_bundle(tiny_transformer.bundle),
        ScoreConfig(minimum_known_words=0),
        ReadOptions(),
    )
    found = verify(tmp_path / "run", tiny_transformer.bundle, reencode=True, case_id="c2")
    assert _said(found) == ""
    assert any("finds no token" in stretch.reason for stretch in found.coverage.stretches)


def test_a_run_without_any_case_is_verified(bundle: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "c1.txt").write_text(" ")
    score([tmp_path / "c1.txt"], tmp_path / "run", bundle, ScoreConfig(), ReadOptions())
    found = verify(tmp_path / "run", tiny_bundle, reencode=True)
    assert _said(found) == ""
    assert found.effects == []


@pytest.fixture(scope="module")
def paged(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with pages, dates, copies, an audit and cases that were set aside; copy it, do not change it."""
    root = tmp_path_factory.mktemp("paged")
    letter = " and nobody of the desk went to see her after that in the whole of the long spring of that year."
    texts = [*NARRATIVES.values(), *(f"The clerk told him everything,{letter} {'So ' * i}" for i in range(6))]
    lines = [
        {"case_id": f"B{i}", "narrative": text, "got": "some day" if i == 3 else f"2026-09-{i + 1:02d}"}
        for i, text in enumerate(texts)
    ]
    (root / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    choices = {"date_column": "got", "since": "2026-09-02", "top": 2, "audit": 2, "page_cases": 2, "shard_cases": 3}
    config = ScoreConfig.model_validate(choices | {"minimum_known_words": 0, "priority": {"kind": "any_mode"}})
    counts = score([root / "in.jsonl"], root / "run", bundle, config, ReadOptions()).manifest["counts"]
    assert min(counts[name] for name in ("set_aside", "copies", "drawn", "undated")) > 0
    return root / "run"


def test_a_run_with_copies_dates_and_an_audit_has_no_problems(paged: Path, tiny_bundle: Path) -> None:
    assert "pages/queue-00002.html" in inventory(paged)
    assert _said(verify(paged, tiny_bundle, reencode=True)) == ""


def test_pages_are_part_of_a_run(paged: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    run = shutil.copytree(paged, tmp_path / "run")
    (run / "pages/queue-00002.html").write_text("other")
    (run / "pages/list-001.html").unlink()
    (run / "pages/queue-00099.html").write_text("more")
    said = _said(verify(run, tiny_bundle))
    assert "pages/queue-00002.html: was changed" in said
    assert "pages/list-001.html: is missing" in said
    assert "gives no digest of pages/queue-00099.html" in said


def test_a_mode_that_the_bundle_does_not_know_is_a_problem(run: Path, tiny_bundle: Path) -> None:
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["config"]["values"]["priority"] = {"kind": "mode", "mode": "told_suspekt"}
    (run / MANIFEST).write_text(json.dumps(manifest))
    said = _said(verify(run, tiny_bundle))
    assert "its configuration does not fit" in said
    assert "did you mean 'told_suspect'" in said


def test_what_is_skipped_is_white_space_between_passages(run: Path, tiny_bundle: Path) -> None:
    found = verify(run, tiny_bundle, case_id="A3")
    assert [NARRATIVES["A3"][slice(*one.span)] for one in found.coverage.stretches] == ["\n\n", "\t"]
    assert {one.reason for one in found.coverage.stretches} == {"white space between passages: not scored"}


def test_a_score_without_its_evidence_is_exact(run: Path, tiny_bundle: Path, bundle: Bundle) -> None:
    effects = {one.mode: one for one in verify(run, tiny_bundle, reencode=True, case_id="A2").effects}
    told = effects["told_suspect"]
    outcome = Scorer(bundle).score([TOLD])[0]
    kept = np.array([span != Span(23, 63) for span in outcome.passages])
    pooled = pool(outcome.log_odds[kept], bundle.pooling)[0]
    assert told.left_out == float(bundle.modes["told_suspect"].calibration.probability(pooled))
    cut = Scorer(bundle).score([TOLD[:23] + TOLD[63:]], [[Span(0, 22), Span(24, 47)]])[0]
    assert told.cut_out == pytest.approx(cut.scores["told_suspect"], abs=1e-12)
    assert told.flag
    assert told.left_out < told.threshold
    # All three passages are evidence for the other mode: nothing is left.
    assert (effects["nobody_went"].left_out, effects["nobody_went"].cut_out) == (None, None)


def test_one_case_can_be_asked_for(run: Path, tiny_bundle: Path) -> None:
    assert {one.case_id for one in verify(run, tiny_bundle, case_id="A4").effects} == {"A4"}
    with pytest.raises(RunError, match="did you mean"):
        verify(run, tiny_bundle, case_id="A44")


def test_the_effects_are_written_as_csv(run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    found = verify(run, tiny_bundle)
    write_effects(tmp_path / "new/effects.csv", [replace(found.effects[0], case_id="=cmd")])
    with (tmp_path / "new/effects.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["case_id"] == "'=cmd"
    assert float(row["score"]) == found.effects[0].score
    assert row["score_with_evidence_cut_out"] == ""
    (tmp_path / "link").symlink_to(run)
    for place in (run / "rejects.csv", run / "effects.csv", run / "new/effects.csv", tmp_path / "link/effects.csv"):
        with pytest.raises(RunError, match="lies in the run"):
            write_effects(place, found.effects)
    assert {path.name for path in run.iterdir()} == {*FILES, MANIFEST}
    with pytest.raises(RunError, match="cannot be written"):
        write_effects(tmp_path, found.effects)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone(run: Path, tiny_bundle: Path, name: str) -> None:
    (run / name).unlink()
    found = verify(run, tiny_bundle, reencode=True)
    assert _said(found) == f"{name}: is missing; restore the folder from a copy, or score the inputs again"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "folder", "half", "text"])
def test_a_file_that_is_damaged(run: Path, tiny_bundle: Path, name: str, damage: str) -> None:
    content = (run / name).read_bytes()
    (run / name).unlink()
    if damage == "folder":
        (run / name).mkdir()
    else:
        changed = {"empty": b"", "half": content[: len(content) // 2], "text": b'\xff\x00nothing,"useful\n'}
        (run / name).write_bytes(changed[damage])
    assert name in _said(verify(run, tiny_bundle, reencode=True))


def test_half_of_a_run(run: Path, tiny_bundle: Path) -> None:
    for name in (QUEUE, CASES, REJECTS, "queue.html"):
        (run / name).unlink()
    said = _said(verify(run, tiny_bundle, reencode=True))
    assert said.count("is missing") == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run"),
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "has the format 'None'"),
        ('{"format": "secondlook-run/1"}', "secondlook-run/1"),
        ('{"format": "secondlook-bundle/3"}', "secondlook-bundle/3"),
        ('{"format": "secondlook-run/5", "files": 3}', "key 'counts'"),
    ],
)
def test_a_folder_that_is_no_run(run: Path, tiny_bundle: Path, content: str | None, message: str) -> None:
    (run / MANIFEST).unlink()
    if content is not None:
        (run / MANIFEST).write_text(content)
    with pytest.raises(RunError, match=message):
        verify(run, tiny_bundle)
    with pytest.raises(RunError, match="is not a run"):
        verify(run / "nowhere", tiny_bundle)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_found_and_never_raises(pristine: Path, tiny_bundle: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        run = shutil.copytree(pristine, Path(place, "run"))
        name = data.draw(st.sampled_from(FILES))
        content = bytearray((run / name).read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (run / name).write_bytes(content)
        changed = bytes(content) != (pristine / name).read_bytes()
        said = _said_of_anything(verify(run, tiny_bundle))
        assert (f"{name}: was changed" in said) == changed
        _seal(run)
        verify(run, tiny_bundle, reencode=True)


def _said_of_anything(found: Verification) -> str:
    return "\n".join(map(str, found.problems))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_manifest_never_raises_but_on_purpose(pristine: Path, tiny_bundle: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        run = shutil.copytree(pristine, Path(place, "run"))
        content = bytearray((run / MANIFEST).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (run / MANIFEST).write_bytes(content)
        with suppress(RunError):
            verify(run, tiny_bundle)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("row", [0, 3])
def test_a_dropped_row_is_found(run: Path, tiny_bundle: Path, name: str, row: int) -> None:
    case_id = pq.read_table(run / name)["case_id"][row].as_py()
    _change(run, name, _without(row))
    said = _said(verify(run, tiny_bundle))
    assert name in said
    assert f"case {case_id}: " in said


@pytest.mark.parametrize("name", TABLES)
def test_a_doubled_row_is_found(run: Path, tiny_bundle: Path, name: str) -> None:
    _change(run, name, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert name in _said(verify(run, tiny_bundle))


@pytest.mark.parametrize("name", TABLES)
def test_a_column_that_is_missing_or_of_another_type(run: Path, tiny_bundle: Path, name: str) -> None:
    _change(run, name, lambda table: table.drop_columns(["case_id"]))
    assert f"{name}: has 0 columns 'case_id'" in _said(verify(run, tiny_bundle))


def test_columns_of_another_type_or_with_holes(run: Path, tiny_bundle: Path) -> None:
    _change(run, PASSAGES, lambda table: table.set_column(1, "start", pc.cast(table["start"], pa.float64())))
    _change(run, QUEUE, _set("priority", 1, None))
    said = _said(verify(run, tiny_bundle))
    assert "column 'start' holds double where it should hold int64" in said
    assert "column 'priority' has 1 empty cells" in said


@pytest.mark.parametrize("column", ["p_told_suspect", "low_told_suspect", "high_nobody_went", "priority"])
def test_swapped_scores_are_found(run: Path, tiny_bundle: Path, column: str) -> None:
    first, second = pq.read_table(run / QUEUE)["case_id"].to_pylist()[:2]
    _change(run, QUEUE, _swap(column))
    said = _said(verify(run, tiny_bundle))
    assert f"{QUEUE}, case {first}: {column} is" in said
    assert f"{QUEUE}, case {second}: {column} is" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e308, 0.5])
def test_a_score_that_somebody_made_up(run: Path, tiny_bundle: Path, value: float) -> None:
    for column in ("p_told_suspect", "priority"):
        _change(run, QUEUE, _set(column, 2, value))
    said = _said(verify(run, tiny_bundle))
    assert "p_told_suspect is" in said
    assert "priority is" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 5.0])
def test_log_odds_that_somebody_made_up(run: Path, tiny_bundle: Path, value: float) -> None:
    _change(run, PASSAGES, _set("z_told_suspect", 0, value))
    assert _said(verify(run, tiny_bundle))


def test_a_flag_that_is_not_the_score_s(run: Path, tiny_bundle: Path) -> None:
    flag = pq.read_table(run / QUEUE)["flag_told_suspect"][0].as_py()
    _change(run, QUEUE, _set("flag_told_suspect", 0, not flag))
    said = _said(verify(run, tiny_bundle))
    assert f"flag_told_suspect is {not flag}" in said
    assert "flags of told_suspect, and manifest.json counts" in said


def test_ranks_and_ties(run: Path, tiny_bundle: Path) -> None:
    queue = pq.read_table(run / QUEUE)
    ids = queue["case_id"].to_pylist()
    tie = ids.index("A1")
    assert ids[tie + 1] == "A5", "of two cases with one text the second by id is a copy of the first"
    swapped = [*range(tie), tie + 1, tie, *range(tie + 2, len(ids))]
    _change(run, QUEUE, lambda table: table.take(swapped))
    said = _said(verify(run, tiny_bundle))
    assert f"case A5: has rank {tie + 2} and stands in place {tie + 1}" in said
    assert "case A5: is a copy of case A1 and does not stand behind it" in said
    ranked = pa.array(range(1, len(ids) + 1), pa.int64())
    _change(run, QUEUE, lambda table: table.set_column(1, "rank", ranked))
    assert _said(verify(run, tiny_bundle)).count("\n") == 0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("everything", "everythong"), "is not what the narrative"),
        (lambda text: text + " More.", "lies in no passage"),
        (lambda text: "x" + text, "is not what the narrative"),
        (lambda text: text[:40], "does not lie in the narrative"),
        (lambda text: "", "does not lie in the narrative"),
    ],
)
def test_an_edited_narrative_is_found(run: Path, tiny_bundle: Path, edit: Callable[[str], str], message: str) -> None:
    row = pq.read_table(run / CASES)["case_id"].to_pylist().index("A2")
    _change(run, CASES, _set("narrative", row, edit(TOLD)))
    said = _said(verify(run, tiny_bundle, reencode=True))
    assert "case A2: " in said
    assert message in said


def test_an_edit_outside_the_evidence_is_found_by_encoding_again(run: Path, tiny_bundle: Path) -> None:
    text = TOLD.replace("The banan ketor lomed.", "Nobody went to see it.")
    _change(run, CASES, _set("narrative", pq.read_table(run / CASES)["case_id"].to_pylist().index("A2"), text))
    evidence = pq.read_table(run / EVIDENCE).to_pylist()
    for number, row in enumerate(evidence):
        if row["case_id"] == "A2":
            _change(run, EVIDENCE, _set("text", number, text[row["start"] : row["end"]]))
    assert _said(verify(run, tiny_bundle)) == ""
    said = _said(verify(run, tiny_bundle, reencode=True))
    assert f"{PASSAGES}, case A2: encoded again, the passage from 0 to 22 differs" in said


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("start", 1, "lies in no passage"),
        ("start", -100, "does not lie in the narrative"),
        ("end", 3, "scored twice"),
        ("end", 2**62, "does not lie in the narrative"),
        ("end", -3, "lies in no passage"),
    ],
)
def test_passages_that_do_not_cover_the_narrative_once(
    run: Path, tiny_bundle: Path, column: str, change: int, message: str
) -> None:
    row = pq.read_table(run / PASSAGES)["case_id"].to_pylist().index("A2")
    value = pq.read_table(run / PASSAGES)[column][row].as_py()
    _change(run, PASSAGES, _set(column, row, value + change))
    assert message in _said(verify(run, tiny_bundle, reencode=True))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("text", "something else", "is not what the narrative"),
        ("start", 1, "is none of the passages"),
        ("share", 0.25, "has the share 0.25"),
        ("share", float("nan"), "has the share nan"),
        ("mode", "no_such_mode", "is none of the passages"),
    ],
)
def test_evidence_that_is_not_the_score_s(
    run: Path, tiny_bundle: Path, column: str, value: object, message: str
) -> None:
    _change(run, EVIDENCE, _set(column, 0, value))
    assert message in _said(verify(run, tiny_bundle))


def test_evidence_out_of_order_is_found(run: Path, tiny_bundle: Path) -> None:
    rows = pq.read_table(run / EVIDENCE).to_pylist()
    first = next(
        i
        for i in range(len(rows))
        if (rows[i]["case_id"], rows[i]["mode"]) == (rows[i + 1]["case_id"], rows[i + 1]["mode"])
    )
    order = [*range(first), first + 1, first, *range(first + 2, len(rows))]
    _change(run, EVIDENCE, lambda table: table.take(order))
    assert "is not listed once each, by mode and falling share" in _said(verify(run, tiny_bundle))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rows", 9, "9 rows are not 5 scored, 0 joined, 1 rejected and 0 set aside"),
        ("scored", 4, "counts 4 scored"),
        ("joined", 1, f"{CASES} with {REJECTS}: has 0 joined rows, and manifest.json counts 1"),
        ("rejected", 2, f"{REJECTS}: has 1 rejected rows, and manifest.json counts 2"),
        ("set_aside", 1, f"{REJECTS}: has 0 rows set aside, and manifest.json counts 1"),
        ("copies", 2, f"{QUEUE}: has 1 copies, and manifest.json counts 2"),
        ("drawn", 2, f"{QUEUE}: has 0 cases drawn for the audit, and manifest.json counts 2"),
        ("undated", 1, f"{QUEUE}: has 0 cases without a date, and manifest.json counts 1"),
        ("files_rejected", 0, f"{REJECTS}: has 1 rejected files, and manifest.json counts 0"),
        ("flagged", {"told_suspect": 0, "nobody_went": 0}, "flags of told_suspect, and manifest.json counts 0"),
        ("flagged", {"other": 0}, "has 0 columns 'p_other'"),
        ("flagged", {"nobody_went": 1, "told_suspect": 2}, "counts flags of nobody_went, told_suspect"),
    ],
)
def test_counts_that_do_not_add_up(run: Path, tiny_bundle: Path, key: str, value: object, message: str) -> None:
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["counts"][key] = value
    (run / MANIFEST).write_text(json.dumps(manifest))
    assert message in _said(verify(run, tiny_bundle))


def test_a_configuration_that_was_changed(run: Path, tiny_bundle: Path) -> None:
    manifest = json.loads((run / MANIFEST).read_text())
    manifest["config"]["values"]["evidence_per_mode"] = "many"
    (run / MANIFEST).write_text(json.dumps(manifest))
    said = _said(verify(run, tiny_bundle))
    assert "not the one of its digest" in said
    assert "values that do not fit" in said


def test_digests_that_are_missing_or_too_many(run: Path, tiny_bundle: Path) -> None:
    manifest = json.loads((run / MANIFEST).read_text())
    del manifest["files"][QUEUE]
    manifest["files"]["../../secret"] = "0"
    (run / MANIFEST).write_text(json.dumps(manifest))
    said = _said(verify(run, tiny_bundle))
    assert f"gives no digest of {QUEUE}" in said
    assert "'../../secret', which is no part of a run" in said


def test_another_bundle_is_named_and_not_used(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = replace(bundle, pooling=PoolingConfig(kind="max"))
    save_bundle(other, tmp_path / "other")
    found = verify(run, tmp_path / "other", reencode=True)
    said = _said(found)
    assert said.count("\n") == 0
    assert str(tmp_path / "other") in said
    assert other.digest in said
    assert f"with the digest {bundle.digest}" in said
    assert not found.recomputed
    assert not found.effects


def test_a_bundle_that_is_damaged_or_missing_is_said(run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert "is not a bundle" in _said(verify(run, tmp_path / "nowhere"))
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    (damaged / "codebook.yaml").write_text("modes: [")
    assert "the bundle cannot be loaded" in _said(verify(run, damaged))


def test_without_a_bundle_all_else_is_checked(run: Path) -> None:
    assert _said(verify(run, BundleError("there is none"), reencode=True)).count("\n") == 0
    (run / EVIDENCE).unlink()
    _change(run, CASES, _without(0))
    found = verify(run, BundleError("there is none"))
    said = _said(found)
    assert "the bundle cannot be loaded (there is none); give --bundle the folder of 'tiny'" in said
    assert f"{EVIDENCE}: is missing" in said
    assert f"{CASES}: has 4 rows, and manifest.json counts 5 scored" in said
    assert not found.recomputed


@given(text=st.text(alphabet="ab .\n\t\u2028\u200bA!?", max_size=80), data=st.data())
def test_cutting_keeps_the_other_passages_as_they_were(text: str, data: st.DataObject) -> None:
    passages = split_passages(text)
    evidence = data.draw(st.lists(st.sampled_from(passages), unique=True)) if passages else []
    rest, kept = cut_out(text, passages, evidence)
    assert [rest[slice(*span)] for span in kept] == [text[slice(*span)] for span in passages if span not in evidence]
    assert len(rest) == len(text) - sum(span.end - span.start for span in evidence)


@pytest.fixture
def joined(bundle: Bundle, tmp_path: Path) -> Path:
    """A run of two rows that are one case, and of two without text."""
    lines = [("A1", PLAIN), ("A1", TOLD), ("A2", " "), ("A2", "")]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"case_id": i, "narrative": t}) + "\n" for i, t in lines))
    score([tmp_path / "in.jsonl"], tmp_path / "run", bundle, ScoreConfig(join_rows=True), ReadOptions())
    return tmp_path / "run"


def test_a_run_of_joined_rows_has_no_problems(joined: Path, tiny_bundle: Path) -> None:
    assert _said(verify(joined, tiny_bundle, reencode=True)) == ""


@pytest.mark.parametrize("value", [1, 3])
def test_rows_that_were_joined_are_counted(joined: Path, tiny_bundle: Path, value: int) -> None:
    _change(joined, CASES, _set("rows", 0, value))
    said = _said(verify(joined, tiny_bundle))
    assert said.startswith(f"{CASES} with {REJECTS}: has {value} joined rows, and manifest.json counts 2; ")


def test_rejects_that_no_longer_say_of_how_many_rows_they_are(joined: Path, tiny_bundle: Path) -> None:
    rejects = (joined / REJECTS).read_text(encoding="utf-8")
    assert rejects.rstrip().endswith(",2")
    (joined / REJECTS).write_text(rejects.rstrip()[:-1] + "1\r\n", encoding="utf-8", newline="")
    _seal(joined)
    assert "has 1 joined rows, and manifest.json counts 2" in _said(verify(joined, tiny_bundle))


def test_a_run_that_lost_the_count_of_its_rows(joined: Path, tiny_bundle: Path) -> None:
    _change(joined, CASES, lambda table: table.drop_columns("rows"))
    assert f"{CASES}: has 0 columns 'rows' where it should have one" in _said(verify(joined, tiny_bundle))
