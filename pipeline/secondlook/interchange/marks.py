"""What every format comes down to: a text, labels and marked spans; and how these become annotations."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation, EvidenceSpan, Source
from secondlook.errors import CorpusError, did_you_mean
from secondlook.schema import Span

_YES = frozenset({"1", "true", "yes", "y", "x", "t", "positive", "present", "1.0"})
_NO = frozenset({"0", "false", "no", "n", "f", "negative", "absent", "0.0"})


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to read records.

    ``complete``: a record was judged for every mode, so what is not marked is negative; otherwise it
    is unknown. Columns are for tables: ``label_column`` holds labels separated by ``separator``;
    without it every mode has a column of its own.
    """

    annotator: str = "imported"
    complete: bool = True
    id_column: str | None = None
    narrative_column: str | None = None
    group_column: str | None = None
    label_column: str | None = None
    separator: str = ";"


@dataclass(frozen=True, slots=True)
class Mark:
    """A span as another tool stores it; ``quote`` is the text that it says stands there."""

    label: str
    start: int
    end: int
    quote: str | None = None
    utf16: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """One record of another tool.

    ``labels`` hold what it says outright: yes, no, or None for "not judged". ``complete`` False says that it was
    judged for these labels only. ``problem`` is why it cannot be read; ``place`` is for messages.
    """

    place: str
    id: str
    text: str
    labels: Mapping[str, bool | None] = field(default_factory=dict)
    complete: bool = True
    problem: str | None = None
    marks: Sequence[Mark] = ()
    group: str | int | None = None
    annotator: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """Annotations, what was mended or left out with the reason, and how many records were read."""

    annotations: list[Annotation]
    notes: list[str]
    read: int


def settle(records: Iterable[Marked], codebook: Codebook, options: ImportOptions, path: Path) -> Imported:
    """Check records against their texts and the codebook; ids that repeat and empty texts are left out."""
    names = label_names(codebook)
    annotations: dict[str, Annotation] = {}
    notes: list[str] = []
    count = 0
    for record in records:
        count += 1
        reason = record.problem or _why_not_text(record.text)
        earlier = annotations.get(record.id)
        if reason is None and earlier and (record.complete or earlier.narrative != record.text):
            reason = f"the id '{record.id}' was used before"
        if reason:
            notes.append(f"{record.place}: left out: {reason}")
            continue
        annotation = _annotation(record, codebook, names, options, notes)
        annotations[record.id] = _joined(earlier, annotation) if earlier else annotation
    if not count:
        raise CorpusError(f"{path}: holds no records of this format")
    return Imported(list(annotations.values()), notes, count)


def label_names(codebook: Codebook) -> dict[str, str]:
    """Mode ids by every way in which another tool may name them: id or title, in any case; an id before a title."""
    titles = {plain(mode.title): mode.id for mode in codebook.modes}
    return titles | {plain(mode.id): mode.id for mode in codebook.modes}


def plain(name: str) -> str:
    """A label's name without case, blanks and punctuation, in any script.

    >>> plain(" Information leaked (to suspect) ")
    'information_leaked_to_suspect'
    """
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", name).casefold()).strip("_")


def yes_or_no(value: str, place: str, mode: str) -> bool | None:
    """What a cell of a mode's column says; None for nothing, CorpusError for anything else."""
    word = value.strip().casefold()
    if word and word not in _YES | _NO:
        raise CorpusError(f"{place}: the column of {mode} holds neither yes nor no: write 1, 0 or nothing")
    return word in _YES if word else None


def slug(name: str) -> str:
    """An id for a label: ASCII letters, digits and underscores, a letter first.

    >>> slug("Übergriff"), slug("1st delay"), slug("投诉")
    ('ubergriff', 'mode_1st_delay', 'mode')
    """
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"^(?=\d)", "mode_", plain(letters))[:50] or "mode"


def place_mark(text: str, mark: Mark) -> tuple[Span, str] | None:
    """The span of a mark and how it was found ('' if as given), or None if it fits nowhere for certain.

    Without a quote, offsets are taken as they are if they lie in the text. With one they must point at it, as
    code points or as UTF-16 units; failing that, the quote must stand in the text exactly once.
    """
    as_given = Span(mark.start, mark.end)
    converted = _from_utf16(text, as_given)
    readings = [(converted, ""), (as_given, "code points")] if mark.utf16 else [(as_given, ""), (converted, "UTF-16")]
    for span, how in readings:
        if span and 0 <= span.start < span.end <= len(text) and mark.quote in (None, text[span.start : span.end]):
            return span, f"its offsets were {how}" if how and mark.quote is not None else ""
    if mark.quote and text.count(mark.quote) == 1:
        start = text.index(mark.quote)
        return Span(start, start + len(mark.quote)), "its quoted text stands elsewhere"
    return None


