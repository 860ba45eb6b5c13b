"""Exports: what did the reviewers teach? Their decisions as annotations, with how they came about.

What becomes of a decision:

* Confirmed is a positive label, rejected a negative one. Unsure and undecided are unknown: there is no label.
* The evidence of a positive label is what its reviewer marked; without marks, the passages that were shown for a flag
  that they saw and confirmed. Where there is neither and the codebook requires evidence, the label is left out and
  counted: nobody can learn from a passage that nobody pointed at, and to take the model's for it would be a guess.
* Of two reviewers, the one with more labels is the first, and their labels are the annotation; the other's are the
  second annotation, so that agreement can be measured. What only the second can teach stands in the annotation alone.
* What an adjudicator decided is an adjudication, and gold. A case on which two disagree waits for that.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, undefer

from secondlook.codebook import Codebook
from secondlook.config import ReviewConfig, parse
from secondlook.corpus import (
    Adjudication,
    Annotation,
    Decided,
    EvidenceSpan,
    Record,
    SecondAnnotation,
    Source,
    adjudicated,
    write_annotations,
)
from secondlook.errors import CodebookError, DeskError, did_you_mean
from secondlook.interchange import FORMATS as INTERCHANGE
from secondlook.interchange import export_annotations
from secondlook.review.accounts import run_named
from secondlook.review.assignment import DONE
from secondlook.review.database import Desk
from secondlook.review.record import SYSTEM, Action, append
from secondlook.review.tables import (
    Arm,
    CaseRow,
    Decision,
    EvidenceRow,
    Kind,
    Mark,
    Review,
    Run,
    ScoreRow,
    Status,
    User,
    Verdict,
)
from secondlook.storage import file_digest, to_disk

CORPUS, JSONL = "corpus", "jsonl"
FORMATS = (CORPUS, JSONL, *INTERCHANGE)
"""``corpus`` is a folder laid out as ``labels/``, with second annotations and adjudications; all others are gold."""

NO_EVIDENCE = "confirmed without a passage that shows it"
NOTHING_DECIDED = "cases without a label"
DISPUTED = "cases that wait for an adjudicator"

_CASES = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cases: those finished on or after a day (UTC), those in which somebody (name or pseudonym) took part."""

    since: date | None = None
    reviewer: str | None = None


@dataclass
class Taught:
    """What reviewers decided on the cases of a run. ``left_out`` counts what could not be taken, and why."""

    annotations: list[Annotation] = field(default_factory=list)
    second: list[SecondAnnotation] = field(default_factory=list)
    adjudications: list[Adjudication] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Taught) -> None:
        """Add what others taught."""
        self.annotations += other.annotations
        self.second += other.second
        self.adjudications += other.adjudications
        self.left_out += other.left_out

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {
            "annotations": len(self.annotations),
            "second": len(self.second),
            "adjudications": len(self.adjudications),
        }

    def gold(self) -> list[Annotation]:
        """The annotations with every adjudicated label in place; whoever adjudicated stands for the whole."""
        items = {item.id: item for item in self.annotations}
        for one in self.adjudications:
            item = adjudicated(items[one.id], one)
            by = one.decided
            items[one.id] = item if by is None else item.model_copy(update={"annotator": by.reviewer, "decided": by})
        return list(items.values())


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: how many of each kind, what was left out and why, and the SHA-256."""

    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    digest: str


@dataclass(frozen=True)
class _Read:
    """One finished review of a case."""

    review: Review
    pseudonym: str
    verdicts: Mapping[str, Decision]
    marks: Sequence[Mark]

    def sure(self) -> dict[str, bool]:
        """The modes that were confirmed or rejected."""
        sure = {Verdict.CONFIRM: True, Verdict.REJECT: False}
        return {m: sure[Verdict(d.verdict)] for m, d in self.verdicts.items() if d.verdict in sure}


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether a mode holds, and the passages that show it."""

    holds: bool
    evidence: tuple[EvidenceSpan, ...]


@dataclass(frozen=True)
class _Case:
    """A finished case with everything that an annotation of it needs."""

    row: CaseRow
    original: str
    reviews: Sequence[_Read]
    flags: frozenset[str]
    shown: Sequence[EvidenceRow]


