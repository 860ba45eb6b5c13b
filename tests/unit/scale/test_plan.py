"""Units of work are the stretches that one process cuts, whatever the files are like."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.errors import InputError
from secondlook.readers import ReadOptions, read_cases
from secondlook.scale import places
from secondlook.scale.places import Found, find_files, find_slices, open_place
from secondlook.scale.plan import Slice, Survey, Unit, UnitReader, plan, survey, whole_file
from secondlook.schema import Case, Reject
from secondlook.shards import Stretch, cut_stretches

OPTIONS = ReadOptions(max_characters=60)
TEXTS = ["Nobody went.", "", None, " ", "Nobody went to see her. " * 2, "x" * 61, "\0" * 5]


def _write(path: Path, rows: list[tuple[str | None, str | None]], rows_a_group: int = 3) -> Path:
    ids, narratives = zip(*rows, strict=True) if rows else ((), ())
    table = pa.table({"case_id": pa.array(ids, pa.string()), "narrative": pa.array(narratives, pa.string())})
    pq.write_table(table.append_column("unit", pa.array(["a"] * len(rows))), path, row_group_size=rows_a_group)
    return path


def _surveys(files: list[Found], options: ReadOptions = OPTIONS) -> list[Survey]:
    """As the engine surveys, without Ray."""
    surveys, done = [], set()
    for piece in find_slices(files, options):
        if isinstance(piece, Reject):
            surveys.append(Survey.of_reject(piece))
        elif any(survey(one, options, open_place) is None for one in find_slices(files, options)
                 if isinstance(one, Slice) and one.place == piece.place):  # fmt: skip
            if piece.place not in done:
                whole = survey(whole_file(piece.name, piece.place), options, open_place)
                assert whole is not None
                surveys.append(whole)
            done.add(piece.place)
        else:
            one = survey(piece, options, open_place)
            assert one is not None
            surveys.append(one)
    return surveys


def _units(inputs: list[Path], shard_cases: int, options: ReadOptions = OPTIONS) -> list[Unit]:
    units = plan(_surveys(find_files(list(map(str, inputs))), options), shard_cases)
    return [Unit.model_validate_json(unit.model_dump_json()) for unit in units]


def _read(units: list[Unit], options: ReadOptions = OPTIONS) -> list[Stretch]:
    reader = UnitReader(options, open_place)
    return [reader.read(unit) for unit in units]


def _here(inputs: list[Path], shard_cases: int, options: ReadOptions = OPTIONS) -> list[Stretch]:
    return list(cut_stretches(read_cases(inputs, options), shard_cases))


rows = st.tuples(st.sampled_from(["a", "b", "c", "d", " b", "", None]), st.sampled_from(TEXTS))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(rows, max_size=12), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 7), st.booleans()
)
def test_units_are_what_one_process_cuts(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[str | None, str | None]]],
    rows_a_group: int,
    shard_cases: int,
    folder: bool,
) -> None:
    root = tmp_path_factory.mktemp("in")
    paths = [_write(root / f"{number}.parquet", own, rows_a_group) for number, own in enumerate(files)]
    inputs = [root] if folder else paths
    units = _units(inputs, shard_cases)
    assert _read(units) == _here(inputs, shard_cases)
    shuffled = random.Random(1).sample(units, len(units))
    assert sorted(_read(shuffled), key=lambda one: one.number) == _here(inputs, shard_cases)


def test_long_narratives_end_a_unit_as_they_end_a_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondlook.shards.CHARACTERS", 100)
    monkeypatch.setattr("secondlook.scale.plan.CHARACTERS", 100)
    lengths = [20, 20, 60, 59, 41, 1, 99, 20, 20]
    own = [(f"c{number % 8}", "w" * length) for number, length in enumerate(lengths)]
    path = _write(tmp_path / "a.parquet", own, 4)
    options = ReadOptions()
    here = _here([path], 50, options)
    assert [len(stretch.items) for stretch in here] == [3, 2, 2, 2]
    assert _read(_units([path], 50, options), options) == here


def test_a_damaged_file_is_read_as_far_as_one_process_reads_it(tmp_path: Path) -> None:
    own = [(f"c{number}", f"Nobody went, {random.Random(number).random()}.") for number in range(900)]
    path = _write(tmp_path / "a.parquet", own, 300)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    _write(tmp_path / "b.parquet", [("c0", "Nobody went."), ("z", "Nobody went.")])
    here = _here([tmp_path], 128)
    assert any("damaged after row" in item.reason for one in here for item in one.items if isinstance(item, Reject))
    assert _read(_units([tmp_path], 128)) == here
    assert sum(isinstance(item, Case) for one in here for item in one.items) > 1


def test_files_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    _write(tmp_path / "b.parquet", [])
    _write(tmp_path / "c.parquet", [("a", "Nobody went.")])
    (tmp_path / "_SUCCESS").write_bytes(b"")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more PAR1")
    (tmp_path / "e.parquet").write_text("Nobody went.")
    (tmp_path / "f.parquet").symlink_to(tmp_path / "c.parquet")
    pq.write_table(pa.table({"text": ["Nobody went."]}), tmp_path / "g.parquet")
    here = _here([tmp_path], 4)
    assert sum(len(stretch.items) for stretch in here) == 7
    assert _read(_units([tmp_path], 4)) == here


def test_an_address_is_read_as_a_path_is(tmp_path: Path) -> None:
    for name in "ab":
        _write(tmp_path / f"{name}.parquet", [(f"{name}{number}", "Nobody went.") for number in range(7)])
    units = list(plan(_surveys(find_files([f"file://{tmp_path}"])), 5))
    found = [(item.case_id, item.row) for one in _read(units) for item in one.items if isinstance(item, Case)]
    assert found == [(item.case_id, item.row) for one in _here([tmp_path], 5) for item in one.items]
    assert places.digest(f"file://{tmp_path}/a.parquet") != "unreadable"


def test_other_formats_are_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("case_id,narrative\n1,Nobody went.\n")
    with pytest.raises(InputError, match="reads Parquet only; convert it"):
        find_files([str(tmp_path)])
    for nowhere in (str(tmp_path / "none"), f"file://{tmp_path}/none", "nothing://here"):
        with pytest.raises(InputError):
            find_files([nowhere])


def test_a_row_that_is_gone_is_noticed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.parquet", [(str(number), "Nobody went.") for number in range(9)])
    units = _units([path], 4)
    _write(path, [(str(number), "Nobody went.") for number in range(7)])
    with pytest.raises(Exception, match="row"):
        _read(units)


def test_nothing_makes_no_unit() -> None:
    assert list(plan([], 4)) == []
