from __future__ import annotations

import random

import pytest

from secondlook.audit import AuditConfig, Check, audit
from secondlook.codebook import Codebook, Mode
from secondlook.corpus import Annotation, EvidenceSpan, Source, Style, Trap

BOOK = Codebook(name="b", version="1", modes=(Mode(id="told", title="Told", definition="d", cues=("leaked",)),))
WORDS = [
    f"{a}{b}"
    for a in ("ba", "ke", "lo", "ni", "pru", "so", "te", "wi")
    for b in ("nan", "tor", "med", "lus", "rik", "dal")
]


def _annotation(
    number: int, rng: random.Random, *, positive: bool, register: str = "letter", tail: str = ""
) -> Annotation:
    text = " ".join(rng.choices(WORDS, k=60)) + "."
    start = len(text) + 1
    text += " " + (tail or " ".join(rng.choices(WORDS, k=8)) + ".")
    evidence = (EvidenceSpan(mode="told", start=start, end=len(text)),) if positive else ()
    return Annotation(
        id=f"n{number}",
        narrative=text,
        labels={"told": positive},
        evidence=evidence,
        style=Style.model_validate({"register": register}),
        group=f"g{number}",
        source=Source(kind="invented"),
        annotator="one",
        traps=() if positive else (Trap(mode="told", kind="feared"),),
    )


def _corpus(**changes: object) -> list[Annotation]:
    rng = random.Random(5)
    return [_annotation(i, rng, positive=i % 3 == 0, **changes) for i in range(120)]  # type: ignore[arg-type]


def _checks(annotations: list[Annotation], **limits: object) -> dict[str, Check]:
    config = AuditConfig.model_validate(limits)
    return {check.name: check for check in audit(annotations, BOOK, config)}


def test_counts() -> None:
    checks = _checks(_corpus(), narratives=120, positives_per_mode=41, without_label=80, hard_negatives=80)
    assert checks["full narratives"].holds
    assert not checks["positives: told"].holds
    assert checks["positives: told"].value == "40"
    assert checks["without any label"].holds
    assert checks["of these hard negatives"].holds


def test_style_that_predicts_nothing_holds_and_style_that_predicts_is_a_breach() -> None:
    name = "AUC from style alone: told"
    assert _checks(_corpus(), style_auc=0.65)[name].holds
    rng = random.Random(6)
    told = [_annotation(i, rng, positive=i % 3 == 0, register="log" if i % 3 == 0 else "letter") for i in range(120)]
    check = _checks(told, style_auc=0.65)[name]
    assert not check.holds
    assert "register 1.00" in check.detail


def test_length_that_predicts_is_a_breach() -> None:
    corpus = _corpus()
    longer = [
        item.model_copy(update={"narrative": item.narrative + " lomed" * 80}) if item.labels["told"] else item
        for item in corpus
    ]
    check = _checks(longer, style_auc=0.65)["AUC from style alone: told"]
    assert not check.holds


def test_a_phrase_that_recurs_is_named() -> None:
    name = "commonest 5-word phrase of the evidence: told"
    assert _checks(_corpus(), phrase_share=0.01)[name].holds
    check = _checks(_corpus(tail="The clerk told him over tea that day."), phrase_share=0.01)[name]
    assert not check.holds
    assert "in 40 of 40" in check.detail


def test_obvious_words_are_counted_in_the_evidence() -> None:
    name = "evidence without the obvious words: told"
    assert _checks(_corpus(), without_cues=0.5)[name].holds
    assert not _checks(_corpus(tail="It was leaked to him."), without_cues=0.5)[name].holds


def test_near_duplicates_in_different_groups_are_a_breach() -> None:
    corpus = _corpus()
    copy = corpus[0].model_copy(update={"id": "copy", "group": "other"})
    name = "near-duplicates in different groups"
    assert _checks(corpus)[name].holds
    assert _checks([*corpus, copy])[name].detail == "n0~copy"


def test_unknown_labels_are_left_out() -> None:
    corpus = _corpus()
    unknown = [item.model_copy(update={"labels": {}, "evidence": ()}) for item in corpus[:30]]
    check = _checks([*unknown, *corpus[30:]])["positives: told"]
    assert check.value == "30"


@pytest.mark.parametrize("size", [1, 4])
def test_a_tiny_corpus_can_be_audited(size: int) -> None:
    assert _checks(_corpus()[:size])