def codebook_of(run: Run) -> Codebook:
    """The codebook that a run was scored and reviewed with.

    Raises:
        CodebookError: it is not on the desk.
    """
    return parse(Path(f"run {run.name}"), run.codebook, Codebook, CodebookError)


def taught(
    session: Session,
    run: Run,
    codebook: Codebook,
    selection: Selection | None = None,
    redact: ReviewConfig | None = None,
) -> Taught:
    """What the finished reviews of a run say; cases in the order of the queue.

    Args:
        session: any.
        run: whose cases.
        codebook: modes that it lacks are left out.
        selection: which cases; all that are finished if not given.
        redact: take out personal data, with the columns that name the parties as here.

    Raises:
        DeskError: the selection names a reviewer whom the desk does not know.
    """
    chosen = selection or Selection()
    decided = _selected(session, run, chosen)
    result = Taught()
    for case in _cases(session, run, decided):
        one = _teach(case, run, codebook)
        result.add(one if redact is None else _redacted(one, case, redact))
    wait = select(func.count()).select_from(CaseRow).where(CaseRow.run_id == run.id, CaseRow.status == Status.DISPUTED)
    if waiting := session.scalar(wait):
        result.left_out[DISPUTED] = waiting
    return result


def write(result: Taught, kind: str, path: Path, codebook: Codebook) -> None:
    """Write what was taught in one of :data:`FORMATS`.

    Raises:
        CorpusError: there is no such format, or the library that writes it is not installed.
    """
    if kind == CORPUS:
        name = "decisions.jsonl"
        write_annotations(path / "annotations" / name, result.annotations)
        write_annotations(path / "annotations" / "second" / name, result.second)
        write_annotations(path / "adjudications" / name, result.adjudications)
    elif kind == JSONL:
        write_annotations(path, result.gold())
    else:
        export_annotations(result.gold(), path, kind, codebook)


