"""The corpus: annotations read from JSONL, and the checks that make them fit to teach.

One line of ``labels/annotations/*.jsonl`` is one annotation::

    {"id": "r1-007", "narrative": "…", "labels": {"information_leaked": true, …},
     "evidence": [{"mode": "information_leaked", "start": 120, "end": 187, "text": "…"}],
     "style": {"register": "file_note", "country": "Ireland", "noise": "clean"},
     "group": "…", "source": {"kind": "retold", "url": "…"}, "annotator": "r1"}

A mode that ``labels`` does not name is unknown, not negative. What was decided at the reviewers' desk says so in
``decided``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from secondlook.codebook import Codebook
from secondlook.config import DataConfig, Strict
from secondlook.errors import CorpusError, did_you_mean
from secondlook.schema import Span


class EvidenceSpan(Strict):
    """Where a positive label shows: ``text`` repeats ``narrative[start:end]`` so that both can be checked."""

    mode: str
    start: StrictInt
    end: StrictInt
    text: str | None = None

    @property
    def span(self) -> Span:
        """The offsets as a span."""
        return Span(self.start, self.end)


class Style(Strict):
    """How a narrative is written; no label may be guessable from this (see ``secondlook.audit``)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    register_: Annotated[str, Field(alias="register")] = "unknown"
    country: str = "unknown"
    noise: str = "clean"


class Source(Strict):
    """Where a narrative comes from.

    ``retold`` from a published case, ``inspired`` by one (setting or procedure only), ``invented``, or
    an office's ``own``; ``note`` says what was changed.
    """

    kind: Literal["retold", "inspired", "invented", "own"]
    url: str | None = None
    note: str | None = None


class Pair(Strict):
    """Membership of a minimal pair: two narratives that one edit tells apart on one mode."""

    id: str
    mode: str
    edit: str


class Trap(Strict):
    """A mode that the narrative brings up although its label does not hold: a hard negative."""

    mode: str
    kind: str


class Decided(Strict):
    """How labels came about at the reviewers' desk.

    ``reviewer`` is a pseudonym, ``at`` when the review was finished, ``run`` the SHA-256 of the run's manifest and
    ``case`` the input's id of the case. ``flags_seen`` says whether the reviewer saw what the model said: labels that
    were decided with its flags in sight lean towards them. ``reasons`` are the reviewer's own words, by mode.
    """

    reviewer: str
    kind: Literal["single", "double", "adjudication"]
    flags_seen: StrictBool
    at: AwareDatetime
    bundle: str
    bundle_digest: str
    run: str
    case: str | None = None
    reasons: Annotated[dict[str, str], Field(default_factory=dict)]


class Annotation(Strict):
    """One annotator's labels and evidence for one narrative."""

    id: Annotated[str, Field(min_length=1)]
    narrative: str
    labels: dict[str, StrictBool]
    evidence: tuple[EvidenceSpan, ...] = ()
    style: Style = Style()
    group: Annotated[str, Field(min_length=1)]
    source: Source
    annotator: str
    pair: Pair | None = None
    traps: tuple[Trap, ...] = ()
    decided: Decided | None = None

    def spans(self, mode: str) -> list[Span]:
        """The evidence spans of one mode."""
        return [evidence.span for evidence in self.evidence if evidence.mode == mode]


class SecondAnnotation(Strict):
    """What a second annotator, who saw the text and the guidelines only, made of a narrative."""

    id: str
    annotator: str
    labels: dict[str, StrictBool]
    evidence: tuple[EvidenceSpan, ...] = ()
    decided: Decided | None = None


