from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondlook.codebook import load_codebook
from secondlook.config import DataConfig, TrainConfig
from secondlook.corpus import (
    Adjudication,
    Annotation,
    Decided,
    EvidenceSpan,
    Located,
    SecondAnnotation,
    Source,
    load_corpus,
    load_gold,
    load_second,
    write_annotations,
)
from secondlook.errors import CorpusError
from secondlook.merge import Merge, merge
from secondlook.prepare import prepare
from secondlook.splits import Assignment, check_split, place_of_group, read_split, straddling_duplicates

WORDS = [f"word{i}" for i in range(300)]
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
TELLS = "The clerk told him."


@pytest.fixture
def data(tmp_path: Path, write_tiny_corpus: Callable[[Path], TrainConfig]) -> DataConfig:
    return write_tiny_corpus(tmp_path).data


def _text(seed: int, length: int = 60) -> str:
    return f"{TELLS} {' '.join(random.Random(seed).choices(WORDS, k=length))}"


def _decided(days: int = 0, who: str = "r-1") -> Decided:
    return Decided(
        reviewer=who, kind="single", flags_seen=True, at=MONDAY + timedelta(days=days), bundle="b", bundle_digest="d",
        run="r",
    )  # fmt: skip


def _new(item_id: str, text: str, told: bool | None = True, days: int = 0, **more: object) -> Annotation:
    evidence = (EvidenceSpan(mode="told_suspect", start=0, end=len(TELLS)),) if told else ()
    labels = {} if told is None else {"told_suspect": told}
    values = {"labels": labels, "evidence": evidence, "group": item_id, "decided": _decided(days)} | more
    return Annotation(id=item_id, narrative=text, source=Source(kind="own"), annotator="r-1", **values)  # type: ignore[arg-type]


def _merge(data: DataConfig, items: Sequence[Annotation], **more: bool) -> Merge:
    path = data.codebook.parent.parent / "new.jsonl"
    write_annotations(path, items)
    return merge(path, data, **more)


def _contents(data: DataConfig) -> dict[str, bytes]:
    root = data.codebook.parent
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _corpus(data: DataConfig) -> dict[str, Annotation]:
    return {item.id: item for item in load_corpus(data.annotations, load_codebook(data.codebook))}


def _in_part(data: DataConfig, part: str) -> Annotation:
    places = read_split(data.splits)
    return next(item for item in _corpus(data).values() if places[item.id].split == part)


def test_new_narratives_get_places_and_nobody_else_moves(data: DataConfig) -> None:
    before = read_split(data.splits)
    done = _merge(data, [_new(f"own-{i}", _text(i)) for i in range(30)])
    after = read_split(data.splits)
    assert (done.added, done.notes) == (30, [])
    assert {key: after[key] for key in before} == before
    assert {after[f"own-{i}"].split for i in range(30)} == {"train", "development"}
    check_split(load_gold(data, load_codebook(data.codebook)), after, data.near_duplicate_similarity)
    assert len(prepare(data).frame) == len(before) + 30


def test_the_same_again_changes_nothing(data: DataConfig) -> None:
    old = _in_part(data, "train")
    items = [
        _new("own-1", _text(1)),
        _new("own-2", f"{_text(1)} Sent again."),
        _new("own-3", f"{old.narrative} Again.", None),
    ]
    assert _merge(data, items).added == 3
    before = _contents(data)
    done = _merge(data, items)
    assert (done.added, done.changed, done.unchanged, done.files) == (0, 0, 3, {})
    assert _contents(data) == before


def test_a_dry_run_says_the_same_and_changes_nothing(data: DataConfig) -> None:
    before = _contents(data)
    tried = _merge(data, [_new("own-1", _text(1))], dry_run=True)
    assert _contents(data) == before
    done = _merge(data, [_new("own-1", _text(1))])
    assert (tried.added, tried.places, tried.files) == (done.added, done.places, done.files)