def to_utf16(text: str, span: Span) -> Span:
    """Offsets in UTF-16 units, as JavaScript counts.

    >>> to_utf16("😀 he", Span(2, 4))
    Span(start=3, end=5)
    """
    before, within = text[: span.start], text[span.start : span.end]
    start = len(before.encode("utf-16-le")) // 2
    return Span(start, start + len(within.encode("utf-16-le")) // 2)


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON lines file, each with its place; CorpusError where a line is none."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                data = json.loads(line)
            except (ValueError, RecursionError) as cause:
                raise CorpusError(f"{place}: is not JSON ({str(cause)[:80]})") from None
            if not isinstance(data, dict):
                raise CorpusError(f"{place}: is not a JSON object")
            yield place, data


def read_text(path: Path) -> str:
    """A UTF-8 file; CorpusError if it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise CorpusError(f"{path}: cannot be read as UTF-8 text ({cause})") from None


def write_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines in UTF-8."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def positives(annotation: Annotation) -> list[str]:
    """The modes that hold."""
    return [mode for mode, holds in annotation.labels.items() if holds]


def _annotation(
    record: Marked, codebook: Codebook, names: Mapping[str, str], options: ImportOptions, notes: list[str]
) -> Annotation:
    judged_for_all = options.complete and record.complete
    labels: dict[str, bool | None] = dict.fromkeys(codebook.mode_ids, False) if judged_for_all else {}
    for name, holds in record.labels.items():
        if mode := _mode(name, names, record.place, notes):
            labels[mode] = holds
        else:
            _doubt_what_was_meant(name, names, labels)
    evidence = []
    for mark in record.marks:
        mode = _mode(mark.label, names, record.place, notes)
        if mode is None:
            _doubt_what_was_meant(mark.label, names, labels)
            continue
        found = place_mark(record.text, mark)
        # Somebody marked it: where the span is lost, the label is unknown at worst, never negative.
        labels[mode] = True if found or labels.get(mode) else None
        if not found:
            where = "it is not where it says, nor once in the text"
            notes.append(f"{record.place}: a span for '{mark.label}' was left out: {where}")
            continue
        span, how = found
        evidence.append(EvidenceSpan(mode=mode, start=span.start, end=span.end, text=record.text[slice(*span)]))
        if how:
            notes.append(f"{record.place}: a span for '{mark.label}' was mended: {how}")
    return Annotation(
        id=record.id,
        narrative=record.text,
        labels={mode: holds for mode, holds in labels.items() if holds is not None},
        evidence=tuple(sorted(set(evidence), key=lambda item: (item.start, item.end, item.mode))),
        group=record.id if record.group in (None, "") else str(record.group),
        source=Source(kind="own"),
        annotator=record.annotator or options.annotator,
    )


def _doubt_what_was_meant(name: str, names: Mapping[str, str], labels: dict[str, bool | None]) -> None:
    """A label that is not in the codebook may be a slip of the pen for one that is: that one is no clear no."""
    if meant := get_close_matches(plain(name), names, n=1, cutoff=0.6):
        mode = names[meant[0]]
        labels[mode] = labels.get(mode) or None


def _why_not_text(text: object) -> str | None:
    """Why a record's text cannot be a narrative, or None."""
    if not isinstance(text, str):
        return "it has no text"
    if not text.strip():
        return "the text is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text holds half of a surrogate pair, which no file can store; export it again as UTF-8"
    return None


def _joined(one: Annotation, other: Annotation) -> Annotation:
    """Two partial records of one text: a mode that either says holds, holds."""
    labels = {**one.labels, **other.labels}
    labels |= {mode: True for item in (one, other) for mode, holds in item.labels.items() if holds}
    return one.model_copy(update={"labels": labels, "evidence": one.evidence + other.evidence})


def _mode(name: str, names: Mapping[str, str], place: str, notes: list[str]) -> str | None:
    mode = names.get(plain(name))
    if mode is None:
        notes.append(
            f"{place}: the label '{name[:60]}' is not in the codebook{did_you_mean(plain(name), names)}; left out"
        )
    return mode


def _from_utf16(text: str, span: Span) -> Span | None:
    """Code points of offsets in UTF-16 units, or None where they cut a surrogate pair."""
    units = text.encode("utf-16-le", "surrogatepass")
    try:
        start = len(units[: 2 * span.start].decode("utf-16-le"))
        return Span(start, start + len(units[2 * span.start : 2 * span.end].decode("utf-16-le")))
    except UnicodeDecodeError:
        return None