class Adjudication(Strict):
    """What was decided where two annotators disagreed on one mode of one narrative.

    ``holds`` and ``evidence`` are the gold from then on; ``topic`` says in a word or two what the
    disagreement was about, ``reason`` why it was decided so.
    """

    id: str
    mode: str
    holds: StrictBool
    evidence: tuple[EvidenceSpan, ...] = ()
    topic: str
    reason: str
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with an annotation file, and what to do about it."""

    file: str
    line: int
    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, {self.place}: {self.message}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Located:
    """An annotation and the line it was read from."""

    annotation: Annotation
    file: str
    line: int


def load_corpus(path: Path, codebook: Codebook) -> list[Annotation]:
    """The annotations of a file or folder, in file and line order.

    Raises:
        CorpusError: lists what :func:`check_annotations` finds.
    """
    located, problems = read_annotations(path)
    problems += check_annotations(located, codebook)
    if problems:
        shown = "\n".join(str(problem) for problem in problems[:20])
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CorpusError(f"{shown}{more}\nRun 'secondlook labels check' for the whole list.")
    if not located:
        raise CorpusError(f"{path}: there are no annotations (*.jsonl) here")
    return [item.annotation for item in located]


def load_gold(data: DataConfig, codebook: Codebook) -> list[Annotation]:
    """The annotations with every adjudicated label in the place of the first annotator's.

    Raises:
        CorpusError: a problem in the annotations or in the adjudications.
    """
    annotations = {item.id: item for item in load_corpus(data.annotations, codebook)}
    for decision in read_adjudications(data.adjudications, annotations, codebook):
        annotations[decision.id] = adjudicated(annotations[decision.id], decision)
    return list(annotations.values())


def adjudicated(item: Annotation, decision: Adjudication) -> Annotation:
    """An annotation with what was decided on one of its modes in the place of what the annotator said."""
    others = tuple(evidence for evidence in item.evidence if evidence.mode != decision.mode)
    return item.model_copy(
        update={
            "labels": {**item.labels, decision.mode: decision.holds},
            "evidence": others + decision.evidence,
        }
    )


def read_adjudications(path: Path, annotations: Mapping[str, Annotation], codebook: Codebook) -> list[Adjudication]:
    """The adjudications of a folder; none if there is no such folder.

    Raises:
        CorpusError: names the file and line of the first that does not fit its narrative.
    """
    found = []
    for where, decision in read_records(path, Adjudication):
        item = annotations.get(decision.id)
        if item is None:
            raise CorpusError(
                f"{where}: there is no annotation '{decision.id}'{did_you_mean(decision.id, annotations)}"
            )
        for _, message, remedy in [
            *_check_labels(adjudicated(item, decision), codebook),
            *_check_evidence(adjudicated(item, decision), codebook),
        ]:
            raise CorpusError(f"{where}, '{decision.id}', {decision.mode}: {message}; {remedy}")
        found.append(decision)
    return found


def load_second(
    path: Path, annotations: Mapping[str, Annotation], codebook: Codebook | None = None
) -> dict[str, Annotation]:
    """The second annotator's annotations, by id, joined to the narratives; none if there is no such folder.

    Raises:
        CorpusError: a line that is no annotation, is of an unknown narrative or, where a codebook is given, does not
            fit that or the narrative.
    """
    second = {}
    for where, item in read_records(path, SecondAnnotation):
        if item.id not in annotations:
            raise CorpusError(f"{where}: there is no narrative '{item.id}'{did_you_mean(item.id, annotations)}")
        second[item.id] = annotations[item.id].model_copy(
            update={"labels": item.labels, "evidence": item.evidence, "annotator": item.annotator}
        )
        if codebook:
            own = second[item.id]
            for _, message, remedy in [*_check_labels(own, codebook), *_check_evidence(own, codebook)]:
                raise CorpusError(f"{where}, '{item.id}': {message}; {remedy}")
    return second


def read_records(path: Path, kind: type[_Record]) -> Iterator[tuple[str, _Record]]:
    """The records of every ``*.jsonl`` of a folder, each with where it stands.

    Raises:
        CorpusError: names the file, line and field of the first that is none.
    """
    for file in sorted(path.glob("*.jsonl")):
        for line, text in _lines(file):
            where = f"{file}, line {line}"
            try:
                yield where, kind.model_validate_json(text)
            except ValidationError as cause:
                place = ".".join(str(part) for part in cause.errors()[0]["loc"]) or "the line"
                raise CorpusError(f"{where}, field '{place}': {cause.errors()[0]['msg'].lower()}") from None


def read_annotations(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read ``*.jsonl``; lines that are not annotations become problems.

    Raises:
        CorpusError: the path does not exist.
    """
    if not path.exists():
        raise CorpusError(f"{path}: there is no such file or folder")
    located: list[Located] = []
    problems: list[Problem] = []
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        for line, text in _lines(file):
            parsed = _parse_line(str(file), line, text)
            if isinstance(parsed, Located):
                located.append(parsed)
            else:
                problems += parsed
    return located, problems