@pytest.mark.parametrize("part", ["train", "development"])
def test_a_near_duplicate_gets_the_group_and_the_place(data: DataConfig, part: str) -> None:
    old = _in_part(data, part)
    done = _merge(data, [_new("own-1", f"{old.narrative} Then he left.", None)])
    places = read_split(data.splits)
    assert (done.added, done.joined) == (1, 1)
    assert _corpus(data)["own-1"].group == old.group
    assert (places["own-1"].split, places["own-1"].fold) == (places[old.id].split, places[old.id].fold)
    assert not straddling_duplicates([Located(item, "f", 1) for item in _corpus(data).values()])


def test_near_duplicates_among_the_new_stand_together(data: DataConfig) -> None:
    _merge(data, [_new("own-1", _text(1)), _new("own-2", f"{_text(1)} Again."), _new("own-3", f"Once. {_text(1)}")])
    found, places = _corpus(data), read_split(data.splits)
    assert {found[i].group for i in ("own-1", "own-2", "own-3")} == {"own-1"}
    assert len({(places[i].split, places[i].fold) for i in ("own-1", "own-2", "own-3")}) == 1


def test_what_resembles_the_test_part_is_left_out_and_listed(data: DataConfig) -> None:
    old, before = _in_part(data, "test"), _contents(data)
    done = _merge(data, [_new("own-1", f"{old.narrative} Then he left.", None)])
    assert (done.added, [note.id for note in done.notes]) == (0, ["own-1"])
    assert "test part" in done.notes[0].what
    assert _contents(data) == before


def test_what_binds_two_places_is_left_out(data: DataConfig) -> None:
    places = read_split(data.splits)
    one, other = (next(item for item in _corpus(data).values() if places[item.id].fold == fold) for fold in (0, 1))
    loose = data.model_copy(update={"near_duplicate_similarity": 0.4})  # each is not quite half of the two together
    done = _merge(loose, [_new("own-1", f"{one.narrative} {other.narrative}", None)])
    assert (done.added, done.files) == (0, {})
    assert "binds together" in done.notes[0].what


def test_a_later_decision_replaces_an_earlier_and_is_listed(data: DataConfig) -> None:
    _merge(data, [_new("own-1", _text(1), True, days=1)])
    done = _merge(data, [_new("own-1", _text(1), False, days=2)])
    (item,) = (item for item in _corpus(data).values() if item.id == "own-1")
    assert (done.changed, item.labels, item.evidence) == (1, {"told_suspect": False}, ())
    assert item.decided == _decided(2)
    assert "replaces" in done.notes[0].what
    again = _merge(data, [_new("own-1", _text(1), True, days=1)])
    assert (again.changed, again.files) == (0, {})
    assert "decided later" in again.notes[0].what