def export(
    desk: Desk,
    run_name: str,
    kind: str,
    out: Path,
    now: datetime,
    *,
    selection: Selection | None = None,
    codebook: Codebook | None = None,
    redact: ReviewConfig | None = None,
    actor: str = SYSTEM,
) -> Exported:
    """Write what the reviewers of a run decided, and record that it was written.

    It is in the record before it is in its place, so that nothing leaves the desk unrecorded.

    Args:
        desk: where the run is.
        run_name: or its folder, or how its digest begins.
        kind: one of :data:`FORMATS`.
        out: a file; for ``corpus`` and ``datasets`` a folder. Nothing may be there yet.
        now: the moment, with its zone.
        selection: which cases; all that are finished if not given.
        codebook: instead of the run's own.
        redact: take out personal data, with the columns that name the parties as here.
        actor: the pseudonym of who exports.

    Raises:
        DeskError: no such run, reviewer or format, no finished case, or the place is taken or cannot be written.
        CorpusError: the library that writes the format is not installed.
    """
    if kind not in FORMATS:
        raise DeskError(f"--format {kind}: is not known{did_you_mean(kind, FORMATS)}; there are {', '.join(FORMATS)}")
    if out.exists():
        raise DeskError(f"{out}: is there already; an export replaces nothing: give --out another place")
    with desk.reading() as session:
        run = run_named(session, run_name)
        book = codebook or codebook_of(run)
        result = taught(session, run, book, selection, redact)
        said = selection or Selection()
        if said.reviewer is not None:  # the record has no names
            said = replace(said, reviewer=_user(session, said.reviewer).pseudonym)
    if not result.annotations:
        raise DeskError(f"{run.name}: {_nothing(result)}; finish some cases first")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
            fresh = Path(place) / out.name
            write(result, kind, fresh, book)
            done = Exported(result.counts(), dict(result.left_out), digest_of(fresh))
            detail = _detail(done, kind, said, redact is not None, now)
            with desk.writing() as session:
                append(session, actor, Action.EXPORTED, run=run.digest, detail=detail)
            os.replace(fresh, out)
            to_disk(out.parent)
    except OSError as cause:
        raise DeskError(f"{out}: cannot be written ({cause.strerror}); give --out another place") from None
    return done


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, that over the names and digests of its files, as ``sha256sum`` lists them."""
    if path.is_file():
        return file_digest(path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    listed = "".join(f"{file_digest(files[name])}  {name}\n" for name in sorted(files))
    return hashlib.sha256(listed.encode()).hexdigest()


def annotation_id(narrative: str) -> str:
    """What an annotation of a narrative is called: the same for the same text, whatever its case is called.

    >>> annotation_id("Nobody went to her house.")
    'own-80aa2f7aa0c69596'
    """
    return f"own-{hashlib.sha256(narrative.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _detail(done: Exported, kind: str, selection: Selection, redacted: bool, now: datetime) -> dict[str, Any]:
    """What the record keeps of an export."""
    return {
        "format": kind,
        "counts": dict(done.counts),
        "left_out": dict(done.left_out),
        "sha256": done.digest,
        "redacted": redacted,
        "since": selection.since.isoformat() if selection.since else None,
        "reviewer": selection.reviewer,
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _nothing(result: Taught) -> str:
    said = [f"{what}: {count}" for what, count in result.left_out.items()]
    return f"nothing to export ({'; '.join(said) or 'no case is finished'})"


def _selected(session: Session, run: Run, chosen: Selection) -> Select[Any]:
    """The keys of the cases that have a finished review as selected."""
    query = select(Review.case_id).where(Review.run_id == run.id, Review.finished_at.is_not(None))
    if chosen.since:
        query = query.where(Review.finished_at >= datetime.combine(chosen.since, time(), UTC))
    if chosen.reviewer is not None:
        query = query.where(Review.user_id == _user(session, chosen.reviewer).id)
    return query


def _user(session: Session, called: str) -> User:
    user = session.scalar(select(User).where((User.name == called) | (User.pseudonym == called)))
    if user is None:
        raise DeskError("--reviewer: nobody has that name or pseudonym; see 'secondlook review user list'")
    return user


def _cases(session: Session, run: Run, selected: Select[Any]) -> Iterator[_Case]:
    """Cases that are decided, some hundred at a time, in the order of the queue."""
    done = CaseRow.status.in_(DONE)
    query = select(CaseRow.id).where(CaseRow.run_id == run.id, done, CaseRow.id.in_(selected)).order_by(CaseRow.rank)
    keys = session.scalars(query).all()
    for start in range(0, len(keys), _CASES):
        yield from _loaded(session, keys[start : start + _CASES])


def _loaded(session: Session, keys: Sequence[int]) -> Iterator[_Case]:
    whole = select(CaseRow).options(undefer(CaseRow.narrative), undefer(CaseRow.details))
    rows = session.scalars(whole.where(CaseRow.id.in_(keys)).order_by(CaseRow.rank)).all()
    texts = {row.id: row.narrative for row in rows}
    others = {row.original_id for row in rows} - texts.keys() - {None}
    texts |= dict(session.execute(select(CaseRow.id, CaseRow.narrative).where(CaseRow.id.in_(others))).tuples().all())
    reviews = _reviews(session, keys)
    flags: dict[int, set[str]] = {}
    for key, mode in session.execute(
        select(ScoreRow.case_id, ScoreRow.mode).where(ScoreRow.case_id.in_(keys), ScoreRow.flag)
    ).tuples():
        flags.setdefault(key, set()).add(mode)
    shown: dict[int, list[EvidenceRow]] = {}
    for one in session.scalars(select(EvidenceRow).where(EvidenceRow.case_id.in_(keys)).order_by(EvidenceRow.id)):
        shown.setdefault(one.case_id, []).append(one)
    for row in rows:
        original = texts[row.id if row.original_id is None else row.original_id]
        yield _Case(row, original, reviews.get(row.id, []), frozenset(flags.get(row.id, ())), shown.get(row.id, []))


def _reviews(session: Session, keys: Sequence[int]) -> dict[int, list[_Read]]:
    """The finished reviews of some cases, by case, the earlier first."""
    found = (
        session.execute(
            select(Review, User.pseudonym)
            .join(User, User.id == Review.user_id)
            .where(Review.case_id.in_(keys), Review.finished_at.is_not(None))
            .order_by(Review.finished_at, Review.id)
        )
        .tuples()
        .all()
    )
    ids = [review.id for review, _ in found]
    verdicts: dict[int, dict[str, Decision]] = {}
    for one in session.scalars(select(Decision).where(Decision.review_id.in_(ids)).order_by(Decision.mode)):
        verdicts.setdefault(one.review_id, {})[one.mode] = one
    marks: dict[int, list[Mark]] = {}
    for mark in session.scalars(select(Mark).where(Mark.review_id.in_(ids)).order_by(Mark.start, Mark.end, Mark.id)):
        marks.setdefault(mark.review_id, []).append(mark)
    by_case: dict[int, list[_Read]] = {}
    for review, pseudonym in found:
        read = _Read(review, pseudonym, verdicts.get(review.id, {}), marks.get(review.id, []))
        by_case.setdefault(review.case_id, []).append(read)
    return by_case


def _teach(case: _Case, run: Run, codebook: Codebook) -> Taught:
    """What one case teaches."""
    result = Taught()
    judge = next((read for read in case.reviews if read.review.kind == Kind.ADJUDICATION), None)
    readers = [read for read in case.reviews if read is not judge]
    readers.sort(key=lambda read: -len(_answers(case, read, codebook)))
    if not readers:
        return result
    first = _answers(case, readers[0], codebook)
    second = _answers(case, readers[1], codebook) if len(readers) > 1 else {}
    final = _settled(case, judge, [first, second], codebook)
    settled = frozenset(judge.verdicts) if judge else frozenset()
    labels: dict[str, _Answer] = {}
    for mode in codebook.mode_ids:
        own, others = first.get(mode), second.get(mode)
        if own and _teaches(own, mode, codebook) and (mode in final or mode not in settled):
            labels[mode] = own
        elif others and _teaches(others, mode, codebook) and mode not in settled:
            labels[mode] = second.pop(mode)
    unsure = settled - (judge.sure().keys() if judge else set())
    confirmed = {mode for read in case.reviews for mode, one in _answers(case, read, codebook).items() if one.holds}
    if lost := len(confirmed - labels.keys() - settled) + len((confirmed & settled) - final.keys() - unsure):
        result.left_out[NO_EVIDENCE] = lost
    if not labels and not final:
        result.left_out[NOTHING_DECIDED] = 1
        return result
    item = _annotation(case, readers[0], labels, run)
    result.annotations = [item]
    if second:
        result.second = [_second(item.id, case, readers[1], second, run)]
    if judge:
        result.adjudications = [
            _adjudication(item.id, case, mode, one, judge, readers, run) for mode, one in final.items()
        ]
    return result


def _redacted(one: Taught, case: _Case, config: ReviewConfig) -> Taught:
    """What a case teaches without personal data: in its text, in the reviewers' own words, and without its id."""
    from secondlook.review.redaction import Redactor  # not needed by those who do not redact

    redactor = Redactor.for_case(case.row.details, config)
    records: list[Record] = [*one.annotations, *one.second, *one.adjudications]
    if not records:
        return one
    words = sorted({text for record in records for text in _own_words(record)})
    spans = [evidence.span for record in records for evidence in record.evidence]
    narrative, *rest = redactor.redact_many([one.annotations[0].narrative, *words], [spans, *[()] * len(words)])
    said = {word: redacted.text for word, redacted in zip(words, rest, strict=True)}
    moved = iter(narrative.spans)

    def without(record: Record) -> dict[str, Any]:
        evidence = [
            old.model_copy(update={"start": new.start, "end": new.end, "text": narrative.text[slice(*new)]})
            for old, new in zip(record.evidence, moved, strict=False)  # the records share the spans, one after another
        ]
        by = record.decided
        assert by is not None  # noqa: S101 (the desk's annotations all say how they came about)
        reasons = {mode: said[reason] for mode, reason in by.reasons.items()}
        return {"evidence": tuple(evidence), "decided": by.model_copy(update={"case": None, "reasons": reasons})}

    return Taught(
        [item.model_copy(update={"narrative": narrative.text, **without(item)}) for item in one.annotations],
        [item.model_copy(update=without(item)) for item in one.second],
        [item.model_copy(update={"reason": said[item.reason], **without(item)}) for item in one.adjudications],
        one.left_out,
    )


