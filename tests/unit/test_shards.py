from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook import shards
from secondlook.bundle import load_bundle
from secondlook.config import ScoreConfig
from secondlook.copies import signature
from secondlook.schema import Case, Reject
from secondlook.scorer import Scorer
from secondlook.shards import cases, check, cut_stretches, outcomes, rejected_rows, scored_rows, shard_table, signatures
from secondlook.tables import _metadata_columns, _titles

TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."
POLISH = "Nikt do niej nie pojechał, a wszystko mu powiedziano jeszcze tego wieczoru."


@pytest.fixture(scope="module")
def scorer(tiny_bundle: Path) -> Scorer:
    return Scorer(load_bundle(tiny_bundle))


def test_stretches_are_cut_by_rows_and_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Case(str(number), "x" * (30 if number == 4 else 1)) for number in range(9)]
    monkeypatch.setattr(shards, "CHARACTERS", 30)
    cut = list(cut_stretches(items, 3))
    assert [[item.case_id for item in one.items] for one in cut] == [
        ["0", "1", "2"],
        ["3", "4"],
        ["5", "6", "7"],
        ["8"],
    ]
    assert [one.number for one in cut] == [0, 1, 2, 3]
    assert len({one.digest for one in cut}) == 4
    assert list(cut_stretches([], 3)) == []


@pytest.mark.parametrize(
    "change", [{"narrative": "y"}, {"case_id": "b"}, {"metadata": {"unit": "n"}}, {"row": 3}, {"file": "b.csv"}]
)
def test_a_stretch_has_the_digest_of_everything_that_was_read(change: dict[str, object]) -> None:
    case = Case("a", "x", {"unit": None}, "a.csv", 2)
    one, same, other = (
        next(cut_stretches([item], 5)).digest for item in (case, replace(case), replace(case, **change))
    )
    assert one == same != other


def test_a_shard_gives_back_what_was_read_and_scored(scorer: Scorer) -> None:
    items = [
        Case("A1", TOLD, {"unit": "north", "empty": None}, "a.csv", 2),
        Reject("odd\udc80.xyz", None, None, "no such kind", rest_unread=True),
        Case("A2", POLISH, {}, "a.csv", 3),
        Case("A3", "\ufeff\tThe clerk\r\ntold him 😀.\x00 The banan ketor.", {"\udc80": "x"}, "a.csv", 4),
    ]
    checked = check(next(cut_stretches(items, 9)), scorer)
    scored = list(scorer.log_odds([([case.narrative for case in checked.cases], checked.passages)]))
    shard = shard_table(checked, scored)
    rows = scored_rows(shard)
    assert list(cases(rows)) == [items[0], replace(items[3], metadata={"\\udc80": "x"})]
    for found, spans, values in zip(outcomes(rows, scorer), checked.passages, scored, strict=True):
        assert found.passages == spans
        np.testing.assert_array_equal(found.log_odds, values.log_odds)
        assert found == replace(scorer.outcome(spans, *values), log_odds=found.log_odds)
    file, unreadable = rejected_rows(shard)
    assert file == Reject("odd\\udc80.xyz", None, None, "no such kind", rest_unread=True)
    assert (unreadable.row, unreadable.case_id) == (3, "A2")
    assert "another language" in unreadable.reason
    np.testing.assert_array_equal(signatures(rows), [signature(item.narrative) for item in (items[0], items[3])])


def test_what_is_too_old_is_set_aside_before_anything_is_made_of_it(tiny_bundle: Path) -> None:
    config = ScoreConfig.model_validate({"date_column": "got", "since": "2026-09-02", "group_duplicates": False})
    items = [
        Case(day, POLISH if day == "2026-09-01" else TOLD, {"got": day}) for day in ("2026-09-01", "2026-09-02", "?")
    ]
    scorer = Scorer(load_bundle(tiny_bundle), config)
    checked = check(next(cut_stretches(items, 9)), scorer)
    shard = shard_table(checked, list(scorer.log_odds([([TOLD, TOLD], checked.passages)])))
    (old,) = rejected_rows(shard)
    assert (old.case_id, old.set_aside) == ("2026-09-01", True)
    assert "received 2026-09-01, before 2026-09-02" in old.reason
    assert [case.case_id for case in cases(scored_rows(shard))] == ["2026-09-02", "?"]
    assert signatures(scored_rows(shard)) is None


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "rank", ""]), st.none() | st.text("xy", max_size=2), max_size=4),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None)
def test_every_value_of_the_metadata_lands_in_its_row_and_column(rows: list[dict[str, str | None]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    maps = pa.chunked_array([pa.array([list(row.items()) for row in rows], pa.map_(pa.string(), pa.string()))])
    for name, column in zip(names, _metadata_columns(maps, names), strict=True):
        assert column.to_pylist() == [row.get(name) for row in rows]


def test_metadata_columns_get_names_of_their_own() -> None:
    assert _titles(["rank", "meta_rank", "unit"], ["rank"]) == ["meta_rank", "meta_meta_rank", "unit"]