def test_what_was_unknown_is_added_to_what_annotators_said_and_a_conflict_is_listed(data: DataConfig) -> None:
    old = _in_part(data, "train")
    holds = old.labels["told_suspect"]
    path = data.annotations / "tiny.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    partial = old.model_copy(update={"labels": {"told_suspect": holds}, "evidence": old.evidence if holds else ()})
    partial = partial.model_copy(
        update={"evidence": tuple(one for one in partial.evidence if one.mode == "told_suspect")}
    )
    at = next(i for i, line in enumerate(lines) if f'"{old.id}"' in line)
    lines[at] = partial.model_dump_json(by_alias=True, exclude_none=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    new = _new("own-1", old.narrative, None, labels={"told_suspect": False, "nobody_went": False}, evidence=())
    done = _merge(data, [new])
    found = _corpus(data)[old.id]
    assert (found.labels["nobody_went"], found.labels["told_suspect"], found.annotator) == (False, holds, "test")
    assert [note.id for note in done.notes] == ([old.id] if holds else [])
    assert all("conflict" in note.what for note in done.notes)
    untouched = path.read_text(encoding="utf-8").split("\n")
    assert [line for i, line in enumerate(untouched) if i != at] == [line for i, line in enumerate(lines) if i != at]


def test_the_test_part_is_never_changed(data: DataConfig) -> None:
    old, before = _in_part(data, "test"), _contents(data)
    flipped = dict.fromkeys(old.labels, False) | {"told_suspect": not old.labels["told_suspect"]}
    evidence = (EvidenceSpan(mode="told_suspect", start=0, end=5),) if flipped["told_suspect"] else ()
    done = _merge(data, [_new("own-1", old.narrative, None, labels=flipped, evidence=evidence)])
    assert done.notes
    assert _contents(data) == before


def test_an_id_that_another_narrative_has_is_left_out(data: DataConfig) -> None:
    done = _merge(data, [_new("t000", _text(5))])
    assert (done.added, done.notes[0].id) == (0, "t000")


def _folder(root: Path) -> Path:
    """As the desk exports it: two narratives, one read twice and adjudicated."""
    folder = root / "week"
    first = [_new("own-1", _text(1), True), _new("own-2", _text(2), False)]
    write_annotations(folder / "annotations/decisions.jsonl", first)
    second = [SecondAnnotation(id="own-1", annotator="r-2", labels={"told_suspect": False}, decided=_decided(0, "r-2"))]
    write_annotations(folder / "annotations/second/decisions.jsonl", second)
    decided = Adjudication(
        id="own-1", mode="told_suspect", holds=False, topic="confirm against reject", reason="", decided=_decided(1)
    )
    write_annotations(folder / "adjudications/decisions.jsonl", [decided])
    return folder


def test_second_annotations_and_adjudications_come_along(data: DataConfig, tmp_path: Path) -> None:
    done = merge(_folder(tmp_path), data)
    assert (done.added, done.second, done.adjudications) == (2, 1, 1)
    gold = {item.id: item for item in load_gold(data, load_codebook(data.codebook))}
    assert gold["own-1"].labels == {"told_suspect": False}
    assert load_second(data.annotations / "second", _corpus(data))["own-1"].annotator == "r-2"
    again = merge(_folder(tmp_path), data)
    assert (again.files, again.notes) == ({}, [])


def test_what_was_adjudicated_stays(data: DataConfig, tmp_path: Path) -> None:
    merge(_folder(tmp_path), data)
    done = _merge(data, [_new("own-1", _text(1), True, days=9)])
    assert (done.changed, "adjudicated stays" in done.notes[0].what) == (0, True)


def test_bad_annotations_are_named_and_nothing_is_written(data: DataConfig) -> None:
    before = _contents(data)
    late = EvidenceSpan(mode="told_suspect", start=0, end=9_999)
    with pytest.raises(CorpusError, match=r"new\.jsonl, line 2.*9999"):
        _merge(data, [_new("own-1", _text(1)), _new("own-2", _text(2), evidence=(late,))])
    with pytest.raises(CorpusError, match="unknown mode 'told_suspec'"):
        _merge(data, [_new("own-1", _text(1), None, labels={"told_suspec": False})])
    assert _contents(data) == before


def test_a_first_corpus_is_made_of_decisions_alone(tmp_path: Path, data: DataConfig) -> None:
    fresh = data.model_copy(
        update={name: tmp_path / "own" / name for name in ("annotations", "adjudications", "splits", "prepared")}
    )
    done = _merge(fresh, [_new("own-1", _text(1))])
    assert (done.added, dict(done.places)) == (1, {})
    assert list(_corpus(fresh)) == ["own-1"]
    assert not fresh.splits.exists()


def test_a_merge_that_was_cut_off_is_ended_by_the_next(data: DataConfig) -> None:
    """Annotations are written before the split: a kill between the two leaves narratives without a place."""
    split = data.splits.read_bytes()
    items = [_new("own-1", _text(1)), _new("own-2", _text(2))]
    _merge(data, items)
    whole = _contents(data)
    data.splits.write_bytes(split)
    _merge(data, items)
    assert _contents(data) == whole


def test_groups_that_come_later_divide_as_those_before() -> None:
    places = [Assignment(f"n{i}", f"g{i}", "development" if i % 5 == 0 else "train", i % 3 or None) for i in range(50)]
    places += [Assignment(f"t{i}", f"h{i}", "test", None) for i in range(50)]
    found = [place_of_group(f"new-{i}", places) for i in range(400)]
    share = sum(part == "development" for part, _ in found) / len(found)
    assert share == pytest.approx(0.2, abs=0.06)
    assert {fold for part, fold in found if part == "train"} == {1, 2}
    assert found == [place_of_group(f"new-{i}", places) for i in range(400)]
