from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.codebook import Codebook, Mode
from secondlook.corpus import (
    Annotation,
    check_annotations,
    corpus_digest,
    load_corpus,
    read_annotations,
    write_annotations,
)
from secondlook.errors import CorpusError
from secondlook.splits import straddling_duplicates

BOOK = Codebook(
    name="b",
    version="1",
    modes=(
        Mode(id="told", title="Told", definition="d"),
        Mode(id="alone", title="Alone", definition="d", evidence="optional"),
    ),
)


def _row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "a1",
        "narrative": "He knew 😀 by noon. The clerk had rung him.",
        "labels": {"told": True, "alone": False},
        "evidence": [{"mode": "told", "start": 19, "end": 42, "text": "The clerk had rung him."}],
        "group": "g1",
        "source": {"kind": "invented"},
        "annotator": "x",
    }
    return row | changes


def _problems(tmp_path: Path, *rows: Any) -> list[str]:
    path = tmp_path / "a.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    located, problems = read_annotations(path)
    return [str(problem) for problem in problems + check_annotations(located, BOOK) + straddling_duplicates(located)]


def test_a_sound_annotation_has_no_problem(tmp_path: Path) -> None:
    assert _problems(tmp_path, _row()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"labels": {"told": True, "alon": True}}, ["labels.alon", "unknown mode", "did you mean 'alone'"]),
        ({"evidence": [{"mode": "told", "start": 19, "end": 99}]}, ["evidence[0].start/end", "42 code points"]),
        (
            {"evidence": [{"mode": "told", "start": 20, "end": 42, "text": "The clerk had rung him"}]},
            ["evidence[0].text", "19:41", "UTF-16"],
        ),
        ({"evidence": [{"mode": "told", "start": 1.5, "end": 9}]}, ["evidence.0.start", "integer"]),
        ({"labels": {"told": False}}, ["evidence[0]", "negative label told"]),
        ({"labels": {}}, ["evidence[0]", "unknown label told"]),
        ({"evidence": []}, ["labels.told", "positive without evidence"]),
        ({"narrative": "  "}, ["narrative", "is empty"]),
        ({"narrative": "\ud83d " + "x" * 60, "evidence": [{"mode": "told", "start": 3, "end": 9}]}, ["surrogate"]),
        ({"labels": {"told": "yes"}}, ["labels.told", "boolean"]),
        ({"groupp": "x"}, ["groupp", "did you mean 'group'"]),
    ],
)
def test_a_problem_names_file_line_field_and_remedy(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    problems = _problems(
        tmp_path, _row(id="first", group="other", narrative="N" * 50, labels={}, evidence=[]), _row(**changes)
    )
    assert problems
    assert any(all(part in problem for part in ["a.jsonl, line 2", *expected]) for problem in problems), problems
    assert all("; " in problem for problem in problems)


def test_a_positive_without_evidence_is_fine_where_it_is_optional(tmp_path: Path) -> None:
    assert _problems(tmp_path, _row(labels={"alone": True}, evidence=[])) == []


def test_a_repeated_id_names_both_places(tmp_path: Path) -> None:
    found = _problems(
        tmp_path, _row(), _row(narrative="Quite another text. He said nothing at all.", labels={}, evidence=[])
    )
    assert len(found) == 1
    assert "line 2" in found[0]
    assert "line 1" in found[0]


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "[" * 100_000])
def test_a_line_that_is_no_object_is_a_problem(tmp_path: Path, line: str) -> None:
    assert len(_problems(tmp_path, line)) == 1


def test_a_near_duplicate_in_another_group_is_a_problem(tmp_path: Path) -> None:
    text = "She rang the front desk at noon and asked the clerk whether anybody had read the letter that she had left."
    one = _row(narrative=text, labels={}, evidence=[])
    copy = one | {"id": "a2", "narrative": text + " Nobody had."}
    assert _problems(tmp_path, one, copy) == []
    assert "group 'g2'" in _problems(tmp_path, one, copy | {"group": "g2"})[0]


def test_loading_refuses_problems_and_never_quotes_the_narrative(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(_row(evidence=[])) + "\n")
    with pytest.raises(CorpusError) as error:
        load_corpus(path, BOOK)
    assert "clerk" not in str(error.value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip())))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    annotation = Annotation.model_validate(_row(narrative=text, labels={"told": False}, evidence=[]))
    path = tmp_path_factory.mktemp("c") / "a.jsonl"
    write_annotations(path, [annotation])
    assert load_corpus(path, BOOK) == [annotation]


def test_the_digest_follows_content_not_order() -> None:
    one, two = (Annotation.model_validate(_row(id=name)) for name in ("one", "two"))
    assert corpus_digest([one, two]) == corpus_digest([two, one])
    assert corpus_digest([one, two]) != corpus_digest([one, Annotation.model_validate(_row(id="two", group="g9"))])