def _own_words(record: Record) -> list[str]:
    """What reviewers wrote themselves."""
    reasons = list(record.decided.reasons.values()) if record.decided else []
    return [*reasons, record.reason] if isinstance(record, Adjudication) else reasons


def _answers(case: _Case, read: _Read, codebook: Codebook) -> dict[str, _Answer]:
    """What a reviewer decided, with the passages that show it, in the order of the codebook."""
    sure = read.sure()
    return {mode: _Answer(sure[mode], _evidence(case, read, mode)) for mode in codebook.mode_ids if mode in sure}


def _evidence(case: _Case, read: _Read, mode: str) -> tuple[EvidenceSpan, ...]:
    """What a reviewer marked; without marks, what they were shown for a flag that they confirmed."""
    if not read.sure().get(mode):
        return ()
    spans = {(mark.start, mark.end) for mark in read.marks if mark.mode == mode}
    if not spans and read.review.arm == Arm.PROMPTED and mode in case.flags:
        spans = {(one.start, one.end) for one in case.shown if one.mode == mode}
    text = case.row.narrative
    return tuple(EvidenceSpan(mode=mode, start=start, end=end, text=text[start:end]) for start, end in sorted(spans))


def _settled(
    case: _Case, judge: _Read | None, read: Sequence[Mapping[str, _Answer]], codebook: Codebook
) -> dict[str, _Answer]:
    """What an adjudicator decided; who confirms without a mark of their own takes those of who confirmed before."""
    if judge is None:
        return {}
    found = {}
    for mode, own in _answers(case, judge, codebook).items():
        before = [one[mode].evidence for one in read if mode in one and one[mode].holds and one[mode].evidence]
        answer = own if own.evidence or not own.holds or not before else _Answer(True, before[0])
        if _teaches(answer, mode, codebook):
            found[mode] = answer
    return found


