from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secondlook.agreement import measure_agreement, topics
from secondlook.codebook import Codebook, Mode
from secondlook.config import BootstrapConfig, DataConfig
from secondlook.corpus import Adjudication, Annotation, EvidenceSpan, Source, load_gold, load_second
from secondlook.errors import CorpusError

BOOK = Codebook(name="b", version="1", modes=(Mode(id="told", title="Told", definition="d"),))
BOOTSTRAP = BootstrapConfig(resamples=100)


def _annotation(number: int, holds: bool | None, span: tuple[int, int] = (0, 10)) -> Annotation:
    return Annotation(
        id=f"n{number}",
        narrative="The clerk told him over tea that very day.",
        labels={} if holds is None else {"told": holds},
        evidence=(EvidenceSpan(mode="told", start=span[0], end=span[1]),) if holds else (),
        group=f"g{number}",
        source=Source(kind="invented"),
        annotator="one",
    )


def _both(first: list[bool | None], second: list[bool | None], span: tuple[int, int] = (0, 10)):  # type: ignore[no-untyped-def]
    one = {f"n{i}": _annotation(i, holds) for i, holds in enumerate(first)}
    other = {f"n{i}": _annotation(i, holds, span) for i, holds in enumerate(second)}
    return measure_agreement(one, other, ["told"], BOOTSTRAP)[0]


def test_perfect_agreement() -> None:
    result = _both([True, False] * 10, [True, False] * 10)
    assert result.kappa[0] == result.alpha[0] == 1
    assert (result.span_f1, result.span_iou) == (1, 1)
    assert result.disagreements == 0


def test_kappa_and_alpha_are_the_textbook_values() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: kappa 0.40 (a much used worked example).
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    result = _both(first, second)
    assert result.kappa[0] == pytest.approx(0.4)
    # Krippendorff: 1 - observed disagreement / expected, expected from the pooled margins without replacement.
    observed, yes, no = 15 / 50, 55, 45
    assert result.alpha[0] == pytest.approx(1 - observed / (2 * yes * no / (100 * 99)))
    assert result.kappa[1] < 0.4 < result.kappa[2]


def test_unknown_labels_are_no_disagreement() -> None:
    result = _both([True, False, None, True], [True, False, True, None])
    assert result.narratives == 2
    assert result.disagreements == 0


def test_spans_that_lie_elsewhere_lower_the_evidence_agreement() -> None:
    result = _both([True] * 4 + [False], [True] * 4 + [False], span=(20, 30))
    assert result.span_f1 == 0
    assert result.span_iou == 0


def test_what_cannot_be_measured_is_not_a_number() -> None:
    assert np.isnan(_both([False] * 5, [False] * 5).kappa[0])


def test_topics_are_counted() -> None:
    decisions = [
        Adjudication(id=str(i), mode="told", holds=False, topic=topic, reason="r") for i, topic in enumerate("aab")
    ]
    assert topics(decisions) == [("told", "a", 2), ("told", "b", 1)]


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    (tmp_path / "annotations/second").mkdir(parents=True)
    (tmp_path / "adjudications").mkdir()
    lines = [_annotation(i, i == 0).model_dump_json(by_alias=True, exclude_none=True) + "\n" for i in range(2)]
    (tmp_path / "annotations/a.jsonl").write_text("".join(lines))
    return DataConfig(
        annotations=tmp_path / "annotations",
        adjudications=tmp_path / "adjudications",
    )


def _decide(data: DataConfig, **changes: object) -> None:
    decision = {"id": "n0", "mode": "told", "holds": False, "topic": "presence", "reason": "He knew before."}
    (data.adjudications / "d.jsonl").write_text(json.dumps(decision | changes) + "\n")


def test_gold_is_what_was_adjudicated(data: DataConfig) -> None:
    _decide(data)
    gold = load_gold(data, BOOK)
    assert gold[0].labels == {"told": False}
    assert gold[0].evidence == ()
    _decide(data, id="n1", holds=True, evidence=[{"mode": "told", "start": 4, "end": 18}])
    assert load_gold(data, BOOK)[1].spans("told") == [(4, 18)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "n9"}, "no annotation 'n9'"),
        ({"id": "n1", "holds": True}, "without evidence"),
        ({"mode": "tolt"}, "did you mean 'told'"),
        ({"reason": None}, "field 'reason'"),
        ({"id": "n1", "holds": True, "evidence": [{"mode": "told", "start": 4, "end": 99}]}, "code points"),
    ],
)
def test_an_adjudication_that_does_not_fit_is_refused(
    data: DataConfig, changes: dict[str, object], message: str
) -> None:
    _decide(data, **changes)
    with pytest.raises(CorpusError, match=message):
        load_gold(data, BOOK)


def test_the_second_annotators_work_is_joined_to_the_narratives(data: DataConfig) -> None:
    first = {item.id: item for item in load_gold(data, BOOK)}
    second_folder = data.annotations / "second"
    path = second_folder / "b.jsonl"
    path.write_text(json.dumps({"id": "n1", "annotator": "two", "labels": {"told": True}}) + "\n")
    second = load_second(second_folder, first)
    assert second["n1"].narrative == first["n1"].narrative
    assert second["n1"].annotator == "two"
    path.write_text(json.dumps({"id": "zz", "annotator": "two", "labels": {}}) + "\n")
    with pytest.raises(CorpusError, match="zz"):
        load_second(second_folder, first)
