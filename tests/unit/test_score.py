from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest

from secondlook.bundle import Bundle, EvidenceModel, load_bundle
from secondlook.config import ScoreConfig
from secondlook.errors import ConfigError, InputError, RunError
from secondlook.evidence import pool
from secondlook.journal import Journal
from secondlook.readers import ReadOptions
from secondlook.schema import Reject, Span
from secondlook.score import Run, score
from secondlook.storage import file_digest, inventory
from secondlook.tables import TableWriter, columns

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."
PLAIN = "The banan ketor lomed tevor. The priing sotus teved wilan."


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def _csv(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def _score(inputs: list[Path], out: Path, bundle: Bundle, **changes: bool) -> Run:
    return score(inputs, out, bundle, ScoreConfig(), ReadOptions(), **changes)


@pytest.fixture
def intake(tmp_path: Path) -> Path:
    rows = [
        ["case_id", "narrative", "unit", "rank"],
        ["A1", PLAIN, "north", "sergeant"],
        ["A2", TOLD, "south", ""],
        ["A3", "  ", "south", ""],
        ["A2", TOLD, "east", ""],
        ["A4", "Nikt do niej nie pojechał, a wszystko mu powiedziano jeszcze tego wieczoru.", "", ""],
        ["=A5", PLAIN, "", ""],
    ]
    return _csv(tmp_path / "intake.csv", rows)


def test_every_row_is_scored_or_rejected_with_a_reason(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    run = _score([intake], tmp_path / "out", bundle)
    counts = run.manifest["counts"]
    assert (counts["rows"], counts["scored"], counts["rejected"]) == (6, 3, 3)
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        rejects = {row["row"]: row for row in csv.DictReader(file)}
    assert set(rejects) == {"4", "5", "6"}
    assert rejects["5"]["case_id"] == "A2"
    assert "duplicate" in rejects["5"]["reason"]
    assert "another language" in rejects["6"]["reason"]
    assert all("powiedziano" not in row["reason"] for row in rejects.values())


def test_the_queue_is_ranked_and_carries_metadata(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    _score([intake], tmp_path / "out", bundle)
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas()
    modes = bundle.codebook.mode_ids
    expected = [
        "case_id",
        "rank",
        "priority",
        *(f"{kind}_{mode}" for mode in modes for kind in ("p", "low", "high", "flag")),
        *("date_received", "explanation", "duplicate_of", "similarity"),
        *("drawn_for_audit", "audit_stratum", "inclusion_probability"),
    ]
    assert list(queue.columns) == [*expected, "unit", "meta_rank"]
    assert list(queue["rank"]) == [1, 2, 3]
    assert queue["case_id"][0] == "A2"
    assert queue["priority"].is_monotonic_decreasing
    ranks = dict(zip(queue["case_id"], queue["meta_rank"], strict=True))
    assert ranks["A1"] == "sergeant"
    assert [case_id for case_id, rank in ranks.items() if isinstance(rank, str)] == ["A1"]
    # Two cases with the same text: the tie goes by id.
    assert queue["case_id"].tolist()[1:] == sorted(queue["case_id"].tolist()[1:])


def test_scores_and_evidence_can_be_recomputed_from_the_run(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    _score([intake], tmp_path / "out", bundle)
    queue, passages, cases, evidence = (
        pq.read_table(tmp_path / f"out/{name}.parquet").to_pandas()
        for name in ("queue", "passages", "cases", "evidence")
    )
    texts = dict(zip(cases["case_id"], cases["narrative"], strict=True))
    modes = bundle.codebook.mode_ids
    for row in queue.to_dict("records"):
        own = passages[passages["case_id"] == row["case_id"]]
        pooled = pool(own[[f"z_{mode}" for mode in modes]].to_numpy(), bundle.pooling)
        for column, mode in enumerate(modes):
            settings = bundle.modes[mode]
            assert row[f"p_{mode}"] == pytest.approx(float(settings.calibration.probability(pooled[column])), abs=1e-12)
            assert row[f"flag_{mode}"] == (row[f"p_{mode}"] >= settings.operating_point.threshold)
    for row in evidence.to_dict("records"):
        assert texts[row["case_id"]][row["start"] : row["end"]] == row["text"]
        assert 0 < row["share"] <= 1
    assert set(evidence["case_id"]) == set(queue["case_id"])


def test_the_same_input_gives_the_same_bytes(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _score([intake], tmp_path / name, bundle)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [
        "cases.parquet", "evidence.parquet", "manifest.json", "passages.parquet", "queue.html", "queue.parquet", "queue.xlsx",
        "rejects.csv",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_manifest_holds_the_digests(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    _score([intake], tmp_path / "out", bundle)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["inputs"] == {intake.as_posix(): file_digest(intake)}
    assert manifest["bundle"]["digest"] == bundle.digest
    assert all(file_digest(tmp_path / "out" / name) == digest for name, digest in manifest["files"].items())
    assert {"secondlook", "nupunkt", "tokenizers", "onnxruntime"} <= manifest["versions"].keys()


def test_formulas_are_neutralised_in_the_rejects(bundle: Bundle, tmp_path: Path) -> None:
    intake = _csv(tmp_path / "in.csv", [["case_id", "narrative"], ["=cmd|' /C calc'!A0", " "], ["ok", PLAIN]])
    _score([intake], tmp_path / "out", bundle)
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in csv.reader(file) for cell in row)


def test_a_line_break_does_not_break_a_reject(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rejects = [Reject("odd\rname.xyz", None, None, "why\r\nso"), Reject("b.csv", 2, "A\r1", "no")]
    monkeypatch.setattr("secondlook.score.read_cases", lambda *_: rejects)
    _score([], tmp_path / "out", bundle)
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    assert rows[1:] == [["odd\rname.xyz", "", "", "why\r\nso", "0"], ["b.csv", "2", "A\r1", "no", "0"]]


def test_a_long_id_is_cut_in_every_reject(bundle: Bundle, tmp_path: Path) -> None:
    polish = "Nikt do niej nie pojechał, a wszystko mu powiedziano jeszcze tego wieczoru."
    rows = [["case_id", "narrative"], ["x" * 200, polish], ["y" * 200, " "]]
    _score([_csv(tmp_path / "in.csv", rows)], tmp_path / "out", bundle)
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        found = [row["case_id"] for row in csv.DictReader(file)]
    assert sorted(found) == ["x" * 79 + "…", "y" * 79 + "…"]


def test_a_run_of_other_inputs_is_not_replaced_by_accident(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    _score([intake], tmp_path / "out", bundle)
    _score([intake], tmp_path / "out", bundle)
    other = _csv(tmp_path / "other.csv", [["case_id", "narrative"], ["B1", PLAIN]])
    with pytest.raises(RunError, match="other inputs"):
        _score([other], tmp_path / "out", bundle)
    assert _score([other], tmp_path / "out", bundle, overwrite=True).manifest["counts"]["scored"] == 1


def test_a_folder_with_other_files_is_never_replaced(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    precious = tmp_path / "mine"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="something other than a run"):
            _score([intake], precious, bundle, overwrite=overwrite)
    assert (precious / "thesis.txt").exists()


def test_an_input_that_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        _score([tmp_path / "none.csv"], tmp_path / "out", bundle)
    assert not (tmp_path / "out").exists()


def test_a_five_megabyte_narrative_is_scored(bundle: Bundle, tmp_path: Path) -> None:
    text = ("The banan ketor lomed wilan. " * 170_000) + "The clerk told him everything."
    (tmp_path / "big.txt").write_text(text, encoding="utf-8")
    run = _score([tmp_path / "big.txt"], tmp_path / "out", bundle)
    assert run.manifest["counts"]["scored"] == 1
    best = next(evidence for evidence in run.top[0].evidence if evidence.mode == "told_suspect")
    assert text[slice(*best.span)] == "The clerk told him everything."
    assert (tmp_path / "out/queue.html").stat().st_size < 1_000_000


def test_text_is_kept_exactly(bundle: Bundle, tmp_path: Path) -> None:
    text = "\ufeff\tThe clerk\r\ntold him 😀 \u202eeverything\u202c.\x00 The banan ketor lomed wilan.\n\n"
    intake = tmp_path / "in.jsonl"
    intake.write_text(json.dumps({"case_id": "1", "narrative": text}) + "\n", encoding="utf-8")
    run = _score([intake], tmp_path / "out", bundle)
    assert run.manifest["counts"]["scored"] == 1
    assert pq.read_table(tmp_path / "out/cases.parquet")["narrative"][0].as_py() == text
    spans = pq.read_table(tmp_path / "out/passages.parquet").to_pandas()
    assert np.all(spans["start"] < spans["end"])
    assert spans["end"].max() <= len(text)


def test_rows_that_could_not_be_reached_are_said(bundle: Bundle, tmp_path: Path) -> None:
    rows = "".join(f"c{i},{PLAIN}\n" for i in range(40))
    intake = tmp_path / "in.csv"
    intake.write_text(f'case_id,narrative\na,{PLAIN}\nb,"never closed\n{rows}', encoding="utf-8")
    run = _score([intake], tmp_path / "out", bundle)
    assert run.manifest["counts"]["complete"] is False
    assert run.manifest["counts"]["scored"] == 1


def test_metadata_never_hides_a_column(bundle: Bundle, tmp_path: Path) -> None:
    intake = _csv(tmp_path / "in.csv", [["case_id", "narrative", "rank", "meta_rank"], ["1", PLAIN, "x", "y"]])
    _score([intake], tmp_path / "out", bundle)
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas()
    assert queue["rank"][0] == 1
    assert {"x", "y"} <= set(queue.iloc[0].astype(str))


class _Counting:
    """A model that counts the narratives it scores, and is interrupted after some."""

    def __init__(self, model: EvidenceModel, stop_after: int | None = None) -> None:
        self._model = model
        self._stop_after = stop_after
        self.scored = 0

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[np.ndarray]:
        found = []
        for one in zip(narratives, passages, strict=True):
            if self.scored == self._stop_after:
                raise KeyboardInterrupt
            self.scored += 1
            found += self._model.score(*([part] for part in one))
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)


def _files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in inventory(folder)}


def _many(path: Path, number: int = 10) -> Path:
    rows = [[f"c{i}", TOLD if i % 3 else PLAIN, str(i)] for i in range(number)]
    return _csv(path, [["case_id", "narrative", "extra"], *rows])


SHARD: dict[str, Any] = {"shard_cases": 2, "minimum_known_words": 0}
SHARDS = ScoreConfig(shard_cases=2)


def _stopped(intake: Path, out: Path, bundle: Bundle, after: int) -> pytest.ExceptionInfo[KeyboardInterrupt]:
    model = _Counting(bundle.model, after)
    with pytest.raises(KeyboardInterrupt) as stop:
        score([intake], out, replace(bundle, model=model), SHARDS, ReadOptions())
    return stop


def test_a_run_that_goes_on_scores_nothing_twice_and_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")
    score([intake], tmp_path / "whole", bundle, SHARDS, ReadOptions())
    stop = _stopped(intake, tmp_path / "out", bundle, after=7)
    assert stop.value.__notes__ == ["6 cases are done: run the same command with --resume"]
    model = _Counting(bundle.model)
    score([intake], tmp_path / "out", replace(bundle, model=model), SHARDS, ReadOptions(), resume=True)
    assert model.scored == 4
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out", "whole"]


def test_a_run_that_is_stopped_before_anything_is_done_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    stop = _stopped(_many(tmp_path / "in.csv"), tmp_path / "out", bundle, after=1)
    assert not hasattr(stop.value, "__notes__")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("shards", [1, 2, 7, 100])
def test_the_size_of_the_shards_changes_no_row(bundle: Bundle, tmp_path: Path, shards: int) -> None:
    intake = _many(tmp_path / "in.csv")
    _score([intake], tmp_path / "one", bundle)
    score([intake], tmp_path / "two", bundle, ScoreConfig(shard_cases=shards, page_cases=3), ReadOptions())
    for name in ("queue", "cases", "passages", "evidence"):
        one, two = (pq.read_table(tmp_path / run / f"{name}.parquet") for run in ("one", "two"))
        assert one.equals(two)


def test_the_first_cases_are_returned_in_the_order_of_the_queue(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")
    config = ScoreConfig(shard_cases=2, page_cases=3)
    assert len(score([intake], tmp_path / "out", bundle, config, ReadOptions()).top) == 3
    run = score([intake], tmp_path / "out", bundle, config, ReadOptions(), top=5)
    queue = pq.read_table(tmp_path / "out/queue.parquet").slice(0, 5).to_pylist()
    assert [item.case.case_id for item in run.top] == [row["case_id"] for row in queue]
    assert [item.rank for item in run.top] == [1, 2, 3, 4, 5]
    for item, row in zip(run.top, queue, strict=True):
        assert item.case.metadata == {"extra": row["extra"]}
        assert item.scores == {mode: row[f"p_{mode}"] for mode in bundle.codebook.mode_ids}
    assert (tmp_path / "out/queue.html").read_text().count("<article") == 3


def test_an_input_that_changes_meanwhile_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")

    class Disturbing(_Counting):
        def score(self, *arguments: Any) -> list[np.ndarray]:
            intake.write_bytes(intake.read_bytes().replace(b"c9", b"d9"))
            return super().score(*arguments)

    with pytest.raises(RunError, match=r"in\.csv: changed while it was scored"):
        score([intake], tmp_path / "out", replace(bundle, model=Disturbing(bundle.model)), SHARDS, ReadOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_an_input_that_is_only_touched_is_the_same(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")

    class Touching(_Counting):
        def score(self, *arguments: Any) -> list[np.ndarray]:
            os.utime(intake, ns=(1, self.scored))
            return super().score(*arguments)

    model = Touching(bundle.model)
    assert score([intake], tmp_path / "out", replace(bundle, model=model), SHARDS, ReadOptions()).top


@pytest.mark.parametrize("place", ["commit", "write_queue"])
def test_a_disk_that_is_full_is_said_and_the_work_stays(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    intake = _many(tmp_path / "in.csv")
    score([intake], tmp_path / "out", bundle, ScoreConfig(page_cases=1), ReadOptions())
    before = _files(tmp_path / "out")
    assert "pages/list-001.html" in before
    owner = Journal if place == "commit" else TableWriter
    done = getattr(owner, place)

    def full(self: Any, *arguments: Any) -> Any:
        if place == "write_queue" or arguments[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return done(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, place, full)
        cases = 6 if place == "commit" else 10
        with pytest.raises(RunError, match=f"No space left.* with --resume: {cases} cases are done"):
            score([intake], tmp_path / "out", bundle, SHARDS, ReadOptions())
    assert _files(tmp_path / "out") == before
    model = _Counting(bundle.model)
    score([intake], tmp_path / "out", replace(bundle, model=model), SHARDS, ReadOptions(), resume=True)
    assert model.scored == 10 - cases
    score([intake], tmp_path / "whole", bundle, SHARDS, ReadOptions())
    assert (tmp_path / "whole/manifest.json").read_bytes() == (tmp_path / "out/manifest.json").read_bytes()


def test_a_run_within_its_own_input_is_refused(intake: Path, bundle: Bundle, tmp_path: Path) -> None:
    for out in (tmp_path / "out", tmp_path):
        with pytest.raises(RunError, match="lies within the input"):
            _score([intake, tmp_path], out, bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["intake.csv"]


def test_a_run_of_rejects_alone_has_every_file(bundle: Bundle, tmp_path: Path) -> None:
    intake = _csv(tmp_path / "in.csv", [["case_id", "narrative"], ["1", " "], ["2", ""]])
    run = _score([intake], tmp_path / "out", bundle)
    assert (run.manifest["counts"]["rejected"], run.top) == (2, [])
    modes = bundle.codebook.mode_ids
    for name, expected in columns(modes).items():
        table = pq.read_table(tmp_path / "out" / name)
        assert (len(table), table.schema.names) == (0, list(expected))


LETTER = (
    "{} told him everything on the {} day, and nobody of the {} went to see her after that in the whole of the spring."
)


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    """Twelve cases of four texts in three versions, received on different days, one on no day."""
    rows = [
        [
            f"c{i}",
            LETTER.format(*(["clerk", "desk", "porter", "driver"][i % 4],) * 3) + " x" * (i // 4),
            day,
            f"mine {i}",
        ]
        for i, day in enumerate([f"2026-09-{i + 1:02d}" for i in range(11)] + ["some day"])
    ]
    return _csv(tmp_path / "dated.csv", [["case_id", "narrative", "got", "explanation"], *rows])


def test_old_cases_are_set_aside_and_counted_apart(dated: Path, bundle: Bundle, tmp_path: Path) -> None:
    config = ScoreConfig.model_validate({"date_column": "got", "since": "2026-09-04", "minimum_known_words": 0})
    run = score([dated], tmp_path / "out", bundle, config, ReadOptions())
    counts = run.manifest["counts"]
    assert (counts["rows"], counts["scored"], counts["rejected"], counts["set_aside"]) == (12, 9, 0, 3)
    assert counts["undated"] == 1
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        rejects = list(csv.DictReader(file))
    assert [(row["case_id"], row["set_aside"]) for row in rejects] == [("c0", "1"), ("c1", "1"), ("c2", "1")]
    assert "3 set aside by date" in (tmp_path / "out/queue.html").read_text()


@pytest.mark.filterwarnings("ignore:Unknown extension", "ignore:Conditional Formatting extension")
def test_copies_stand_behind_their_original_in_every_file(dated: Path, bundle: Bundle, tmp_path: Path) -> None:
    config = ScoreConfig.model_validate({"date_column": "got", "top": 2, "audit": 1, "page_cases": 2} | SHARD)
    run = score([dated], tmp_path / "out", bundle, config, ReadOptions(), top=99)
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas()
    copies = queue[queue["duplicate_of"].notna()]
    assert run.manifest["counts"]["copies"] == len(copies) > 0
    for place in copies.index:
        assert queue["case_id"][place] != queue["duplicate_of"][place]
        assert queue["duplicate_of"][place] in {queue["case_id"][place - 1], queue["duplicate_of"][place - 1]}
    assert run.manifest["counts"]["drawn"] == queue["drawn_for_audit"].sum() == 1
    assert queue["meta_explanation"].str.startswith("mine ").all()
    sheet = openpyxl.load_workbook(tmp_path / "out/queue.xlsx")["Queue"]
    shown = [row[1] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert shown == [item.case.case_id for item in run.top]
    assert (tmp_path / "out/pages/list-001.html").read_text().count("mine") == 0
    by_id = queue.set_index("case_id")
    for item in run.top:
        row = by_id.loc[item.case.case_id]
        assert (item.rank, item.explanation) == (row["rank"], row["explanation"])
        assert item.case.metadata["explanation"] == row["meta_explanation"]


def test_one_mode_may_decide_the_order(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")
    config = ScoreConfig.model_validate({"priority": {"kind": "mode", "mode": "nobody_went"}})
    score([intake], tmp_path / "out", bundle, config, ReadOptions())
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas()
    assert queue["priority"].tolist() == queue["p_nobody_went"].tolist()
    config = ScoreConfig.model_validate({"priority": {"kind": "mode", "mode": "nobody_want"}})
    with pytest.raises(ConfigError, match="did you mean 'nobody_went'"):
        score([intake], tmp_path / "none", bundle, config, ReadOptions())
    assert not (tmp_path / "none").exists()


def test_a_date_column_that_no_case_has_is_refused_before_anything_is_scored(
    dated: Path, bundle: Bundle, tmp_path: Path
) -> None:
    model = _Counting(bundle.model)
    config = ScoreConfig(date_column="gott")
    with pytest.raises(ConfigError, match=r"no case has a column 'gott' \(did you mean 'got'"):
        score([dated], tmp_path / "out", replace(bundle, model=model), config, ReadOptions())
    assert model.scored == 0
    assert [path.name for path in tmp_path.iterdir()] == ["dated.csv"]


def test_texts_without_columns_need_no_dates(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TOLD)
    run = score([tmp_path / "a.txt"], tmp_path / "out", bundle, ScoreConfig(date_column="got"), ReadOptions())
    assert (run.manifest["counts"]["scored"], run.manifest["counts"]["undated"]) == (1, 1)


class _Streaming(_Counting):
    """A model that takes narratives one by one, two ahead."""

    def iterate(self, narratives: Iterable[str], passages: Iterable[Sequence[Span]]) -> Iterator[np.ndarray]:
        waiting: list[np.ndarray] = []
        for narrative, spans in zip(narratives, passages, strict=True):
            waiting += self.score([narrative], [spans])
            if len(waiting) > 2:
                yield waiting.pop(0)
        yield from waiting


def test_a_model_that_streams_goes_across_shards(bundle: Bundle, tmp_path: Path) -> None:
    rows = [[f"c{i}", " " if i in (0, 1, 6, 7) else TOLD, str(i)] for i in range(11)]
    intake = _csv(tmp_path / "in.csv", [["case_id", "narrative", "extra"], *rows])
    score([intake], tmp_path / "whole", bundle, SHARDS, ReadOptions())
    streaming = replace(bundle, model=_Streaming(bundle.model, stop_after=5))
    with pytest.raises(KeyboardInterrupt) as stop:
        score([intake], tmp_path / "out", streaming, SHARDS, ReadOptions())
    assert stop.value.__notes__ == ["2 cases are done: run the same command with --resume"]
    model = _Streaming(bundle.model)
    score([intake], tmp_path / "out", replace(bundle, model=model), SHARDS, ReadOptions(), resume=True)
    assert model.scored == 5
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


JOINING = ScoreConfig(shard_cases=2, join_rows=True)
POLISH = "Nikt do niej nie pojechał, a wszystko mu powiedziano jeszcze tego wieczoru."


def _grouped(path: Path, cases: int = 8) -> Path:
    """Cases of three rows, with a row without text, rows that are rejected by themselves, and one that stands apart."""
    rows = [["case_id", "narrative", "unit", "got"]]
    for number in range(cases):
        rows += [[f"c{number}", "", "north", ""]]
        rows += [[f"c{number}", TOLD if number % 3 else PLAIN, "north", "2026-09-02"]]
        rows += [["", "Nobody knows whose row this is.", "", ""]] * (number == 3)
        rows += [[f"c{number}", PLAIN, "south", f"2026-09-0{number + 1}"]]
    return _csv(path, [*rows, ["polish", POLISH, "", ""], ["polish", POLISH, "", ""], ["c1", TOLD, "", ""]])


def test_rows_of_one_case_are_scored_as_one_and_every_row_is_counted(bundle: Bundle, tmp_path: Path) -> None:
    counts = score([_grouped(tmp_path / "in.csv")], tmp_path / "out", bundle, JOINING, ReadOptions()).manifest["counts"]
    assert {name: counts[name] for name in ("rows", "scored", "joined", "rejected", "set_aside")} == {
        "rows": 8 * 3 + 1 + 2 + 1,
        "scored": 8,
        "joined": 8 * 2 + 1,
        "rejected": 3,
        "set_aside": 0,
    }
    cases = pq.read_table(tmp_path / "out/cases.parquet").to_pylist()
    assert [(row["case_id"], row["row"], row["rows"]) for row in cases[:5]] == [
        ("c0", 2, 3), ("c1", 5, 3), ("c2", 8, 3), ("c3", 11, 3), ("c4", 15, 3)
    ]  # fmt: skip
    assert cases[1]["narrative"] == f"{TOLD}\n\n{PLAIN}"
    with (tmp_path / "out/rejects.csv").open(encoding="utf-8", newline="") as file:
        rejects = {row["row"]: row for row in csv.DictReader(file)}
    assert {row: (one["case_id"], one["rows"]) for row, one in rejects.items()} == {
        "13": ("", "1"), "27": ("polish", "2"), "29": ("c1", "1")
    }  # fmt: skip
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas()
    assert set(queue["unit"]) == {"north; south"}


def test_evidence_of_joined_rows_lies_in_the_joined_text(bundle: Bundle, tmp_path: Path) -> None:
    _csv(tmp_path / "in.csv", [["case_id", "narrative"], ["A", PLAIN], ["A", "\tThe 😀 clerk."], ["A", TOLD]])
    score([tmp_path / "in.csv"], tmp_path / "out", bundle, JOINING, ReadOptions())
    (case,) = pq.read_table(tmp_path / "out/cases.parquet").to_pylist()
    narrative = f"{PLAIN}\n\n\tThe 😀 clerk.\n\n{TOLD}"
    assert case["narrative"] == narrative
    evidence = pq.read_table(tmp_path / "out/evidence.parquet").to_pylist()
    assert all(narrative[row["start"] : row["end"]] == row["text"] for row in evidence)
    assert any(row["start"] > len(narrative) - len(TOLD) and "told him everything" in row["text"] for row in evidence)
    passages = pq.read_table(tmp_path / "out/passages.parquet").to_pylist()
    assert not any("\n\n" in narrative[row["start"] : row["end"]] for row in passages)


def test_joined_rows_that_go_on_give_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    intake = _grouped(tmp_path / "in.csv")
    score([intake], tmp_path / "whole", bundle, JOINING, ReadOptions())
    for after in range(1, 8):
        with pytest.raises(KeyboardInterrupt):
            model = _Counting(bundle.model, after)
            score([intake], tmp_path / "out", replace(bundle, model=model), JOINING, ReadOptions(), overwrite=True)
        model = _Counting(bundle.model)
        score([intake], tmp_path / "out", replace(bundle, model=model), JOINING, ReadOptions(), resume=True)
        assert model.scored <= 8 - after + 1
        assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    config = JOINING.model_copy(update={"shard_cases": 5})
    score([intake], tmp_path / "other", bundle, config, ReadOptions())
    for name in ("cases.parquet", "queue.parquet"):
        assert pq.read_table(tmp_path / "other" / name) == pq.read_table(tmp_path / "whole" / name)


def test_work_of_rows_that_were_not_joined_is_not_gone_on_with(bundle: Bundle, tmp_path: Path) -> None:
    intake = _grouped(tmp_path / "in.csv")
    _stopped(intake, tmp_path / "out", bundle, after=5)
    with pytest.raises(RunError, match="it was of other config \\(join_rows\\)"):
        score([intake], tmp_path / "out", bundle, JOINING, ReadOptions(), resume=True)


def test_of_the_dates_of_a_case_the_first_counts(bundle: Bundle, tmp_path: Path) -> None:
    intake = _grouped(tmp_path / "in.csv")
    choices = {"join_rows": True, "date_column": "got", "since": "2026-09-02"}
    config = ScoreConfig.model_validate(choices)
    counts = score([intake], tmp_path / "out", bundle, config, ReadOptions()).manifest["counts"]
    assert (counts["scored"], counts["set_aside"], counts["undated"]) == (8, 0, 0)
    queue = pq.read_table(tmp_path / "out/queue.parquet").to_pandas().set_index("case_id")
    assert {str(received)[:10] for received in queue["date_received"]} == {"2026-09-02"}
    assert queue["got"]["c4"] == "2026-09-02; 2026-09-05"
    config = ScoreConfig.model_validate(choices | {"since": "2026-09-03"})
    counts = score([intake], tmp_path / "old", bundle, config, ReadOptions()).manifest["counts"]
    assert (counts["scored"], counts["set_aside"], counts["joined"]) == (0, 8, 17)
    assert counts["rows"] == counts["joined"] + counts["rejected"] + counts["set_aside"]


def test_where_no_row_is_joined_nothing_but_the_count_of_rows_is_new(bundle: Bundle, tmp_path: Path) -> None:
    intake = _many(tmp_path / "in.csv")
    for name, config in (("plain", SHARDS), ("joined", JOINING)):
        assert score([intake], tmp_path / name, bundle, config, ReadOptions()).manifest["counts"]["joined"] == 0
    plain, joined = _files(tmp_path / "plain"), _files(tmp_path / "joined")
    assert {name for name in plain if plain[name] != joined[name]} == {"cases.parquet", "rejects.csv", "manifest.json"}
    cases = pq.read_table(tmp_path / "joined/cases.parquet")
    assert cases.drop_columns("rows") == pq.read_table(tmp_path / "plain/cases.parquet")
    assert set(cases["rows"].to_pylist()) == {1}