def _teaches(answer: _Answer, mode: str, codebook: Codebook) -> bool:
    return not answer.holds or bool(answer.evidence) or codebook.mode(mode).evidence == "optional"


def _annotation(case: _Case, read: _Read, labels: Mapping[str, _Answer], run: Run) -> Annotation:
    return Annotation(
        id=annotation_id(case.row.narrative),
        narrative=case.row.narrative,
        labels={mode: one.holds for mode, one in labels.items()},
        evidence=_together(labels),
        group=annotation_id(case.original),
        source=Source(kind="own"),
        annotator=read.pseudonym,
        decided=_decided(case, read, run),
    )


def _second(item_id: str, case: _Case, read: _Read, labels: Mapping[str, _Answer], run: Run) -> SecondAnnotation:
    return SecondAnnotation(
        id=item_id,
        annotator=read.pseudonym,
        labels={mode: one.holds for mode, one in labels.items()},
        evidence=_together(labels),
        decided=_decided(case, read, run),
    )


def _adjudication(
    item_id: str, case: _Case, mode: str, answer: _Answer, judge: _Read, readers: Sequence[_Read], run: Run
) -> Adjudication:
    said = [str(read.verdicts[mode].verdict) if mode in read.verdicts else "undecided" for read in readers]
    return Adjudication(
        id=item_id,
        mode=mode,
        holds=answer.holds,
        evidence=answer.evidence,
        topic=" against ".join(sorted(said)),
        reason=judge.verdicts[mode].reason,
        decided=_decided(case, judge, run),
    )


def _together(labels: Mapping[str, _Answer]) -> tuple[EvidenceSpan, ...]:
    spans = (span for one in labels.values() for span in one.evidence)
    return tuple(sorted(spans, key=lambda span: (span.start, span.end, span.mode)))


def _decided(case: _Case, read: _Read, run: Run) -> Decided:
    finished = read.review.finished_at
    assert finished is not None  # noqa: S101 (only finished reviews are read)
    return Decided(
        reviewer=read.pseudonym,
        kind=Kind(read.review.kind).value,
        flags_seen=read.review.arm == Arm.PROMPTED,
        at=finished,
        bundle=run.bundle_name,
        bundle_digest=run.bundle_digest,
        run=run.digest,
        case=case.row.case_id,
        reasons={mode: decision.reason for mode, decision in read.verdicts.items() if decision.reason},
    )