def write_annotations(path: Path, annotations: Iterable[Record]) -> None:
    """Write annotations, second annotations or adjudications as JSONL, one line each, in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line_of(annotation) for annotation in annotations).encode())


def line_of(record: Record) -> str:
    """A record as a line of JSONL, without what it does not say."""
    values = record.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(values, ensure_ascii=False) + "\n"


def check_annotations(located: Sequence[Located], codebook: Codebook) -> list[Problem]:
    """Every way in which annotations do not fit the codebook or their own text."""
    problems: list[Problem] = []
    first: dict[str, Located] = {}
    for item in located:
        found = list(_check_labels(item.annotation, codebook)) + list(_check_evidence(item.annotation, codebook))
        earlier = first.setdefault(item.annotation.id, item)
        if earlier is not item:
            found.append(
                (
                    f"id '{item.annotation.id}'",
                    f"already used in {earlier.file}, line {earlier.line}",
                    "give it another id",
                )
            )
        problems += [Problem(item.file, item.line, place, message, remedy) for place, message, remedy in found]
    return problems


def corpus_digest(annotations: Iterable[Annotation]) -> str:
    """A SHA-256 over ids and annotations, in id order: two corpora with the same digest teach the same.

    How the labels came about (``decided``) teaches nothing, and is left out.
    """
    digest = hashlib.sha256()
    for annotation in sorted(annotations, key=lambda item: item.id):
        digest.update(annotation.model_dump_json(by_alias=True, exclude={"decided"}).encode())
        digest.update(b"\n")
    return digest.hexdigest()


Record = Annotation | SecondAnnotation | Adjudication

_Finding = tuple[str, str, str]
_Record = TypeVar("_Record", bound=Strict)


def _check_labels(annotation: Annotation, codebook: Codebook) -> Iterator[_Finding]:
    known = codebook.mode_ids
    for mode in annotation.labels:
        if mode not in known:
            yield _unknown_mode(f"labels.{mode}", mode, known)
    if not annotation.narrative.strip():
        yield "narrative", "is empty", "remove the line or fill in the text"
    if any("\ud800" <= character <= "\udfff" for character in annotation.narrative):
        yield (
            "narrative",
            "holds half of a surrogate pair, which is not a code point",
            "export it again as UTF-8",
        )
    for known_mode in codebook.modes:
        own = known_mode.id
        if annotation.labels.get(own) and known_mode.evidence == "required" and not annotation.spans(own):
            remedy = f"mark the sentences that show it, or set 'evidence: optional' for {own} in the codebook"
            yield f"labels.{own}", "is positive without evidence", remedy


def _check_evidence(annotation: Annotation, codebook: Codebook) -> Iterator[_Finding]:
    length = len(annotation.narrative)
    for number, evidence in enumerate(annotation.evidence):
        place = f"evidence[{number}]"
        if evidence.mode not in codebook.mode_ids:
            yield _unknown_mode(f"{place}.mode", evidence.mode, codebook.mode_ids)
            continue
        if not annotation.labels.get(evidence.mode):
            state = "negative" if evidence.mode in annotation.labels else "unknown"
            yield (
                place,
                f"lies under a {state} label {evidence.mode}",
                "remove the span or make the label positive",
            )
        if not 0 <= evidence.start < evidence.end <= length:
            yield (
                f"{place}.start/end",
                f"{evidence.start}:{evidence.end} does not lie in the narrative's {length} code points",
                "count offsets in Unicode code points from 0, end exclusive",
            )
            continue
        yield from _check_quote(place, annotation.narrative, evidence)


def _check_quote(place: str, narrative: str, evidence: EvidenceSpan) -> Iterator[_Finding]:
    there = narrative[evidence.start : evidence.end]
    if not there.strip():
        yield place, "covers only white space", "mark whole sentences"
    if evidence.text is not None and evidence.text != there:
        at = narrative.find(evidence.text)
        found = f"its text stands at {at}:{at + len(evidence.text)}" if at >= 0 else "its text does not occur at all"
        remedy = "count in code points: bytes and UTF-16 units differ after accents and emoji"
        yield f"{place}.text", f"is not what stands at {evidence.start}:{evidence.end} ({found})", remedy


def _unknown_mode(place: str, mode: str, known: Sequence[str]) -> _Finding:
    return place, f"unknown mode '{mode}'{did_you_mean(mode, known)}", f"the codebook has {', '.join(known)}"


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without the blank ones; only newlines count, not U+2028 and the like."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise CorpusError(f"{file}: cannot be read as UTF-8 text ({cause})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _parse_line(file: str, line: int, text: str) -> Located | list[Problem]:
    try:
        data: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as cause:
        return [Problem(file, line, "the line", f"is not JSON ({cause})", "write one JSON object a line")]
    if not isinstance(data, Mapping):
        return [Problem(file, line, "the line", "is not a JSON object", "write one JSON object a line")]
    try:
        return Located(Annotation.model_validate(data), file, line)
    except ValidationError as cause:
        return [_problem_of(file, line, problem) for problem in cause.errors()]


def _problem_of(file: str, line: int, problem: Any) -> Problem:
    place = ".".join(str(part) for part in problem["loc"]) or "the line"
    if problem["type"] == "extra_forbidden":
        hint = did_you_mean(str(problem["loc"][-1]), Annotation.model_fields)
        return Problem(file, line, f"field '{place}'", f"is not known{hint}", "rename or remove it")
    return Problem(file, line, f"field '{place}'", problem["msg"].lower(), "see labels/guidelines.md for the format")
