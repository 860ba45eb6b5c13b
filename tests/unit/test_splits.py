from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from secondlook.config import SplitConfig
from secondlook.corpus import Annotation, Pair, Source
from secondlook.errors import SplitError
from secondlook.splits import Assignment, check_split, make_split, read_split, resolve_groups, write_split

WORDS = [f"w{i}" for i in range(400)]


def _annotation(number: int, group: str, mode: str | None = None, **more: object) -> Annotation:
    narrative = " ".join(random.Random(number).choices(WORDS, k=40))
    return Annotation(
        id=f"n{number:03d}",
        narrative=str(more.pop("narrative", narrative)),
        labels={"a": mode == "a", "b": mode == "b"},
        group=group,
        source=Source(kind="invented"),
        annotator=str(more.pop("annotator", "one")),
        pair=more.pop("pair", None),  # type: ignore[arg-type]
    )


def _corpus() -> list[Annotation]:
    modes = ["a", "b", None, None]
    return [_annotation(i, f"g{i // 2}", modes[i % 4]) for i in range(200)]


def _by_id(assignments: list[Assignment]) -> dict[str, Assignment]:
    return {place.id: place for place in assignments}


def test_no_group_stands_on_two_sides() -> None:
    places = make_split(_corpus(), SplitConfig(seed=4))
    sides: dict[str, set[tuple[str, int | None]]] = {}
    for place in places:
        sides.setdefault(place.group, set()).add((place.split, place.fold))
    assert all(len(side) == 1 for side in sides.values())


def test_the_parts_have_the_sizes_asked_for_and_every_mode() -> None:
    corpus = _corpus()
    places = _by_id(make_split(corpus, SplitConfig(seed=4, test=0.2, development=0.1)))
    sizes = Counter(place.split for place in places.values())
    assert sizes["test"] == pytest.approx(40, abs=6)
    assert sizes["development"] == pytest.approx(16, abs=5)
    for mode in ("a", "b"):
        share = [item.labels[mode] for item in corpus if places[item.id].split == "test"]
        assert sum(share) / len(share) == pytest.approx(0.25, abs=0.1)


def test_the_seed_decides() -> None:
    corpus = _corpus()
    assert make_split(corpus, SplitConfig(seed=4)) == make_split(corpus, SplitConfig(seed=4))
    assert make_split(corpus, SplitConfig(seed=4)) != make_split(corpus, SplitConfig(seed=5))


def test_pairs_and_near_duplicates_are_one_group() -> None:
    pair = Pair(id="p1", mode="a", edit="negation")
    text = " ".join(random.Random(99).choices(WORDS, k=60))
    corpus = [
        _annotation(1, "g1", pair=pair),
        _annotation(2, "g2", pair=pair),
        _annotation(3, "g3", narrative=text),
        _annotation(4, "g4", narrative=text + " and some more"),
        _annotation(5, "g5"),
    ]
    groups = resolve_groups(corpus, 0.5)
    assert groups[0] == groups[1]
    assert groups[2] == groups[3]
    assert len(set(groups)) == 3


def test_the_test_part_can_be_what_other_hands_wrote() -> None:
    corpus = _corpus() + [_annotation(300 + i, f"h{i}", "a", annotator="two") for i in range(20)]
    places = _by_id(make_split(corpus, SplitConfig(seed=1, test_annotators=("two",))))
    assert {item.id for item in corpus if item.annotator == "two"} == {
        place.id for place in places.values() if place.split == "test"
    }
    with pytest.raises(SplitError, match="nobody"):
        make_split(corpus, SplitConfig(test_annotators=("nobody",)))


def test_a_split_that_leaks_is_refused() -> None:
    corpus = _corpus()
    places = _by_id(make_split(corpus, SplitConfig(seed=4)))
    check_split(corpus, places, 0.5)
    moved = next(place for place in places.values() if place.split == "train")
    places[moved.id] = Assignment(moved.id, moved.group, "test", None)
    with pytest.raises(SplitError, match="leaks"):
        check_split(corpus, places, 0.5)


def test_folds_must_not_leak_either() -> None:
    corpus = _corpus()
    places = _by_id(make_split(corpus, SplitConfig(seed=4)))
    moved = next(place for place in places.values() if place.fold == 0)
    places[moved.id] = Assignment(moved.id, moved.group, "train", 1)
    with pytest.raises(SplitError, match="fold"):
        check_split(corpus, places, 0.5)


def test_a_narrative_without_a_place_is_refused() -> None:
    corpus = _corpus()
    places = _by_id(make_split(corpus, SplitConfig(seed=4)))
    del places["n007"]
    with pytest.raises(SplitError, match="n007"):
        check_split(corpus, places, 0.5)


def test_a_split_is_data(tmp_path: Path) -> None:
    places = make_split(_corpus(), SplitConfig(seed=4))
    write_split(tmp_path / "s.csv", places)
    assert read_split(tmp_path / "s.csv") == _by_id(places)
    with pytest.raises(SplitError, match="labels split"):
        read_split(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("id,nothing\n1,2\n")
    with pytest.raises(SplitError, match="columns"):
        read_split(tmp_path / "bad.csv")


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(SplitError, match="groups"):
        make_split([_annotation(1, "g"), _annotation(2, "g")], SplitConfig())


def test_many_rare_modes_are_divided_all_the_same() -> None:
    corpus = [
        _annotation(number, f"g{number}").model_copy(update={"labels": {f"m{number % 30:02d}": True}})
        for number in range(180)
    ]
    places = make_split(corpus, SplitConfig(seed=4))
    assert {place.split for place in places} == {"train", "development", "test"}


@pytest.mark.parametrize("fold", [None, 0])
def test_a_train_part_without_folds_is_refused(fold: int | None) -> None:
    corpus = _corpus()
    places = {item.id: Assignment(item.id, item.group, "train", fold) for item in corpus}
    with pytest.raises(SplitError, match="two folds at least"):
        check_split(corpus, places, 0.5)
