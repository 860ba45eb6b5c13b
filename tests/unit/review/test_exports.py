from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from secondlook.agreement import measure_agreement
from secondlook.codebook import Codebook
from secondlook.config import BootstrapConfig, ReviewConfig
from secondlook.corpus import load_corpus, load_second, read_adjudications
from secondlook.errors import DeskError
from secondlook.interchange import FORMATS as INTERCHANGE
from secondlook.interchange import import_annotations
from secondlook.review.database import Desk
from secondlook.review.exports import (
    DISPUTED,
    NO_EVIDENCE,
    NOTHING_DECIDED,
    Selection,
    Taught,
    annotation_id,
    codebook_of,
    export,
    taught,
)
from secondlook.review.record import first_break
from secondlook.review.tables import (
    Arm,
    CaseRow,
    Decision,
    Entry,
    EvidenceRow,
    Kind,
    Mark,
    Review,
    Role,
    Run,
    ScoreRow,
    Status,
    User,
    Verdict,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TEXT = "\U0001f600 The clerk told him everything. Nobody went to her house."
TOLD, WENT = (2, 33), (34, 58)
MODES = ("told", "went")
YES, NO, UNSURE = Verdict.CONFIRM, Verdict.REJECT, Verdict.UNSURE


@dataclass
class Maker:
    """Puts a run on a desk, case by case, with finished reviews."""

    session: Session
    run: Run
    cases: int = 0

    def case(self, text: str = TEXT, status: Status = Status.FINISHED, original: CaseRow | None = None) -> CaseRow:
        """A case flagged for ``told``, with the first sentence shown for it."""
        self.cases += 1
        case = CaseRow(
            run_id=self.run.id, case_id=f"C-{self.cases}", digest="d", rank=self.cases, priority=1.0, uncertainty=0.5,
            explanation="", received=None, original_id=original and original.id, drawn_for_audit=False,
            audit_stratum=None, inclusion_probability=1.0, file="f", row=self.cases, narrative=text,
            details={"complainant": "Ann Weaver"}, arms=[Arm.PROMPTED], status=status,
        )  # fmt: skip
        self.session.add(case)
        self.session.flush()
        for mode in MODES:
            self.session.add(
                ScoreRow(case_id=case.id, mode=mode, run_id=self.run.id, rank=case.rank, score=0.9, low=0.8, high=1.0,
                         flag=mode == "told")
            )  # fmt: skip
            start, end = TOLD if mode == "told" else WENT
            self.session.add(EvidenceRow(case_id=case.id, mode=mode, start=start, end=end, share=0.9))
        self.session.flush()
        return case

    def review(
        self,
        case: CaseRow,
        who: str,
        verdicts: Mapping[str, Verdict],
        *marks: tuple[str, int, int],
        kind: Kind = Kind.SINGLE,
        arm: Arm = Arm.PROMPTED,
        at: datetime = NOW,
    ) -> Review:
        user = self.session.scalar(select(User).where(User.name == who)) or User(
            name=who, pseudonym=f"r-{who}", role=Role.REVIEWER, password_hash=None, created_at=NOW, disabled_at=None
        )
        self.session.add(user)
        self.session.flush()
        review = Review(case_id=case.id, run_id=self.run.id, user_id=user.id, kind=kind, arm=arm, opened_at=at,
                        touched_at=at, finished_at=at, released_at=None)  # fmt: skip
        self.session.add(review)
        self.session.flush()
        for mode, verdict in verdicts.items():
            reason = f"Ann Weaver, {mode}" if verdict is YES else ""
            self.session.add(Decision(review_id=review.id, mode=mode, verdict=verdict, reason=reason, decided_at=at))
        for mode, start, end in marks:
            self.session.add(Mark(review_id=review.id, mode=mode, start=start, end=end, made_at=at))
        self.session.flush()
        return review


def _run(session: Session, **more: object) -> Run:
    modes = [{"id": mode, "title": mode, "definition": "For tests.", "severity": 1.0} for mode in MODES]
    run = Run(digest="ab" * 32, cases_digest="cd" * 32, name="week-9", folder="runs/week-9", bundle_name="tiny",
              bundle_digest="ef" * 32, config_digest="01" * 32, codebook={"name": "t", "version": "1", "modes": modes},
              thresholds={}, cases=1, added_at=NOW)  # fmt: skip
    session.add(run)
    session.flush()
    return run


def _taught(desk: Desk, selection: Selection | None = None, codebook: Codebook | None = None) -> Taught:
    with desk.reading() as session:
        run = session.scalars(select(Run)).one()
        return taught(session, run, codebook or codebook_of(run), selection)


def test_a_confirmed_flag_takes_the_shown_passage_and_says_how_it_came_about(desk: Desk) -> None:
    with desk.writing() as session:
        maker = Maker(session, _run(session))
        maker.review(maker.case(), "ann", {"told": YES, "went": NO})
    (item,) = _taught(desk).annotations
    assert item.labels == {"told": True, "went": False}
    assert [(one.mode, one.start, one.end, one.text) for one in item.evidence] == [("told", *TOLD, TEXT[slice(*TOLD)])]
    assert (item.source.kind, item.annotator, item.id) == ("own", "r-ann", annotation_id(TEXT))
    by = item.decided
    assert by is not None
    assert (by.reviewer, by.kind, by.flags_seen, by.at, by.case) == ("r-ann", "single", True, NOW, "C-1")
    assert (by.bundle, by.bundle_digest, by.run) == ("tiny", "ef" * 32, "ab" * 32)
    assert by.reasons == {"told": "Ann Weaver, told"}


def test_marks_stand_before_what_the_model_showed(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        maker.review(maker.case(), "ann", {"told": YES, "went": YES}, ("told", 6, 20), ("went", *WENT))
    (item,) = _taught(sqlite_desk).annotations
    assert [(one.mode, one.start, one.end) for one in item.evidence] == [("told", 6, 20), ("went", *WENT)]


def test_unsure_and_undecided_are_unknown(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        maker.review(maker.case(), "ann", {"told": UNSURE}, ("told", 6, 20))
        maker.review(maker.case("Another text altogether, of the other case."), "ann", {"told": NO})
    result = _taught(sqlite_desk)
    assert [item.labels for item in result.annotations] == [{"told": False}]
    assert result.left_out == {NOTHING_DECIDED: 1}


@pytest.mark.parametrize(("arm", "mode"), [(Arm.UNPROMPTED, "told"), (Arm.PROMPTED, "went")])
def test_a_label_that_nobody_pointed_at_is_left_out_and_counted(sqlite_desk: Desk, arm: Arm, mode: str) -> None:
    """Flagged but not shown, or shown but not flagged: what the model would have said is no evidence."""
    other = "went" if mode == "told" else "told"
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        maker.review(maker.case(), "ann", {mode: YES, other: NO}, arm=arm)
    result = _taught(sqlite_desk)
    assert [item.labels for item in result.annotations] == [{other: False}]
    assert result.left_out == {NO_EVIDENCE: 1}
    with sqlite_desk.reading() as session:
        values = session.scalars(select(Run)).one().codebook
    optional = Codebook.model_validate(values | {"modes": [one | {"evidence": "optional"} for one in values["modes"]]})
    (item,) = _taught(sqlite_desk, codebook=optional).annotations
    assert item.labels == {mode: True, other: False}


def test_two_who_agree_give_an_annotation_and_a_second(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        case = maker.case()
        maker.review(case, "ann", {"told": YES}, kind=Kind.DOUBLE)
        marks = [("told", 6, 20), ("went", *WENT)]
        maker.review(case, "bob", {"told": YES, "went": YES}, *marks, kind=Kind.DOUBLE, arm=Arm.UNPROMPTED)
    result = _taught(sqlite_desk)
    (item,), (second,) = result.annotations, result.second
    assert (item.annotator, item.labels) == ("r-bob", {"told": True, "went": True})
    assert item.decided is not None
    assert not item.decided.flags_seen
    assert (second.annotator, second.labels) == ("r-ann", {"told": True})
    assert result.gold() == [item]


def test_what_only_the_second_can_teach_is_not_counted_as_agreement(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        case = maker.case()
        maker.review(case, "ann", {"told": YES, "went": NO}, kind=Kind.DOUBLE, arm=Arm.UNPROMPTED)
        maker.review(case, "bob", {"told": YES, "went": NO}, ("told", 6, 20), kind=Kind.DOUBLE)
    result = _taught(sqlite_desk)
    (item,), (second,) = result.annotations, result.second
    assert item.labels == {"told": True, "went": False}
    assert [(one.start, one.end) for one in item.evidence] == [(6, 20)]
    assert second.labels == {"went": False}
    assert not result.left_out


@pytest.mark.parametrize("verdict", [YES, NO, UNSURE])
def test_an_adjudication_is_gold(sqlite_desk: Desk, verdict: Verdict) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        case = maker.case(status=Status.SETTLED)
        maker.review(case, "ann", {"told": YES, "went": NO}, kind=Kind.DOUBLE)
        maker.review(case, "bob", {"told": NO, "went": NO}, kind=Kind.DOUBLE, arm=Arm.UNPROMPTED)
        maker.review(case, "cleo", {"told": verdict}, kind=Kind.ADJUDICATION, at=NOW + timedelta(days=1))
    result = _taught(sqlite_desk)
    (gold,) = result.gold()
    assert not result.left_out
    if verdict is UNSURE:
        assert (gold.labels, gold.evidence, result.adjudications) == ({"went": False}, (), [])
        return
    assert gold.labels == {"told": verdict is YES, "went": False}
    assert [(one.start, one.end) for one in gold.evidence] == ([TOLD] if verdict is YES else [])
    assert gold.annotator == "r-cleo"
    (decided,) = result.adjudications
    assert (decided.mode, decided.holds, decided.topic) == ("told", verdict is YES, "confirm against reject")
    (second,) = result.second
    assert second.labels == {"told": False, "went": False}


def test_a_disputed_case_waits(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        case = maker.case(status=Status.DISPUTED)
        maker.review(case, "ann", {"told": YES}, kind=Kind.DOUBLE)
        maker.review(case, "bob", {"told": NO}, kind=Kind.DOUBLE)
        maker.review(maker.case("Half read.", status=Status.TAKEN), "ann", {"told": NO})
    result = _taught(sqlite_desk)
    assert (result.annotations, result.left_out) == ([], {DISPUTED: 1})


def test_a_copy_has_the_group_of_its_original(sqlite_desk: Desk) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        original = maker.case()
        maker.review(maker.case(f"{TEXT} Sent again.", original=original), "ann", {"told": NO})
    (item,) = _taught(sqlite_desk).annotations
    assert (item.group, item.id) == (annotation_id(TEXT), annotation_id(f"{TEXT} Sent again."))


def test_a_day_and_a_reviewer_select(desk: Desk) -> None:
    with desk.writing() as session:
        maker = Maker(session, _run(session))
        for day, who in enumerate(("ann", "bob", "ann")):
            maker.review(maker.case(f"Text {day} of three."), who, {"told": NO}, at=NOW + timedelta(days=day))
    ids = [annotation_id(f"Text {day} of three.") for day in range(3)]

    def chosen(**selection: object) -> list[str]:
        return [item.id for item in _taught(desk, Selection(**selection)).annotations]  # type: ignore[arg-type]

    assert chosen(since=date(2026, 3, 3)) == ids[1:]
    assert chosen(reviewer="ann") == chosen(reviewer="r-ann") == [ids[0], ids[2]]
    assert chosen(reviewer="ann", since=date(2026, 3, 3)) == ids[2:]
    with pytest.raises(DeskError, match="nobody"):
        chosen(reviewer="zoe")


def _settled_desk(desk: Desk) -> None:
    with desk.writing() as session:
        maker = Maker(session, _run(session))
        for number in range(4):
            case = maker.case(f"{TEXT} Of case {number}.", Status.SETTLED if number == 3 else Status.FINISHED)
            maker.review(case, "ann", {"told": YES if number % 2 else NO, "went": NO}, kind=Kind.DOUBLE)
            holds = number in (1, 3)
            verdicts = {"told": YES if holds and number != 3 else NO, "went": NO}
            marks = [("told", 6, 20)] if verdicts["told"] is YES else []
            maker.review(case, "bob", verdicts, *marks, kind=Kind.DOUBLE, arm=Arm.UNPROMPTED)
        maker.review(case, "cleo", {"told": NO}, kind=Kind.ADJUDICATION)


def test_an_export_is_a_corpus_that_the_tools_for_labels_read(sqlite_desk: Desk, tmp_path: Path) -> None:
    _settled_desk(sqlite_desk)
    done = export(sqlite_desk, "week-9", "corpus", tmp_path / "week-9", NOW)
    assert done.counts == {"annotations": 4, "second": 4, "adjudications": 1}
    with sqlite_desk.reading() as session:
        book = codebook_of(session.scalars(select(Run)).one())
    first = {item.id: item for item in load_corpus(tmp_path / "week-9/annotations", book)}
    second = load_second(tmp_path / "week-9/annotations/second", first)
    assert len(read_adjudications(tmp_path / "week-9/adjudications", first, book)) == 1
    measured = {one.mode: one for one in measure_agreement(first, second, MODES, BootstrapConfig(resamples=100))}
    assert (measured["told"].narratives, measured["told"].disagreements) == (4, 1)
    assert measured["went"].disagreements == 0


def test_an_export_stands_in_the_record_with_its_digest(desk: Desk, tmp_path: Path) -> None:
    _settled_desk(desk)
    out = tmp_path / "gold.jsonl"
    done = export(desk, "ab" * 32, "jsonl", out, NOW, selection=Selection(reviewer="ann"))
    assert done.digest == hashlib.sha256(out.read_bytes()).hexdigest()
    with desk.reading() as session:
        (entry,) = session.scalars(select(Entry)).all()
        assert first_break(session) is None
    said = json.loads(entry.detail)
    assert (entry.actor, entry.action, entry.run) == ("system", "exported", "ab" * 32)
    assert (said["sha256"], said["counts"]["annotations"], said["format"]) == (done.digest, 4, "jsonl")
    assert said["reviewer"] == "r-ann"
    assert "clerk" not in entry.detail


@pytest.mark.parametrize("kind", list(INTERCHANGE))
def test_every_format_brings_labels_and_offsets_back(sqlite_desk: Desk, tmp_path: Path, kind: str) -> None:
    pytest.importorskip({"docbin": "spacy", "datasets": "datasets"}.get(kind, "json"))
    _settled_desk(sqlite_desk)
    out = tmp_path / {"datasets": "folder", "table": "t.csv", "docbin": "d.spacy"}.get(kind, "t.json")
    export(sqlite_desk, "week-9", kind, out, NOW)
    result = _taught(sqlite_desk)
    with sqlite_desk.reading() as session:
        book = codebook_of(session.scalars(select(Run)).one())
    back = {item.narrative: item for item in import_annotations(out, kind, book).annotations}
    for item in result.gold():
        assert back[item.narrative].labels == item.labels
        if kind not in ("table", "docbin"):  # a table has no spans, a DocBin cuts at tokens
            assert [one.span for one in back[item.narrative].evidence] == [one.span for one in item.evidence]


def test_a_spreadsheet_computes_nothing(sqlite_desk: Desk, tmp_path: Path) -> None:
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        maker.review(maker.case('=HYPERLINK("http://x","y")'), "ann", {"told": NO})
    export(sqlite_desk, "week-9", "table", tmp_path / "t.csv", NOW)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert [row["narrative"][:3] for row in csv.DictReader(file)] == ["'=H"]


def test_nothing_is_replaced_and_nothing_half_written(sqlite_desk: Desk, tmp_path: Path) -> None:
    _settled_desk(sqlite_desk)
    out = tmp_path / "gold.jsonl"
    out.write_text("mine")
    with pytest.raises(DeskError, match="is there already"):
        export(sqlite_desk, "week-9", "jsonl", out, NOW)
    with pytest.raises(DeskError, match="cannot be written"):
        export(sqlite_desk, "week-9", "jsonl", out / "below.jsonl", NOW)
    with pytest.raises(DeskError, match="did you mean 'jsonl'"):
        export(sqlite_desk, "week-9", "json", tmp_path / "other.jsonl", NOW)
    with pytest.raises(DeskError, match="week-10"):
        export(sqlite_desk, "week-10", "jsonl", tmp_path / "other.jsonl", NOW)
    with sqlite_desk.reading() as session:
        assert session.scalars(select(Entry)).all() == []
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("desk.sqlite")] == ["gold.jsonl"]
    assert out.read_text() == "mine"


def test_a_desk_without_a_finished_case_says_why_there_is_nothing(sqlite_desk: Desk, tmp_path: Path) -> None:
    with sqlite_desk.writing() as session:
        Maker(session, _run(session)).case(status=Status.OPEN)
    with pytest.raises(DeskError, match="no case is finished"):
        export(sqlite_desk, "week-9", "jsonl", tmp_path / "gold.jsonl", NOW)


def test_a_redacted_export_names_nobody_and_keeps_its_offsets(sqlite_desk: Desk, tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer", reason="Presidio is not installed")
    text = f"Ann Weaver rang from 07700 900123. {TEXT}"
    start = text.index("The clerk")
    with sqlite_desk.writing() as session:
        maker = Maker(session, _run(session))
        marks = ("told", start, start + 10)
        maker.review(maker.case(text), "ann", {"told": YES}, marks)
    out = tmp_path / "gold.jsonl"
    config = ReviewConfig.model_validate({"party_columns": ["complainant"]})
    export(sqlite_desk, "week-9", "jsonl", out, NOW, redact=config)
    said = out.read_text(encoding="utf-8")
    assert not [word for word in ("Ann", "Weaver", "900123", "C-1") if word in said]
    (item,) = (json.loads(line) for line in said.splitlines())
    (span,) = item["evidence"]
    assert item["narrative"][span["start"] : span["end"]] == span["text"] == "The clerk "
    assert item["decided"]["reasons"]["told"].endswith(", told")
