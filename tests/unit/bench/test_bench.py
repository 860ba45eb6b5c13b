"""That the bench measures what it says; how fast anything is, no test asserts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from typer.testing import CliRunner

from secondlook.bench import bench_score, competitors, contenders, sizes
from secondlook.bench.work import Contender, Skipped, Work, choose_narratives, distinct
from secondlook.bundle import Bundle, load_bundle
from secondlook.cli import app
from secondlook.config import TrainConfig
from secondlook.corpus import read_annotations
from secondlook.encoder.session import MODEL, TransformerEvidenceModel
from secondlook.errors import ConfigError, RunError

OWN = ["ours", "encoder alone", "int8 products", "int8 products, quantising", "padded batches"]
COMPETITORS = ["transformers pipeline", "transformers pipeline, bfloat16", "SetFit predict"]


@pytest.fixture(scope="module")
def bundle(tiny_transformer: TrainConfig) -> Bundle:
    return load_bundle(tiny_transformer.bundle)


@pytest.fixture
def without_competitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competitors, "find_spec", lambda name: None)


def test_everyone_takes_every_turn_on_the_same_work(
    bundle: Bundle, tiny_transformer: TrainConfig, without_competitors: None
) -> None:
    narratives = choose_narratives(5, tiny_transformer.data.annotations)
    report = bench_score(narratives, bundle, repeats=3, threads=2)
    assert [timing.name for timing in report.timings] == OWN
    assert all(len(timing.seconds) == len(timing.processor_ratios) == 3 for timing in report.timings)
    assert report.timings[0].ratios == [1.0, 1.0, 1.0]
    assert report.narratives == 5
    assert report.distinct_windows <= report.windows
    assert report.encoder_share() > 0
    assert set(report.ceilings()) == {"int8 products", "int8 products, quantising"}
    json.dumps(report.as_json())


def test_whoever_cannot_take_part_is_named_with_the_remedy(
    bundle: Bundle, tiny_transformer: TrainConfig, without_competitors: None
) -> None:
    report = bench_score(choose_narratives(2, tiny_transformer.data.annotations), bundle, repeats=1)
    assert [one.name for one in report.skipped] == COMPETITORS
    assert all("pip install 'secondlook[train" in one.reason for one in report.skipped)


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", COMPETITORS)
def test_competitors_score_every_passage(bundle: Bundle, tiny_transformer: TrainConfig, name: str) -> None:
    model = bundle.model
    assert isinstance(model, TransformerEvidenceModel)
    work = Work.of(choose_narratives(3, tiny_transformer.data.annotations), model)
    prepare = next(one for one in competitors.competitors(model.config, 2, 1) if one.name == name)
    made = prepare(work)
    if isinstance(made, Skipped):
        pytest.skip(made.reason)
    assert "passages/s by batch size" in made.setting
    made.run(work)


def test_the_ceiling_multiplies_the_encoders_own_matrices(bundle: Bundle, tiny_transformer: TrainConfig) -> None:
    model = bundle.model
    assert isinstance(model, TransformerEvidenceModel)
    matrices = contenders._matrices(model.to_files()[MODEL])
    # One layer of width 32: query, key, value and output, then 64 and back; and the head of two modes.
    assert sorted(matrix.shape for matrix in matrices) == sorted([(32, 32)] * 4 + [(32, 64), (64, 32), (32, 2)])
    session = ort.InferenceSession(contenders._products_graph(matrices, quantising=False))
    draw = np.random.default_rng(1)
    rows = {f"rows_{width}": draw.integers(0, 255, (3, width)).astype(np.uint8) for width in (32, 64)}
    for matrix, first in zip(matrices, session.run(None, rows), strict=True):
        given = rows[f"rows_{matrix.shape[0]}"][0].astype(int) - 128
        np.testing.assert_array_equal(first, given @ matrix.astype(int))
    work = Work.of(["Nobody went to her house."], model)
    made = next(one for one in contenders.own_contenders(bundle, model) if one.name == "int8 products")(work)
    assert isinstance(made, Contender)
    assert made.operations
    assert made.operations(work) == 2 * sum(len(window.ids) for window in work.windows) * (
        4 * 32 * 32 + 2 * 32 * 64 + 64
    )


def test_narratives_are_drawn_the_same_each_time_one_of_a_group(tiny_transformer: TrainConfig) -> None:
    source = tiny_transformer.data.annotations
    drawn = choose_narratives(20, source)
    assert drawn == choose_narratives(20, source)
    groups = {item.annotation.narrative: item.annotation.group for item in read_annotations(source)[0]}
    assert len({groups[narrative] for narrative in drawn}) == 20


def test_more_narratives_than_there_are_share_no_window(tmp_path: Path, bundle: Bundle) -> None:
    text = " ".join(["The clerk told him everything."] * 60)
    (tmp_path / "cases.csv").write_text(f"case_id,narrative\na,{text}\n", encoding="utf-8")
    drawn = choose_narratives(4, tmp_path / "cases.csv")
    assert len(set(drawn)) == 4
    assert drawn[0] == text
    marks = [distinct(" ".join(["word"] * 500), number).split() for number in (1, 2)]
    for start in range(0, 400, 50):  # no stretch as long as a window is the same in both
        assert marks[0][start : start + 110] != marks[1][start : start + 110]


def test_nothing_to_draw_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        choose_narratives(3, tmp_path / "nowhere.csv")
    (tmp_path / "empty.csv").write_text("case_id,narrative\n")
    with pytest.raises(ConfigError, match="no narrative to measure with"):
        choose_narratives(3, tmp_path / "empty.csv")


def test_a_bundle_without_an_encoder_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="has none"):
        bench_score(["Nobody went."], load_bundle(tiny_bundle))


def test_sizes_run_the_command_itself(
    tiny_transformer: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "HELP_RUNS", 1)
    drawn = choose_narratives(4, tiny_transformer.data.annotations)
    costs = sizes.bench_sizes(drawn, [6], tiny_transformer.bundle)
    assert [cost.narratives for cost in (costs.first_result, *costs.sizes)] == [1, 6]
    assert costs.sizes[0].peak_mib is None or costs.sizes[0].peak_mib > 1
    for name in ("a.svg", "b.svg"):
        sizes.draw_sizes(costs, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(RunError, match="failed"):
        sizes.bench_sizes(drawn, [6], tmp_path / "no-bundle")


def test_the_command_prints_and_writes_what_it_measured(
    tiny_transformer: TrainConfig, tmp_path: Path, without_competitors: None
) -> None:
    where = ["--from", str(tiny_transformer.data.annotations), "--bundle", str(tiny_transformer.bundle)]
    how = ["--narratives", "4", "--sample", "2", "--repeats", "1", "--out", str(tmp_path / "figures.json")]
    done = CliRunner().invoke(app, ["bench", "score", *where, *how])
    assert done.exit_code == 0, done.output
    for expected in ("ours", "padded batches", "GOP/s", "Timed on 2 of 4", "Not measured: SetFit predict"):
        assert expected in done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["narratives"] == 2
    assert figures["figures"]["ours"]["times_ours"] == 1
    assert figures["sizes"] is None


def test_sizes_that_are_none(tiny_transformer: TrainConfig) -> None:
    done = CliRunner().invoke(app, ["bench", "score", "--sizes", "1000,many"])
    assert isinstance(done.exception, ConfigError)
