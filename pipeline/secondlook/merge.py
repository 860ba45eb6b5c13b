"""Merge: how do new annotations get into a corpus? Checked, without leakage, whole or not at all.

=======================================  ==============================================================================
a new narrative                          what becomes of it
=======================================  ==============================================================================
like none that is there                  gets a place in the train or development part; never in the test part, which
                                         stays what it was, so that models can be compared across the weeks
a near-duplicate of one that is there    gets its group, and so its place
a near-duplicate of the test part        is left out: elsewhere it would leak, and the test part stays what it was
one that binds two places together       is left out: it would leak from the one to the other
the very text of one that is there       its labels are added where there was none; where they differ, the later
                                         decision replaces the earlier; what annotators or adjudicators decided
                                         stays, and is listed as a conflict
=======================================  ==============================================================================

Whatever was not simply added is listed. The same merge again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from secondlook.codebook import Codebook, load_codebook
from secondlook.config import DataConfig
from secondlook.corpus import (
    Adjudication,
    Annotation,
    Located,
    Record,
    SecondAnnotation,
    adjudicated,
    line_of,
    load_corpus,
    load_second,
    read_adjudications,
    read_annotations,
    read_records,
)
from secondlook.duplicates import near_duplicates
from secondlook.errors import CorpusError
from secondlook.splits import Assignment, join_groups, place_of_group, read_split, split_bytes
from secondlook.storage import held, write_together

FILE = "decisions.jsonl"
"""In each of the folders, where what is new is written; what replaces something stands where that stood."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was not simply added: the narrative's id, and what became of it."""

    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.id}: {self.what}"


@dataclass
class Merge:
    """What a merge does. ``files`` are those that change, with what they hold then, in the order to write them.

    ``places`` counts the new narratives by part of the split, ``joined`` those that got the group of one that was
    there. ``notes`` list whatever was not simply added.
    """

    files: dict[Path, bytes] = field(default_factory=dict)
    added: int = 0
    joined: int = 0
    changed: int = 0
    unchanged: int = 0
    second: int = 0
    adjudications: int = 0
    places: Counter[str] = field(default_factory=Counter)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class New:
    """What is to be merged."""

    annotations: Sequence[Annotation]
    second: Sequence[SecondAnnotation]
    adjudications: Sequence[Adjudication]

    def gold(self) -> dict[str, Annotation]:
        """The annotations by id, with what was adjudicated in place."""
        return _gold({item.id: item for item in self.annotations}, self.adjudications)


@dataclass(frozen=True)
class Corpus:
    """What is there already."""

    located: Sequence[Located]
    second: Sequence[SecondAnnotation]
    adjudications: Sequence[Adjudication]
    places: Mapping[str, Assignment]

    def items(self) -> dict[str, Annotation]:
        """The annotations by id."""
        return {one.annotation.id: one.annotation for one in self.located}


def merge(source: Path, data: DataConfig, *, dry_run: bool = False) -> Merge:
    """Take new annotations into a corpus.

    Args:
        source: a JSONL file, or a folder with ``annotations``, ``annotations/second`` and ``adjudications``, as the
            reviewers' desk exports it.
        data: the corpus.
        dry_run: change nothing.

    Raises:
        CorpusError: what is new, or what is there, does not fit the codebook or its own text; or something cannot be
            written, and then nothing was changed.
        CodebookError, SplitError: the codebook or the split cannot be read.
    """
    if data.annotations.is_file():
        raise CorpusError(f"{data.annotations}: is a file; merge into the folder that it is in")
    try:
        with held(data.annotations):
            found = plan(read_new(source, load_codebook(data.codebook)), data)
            if not dry_run:
                write_together(found.files)
    except BlockingIOError:
        raise CorpusError(f"{data.annotations}: another merge is at work there; wait for it, then try again") from None
    except OSError as cause:
        raise CorpusError(
            f"{data.annotations}: cannot be written ({cause.strerror}); nothing was changed: make room, and try again"
        ) from None
    return found


def read_new(source: Path, codebook: Codebook) -> New:
    """Read and check what is to be merged; CorpusError lists every problem."""
    if not (source / "annotations").is_dir():
        return New(load_corpus(source, codebook), (), ())
    annotations = load_corpus(source / "annotations", codebook)
    known = {item.id: item for item in annotations}
    load_second(source / "annotations" / "second", known)
    second = [item for _, item in read_records(source / "annotations" / "second", SecondAnnotation)]
    return New(annotations, second, read_adjudications(source / "adjudications", known, codebook))


def plan(new: New, data: DataConfig) -> Merge:
    """Work out what a merge does, and change nothing."""
    there = _read_corpus(data)
    result = Merge()
    fresh, ids, changed = _sorted_out(new, there, result)
    fresh, places = _placed(fresh, there, data.near_duplicate_similarity, result)
    kept = there.items().keys() | {item.id for item in fresh}
    own = {item.id for item in fresh}
    ids = {old: now for old, now in ids.items() if now in kept}
    second = _new_second(new, there, ids, result)
    # What was adjudicated of a narrative that was there is in its labels already, or was listed.
    decided = [one for one in new.adjudications if one.id in own]
    result.added, result.changed = len(fresh), len(changed)
    result.second, result.adjudications = len(second), len(decided)
    _replace_lines(there.located, changed, result.files)
    _append(data.annotations / FILE, fresh, result.files)
    _append(data.annotations / "second" / FILE, second, result.files)
    _append(data.adjudications / FILE, decided, result.files)
    if places:
        result.files[data.splits] = split_bytes([*there.places.values(), *places])
    return result


def _read_corpus(data: DataConfig) -> Corpus:
    if not any(data.annotations.glob("*.jsonl")):
        return Corpus((), (), (), {})
    codebook = load_codebook(data.codebook)
    load_corpus(data.annotations, codebook)  # or what is there has problems of its own, and says which
    located, _ = read_annotations(data.annotations)
    second = [item for _, item in read_records(data.annotations / "second", SecondAnnotation)]
    known = {one.annotation.id: one.annotation for one in located}
    decided = read_adjudications(data.adjudications, known, codebook)
    return Corpus(located, second, decided, read_split(data.splits) if data.splits.exists() else {})


def _gold(items: Mapping[str, Annotation], decisions: Iterable[Adjudication]) -> dict[str, Annotation]:
    gold = dict(items)
    for one in decisions:
        gold[one.id] = adjudicated(gold[one.id], one)
    return gold


def _sorted_out(
    new: New, there: Corpus, result: Merge
) -> tuple[list[Annotation], dict[str, str], dict[str, Annotation]]:
    """Which narratives are new; by what id each is known from now on; and which of those there change."""
    items, gold, new_gold = there.items(), _gold(there.items(), there.adjudications), new.gold()
    by_text = {item.narrative: item.id for item in items.values()}
    settled = {(one.id, one.mode) for one in there.adjudications}
    fresh: dict[str, Annotation] = {}
    ids: dict[str, str] = {}
    changed: dict[str, Annotation] = {}
    for item in new.annotations:
        known = by_text.get(item.narrative)
        if known is None and (item.id in items or item.id in fresh):
            result.notes.append(Note(item.id, "left out: another narrative has this id; give it another"))
            continue
        if known is None:
            fresh[item.id] = item
            by_text[item.narrative] = ids[item.id] = item.id
            continue
        ids[item.id] = known
        if known in fresh:
            result.notes.append(Note(item.id, f"left out: has the very text of '{known}', which is new as well"))
            continue
        is_test = known in there.places and there.places[known].split == "test"
        frozen = frozenset(item.labels) if is_test else frozenset(m for i, m in settled if i == known)
        update = _updated(items[known], gold[known], new_gold[item.id], frozen, is_test, result)
        if update is None:
            result.unchanged += 1
        else:
            changed[known] = items[known] = gold[known] = update
    return list(fresh.values()), ids, changed


def _updated(
    old: Annotation, gold: Annotation, new: Annotation, frozen: frozenset[str], is_test: bool, result: Merge
) -> Annotation | None:
    """An annotation with what a later decision on the same text says; None where that changes nothing."""
    later = bool(old.decided and new.decided and new.decided.at > old.decided.at)
    taken = []
    for mode, holds in new.labels.items():
        if gold.labels.get(mode) is holds and not (later and holds and gold.spans(mode) != new.spans(mode)):
            continue
        differs = mode in gold.labels and gold.labels[mode] is not holds
        if mode in frozen or (differs and not later):
            if differs or is_test:
                result.notes.append(Note(old.id, f"{mode}: {_why(old, new, mode in frozen, is_test)}"))
            continue
        if differs:
            result.notes.append(Note(old.id, f"{mode}: the later decision ({holds}) replaces the earlier"))
        taken.append(mode)
    if not taken:
        return None
    evidence = [one for one in old.evidence if one.mode not in taken] + [
        one for one in new.evidence if one.mode in taken
    ]
    update = {
        "labels": {**old.labels, **{mode: new.labels[mode] for mode in taken}},
        "evidence": tuple(sorted(evidence, key=lambda one: (one.start, one.end, one.mode))),
    }
    return old.model_copy(update=update | ({"annotator": new.annotator, "decided": new.decided} if later else {}))


def _why(old: Annotation, new: Annotation, is_frozen: bool, is_test: bool) -> str:
    """Why what is there stays."""
    if is_test:
        return "left out: the test part stays what it was"
    if is_frozen:
        return "conflict: what was adjudicated stays; correct the adjudication if that is wrong"
    if old.decided and new.decided:
        return "left out: what is there was decided later"
    return f"conflict: what '{old.annotator}' said stays; decide in the adjudications"


def _placed(
    fresh: Sequence[Annotation], there: Corpus, similarity: float, result: Merge
) -> tuple[list[Annotation], list[Assignment]]:
    """The new narratives that may stay, each with its group, and the places of all that have none yet."""
    old = [one.annotation for one in there.located]
    everything = [*old, *fresh]
    pairs = list(near_duplicates([item.narrative for item in everything], similarity))
    cluster = join_groups(everything, pairs)
    old_groups = {item.group for item in old}
    bound: dict[str, set[str]] = {name: set() for name in cluster}
    for number, item in enumerate(fresh, start=len(old)):
        bound[cluster[number]] |= {item.group} & old_groups
    for one, other, _ in pairs:
        if one < len(old) <= other:
            bound[cluster[one]].add(old[one].group)
    sides = _sides(old, cluster, there.places)
    kept, places = [], []
    for number, item in enumerate(everything):
        name, is_new = cluster[number], number >= len(old)
        if is_new and (reason := _unfit(bound[name], sides.get(name, set()))):
            result.notes.append(Note(item.id, reason))
            continue
        if is_new:
            group = next(iter(bound[name]), name)
            result.joined += bool(bound[name])
            kept.append(item if item.group == group else item.model_copy(update={"group": group}))
        if there.places and item.id not in there.places and len(sides.get(name, ())) < 2:
            split, fold = next(iter(sides.get(name, ())), None) or place_of_group(name, there.places.values())
            places.append(Assignment(item.id, name, split, fold))
            result.places[split] += 1
    return kept, places


def _sides(
    old: Sequence[Annotation], cluster: Sequence[str], places: Mapping[str, Assignment]
) -> dict[str, set[tuple[str, int | None]]]:
    """The places in which the narratives of a cluster stand."""
    sides: dict[str, set[tuple[str, int | None]]] = {}
    for item, name in zip(old, cluster, strict=False):  # the new ones stand behind the old
        if place := places.get(item.id):
            sides.setdefault(name, set()).add((place.split, place.fold))
    return sides


def _unfit(groups: set[str], sides: set[tuple[str, int | None]]) -> str | None:
    """Why a new narrative cannot come in beside what it resembles."""
    if any(split == "test" for split, _ in sides):
        return "left out: most of it stands in the test part, which stays what it was"
    if len(sides) > 1 or len(groups) > 1:
        return "left out: it binds together what stands in different groups, and would leak from one to the other"
    return None


def _new_second(new: New, there: Corpus, ids: Mapping[str, str], result: Merge) -> list[SecondAnnotation]:
    known = {item.id: item for item in there.second}
    found = []
    for item in new.second:
        if item.id not in ids:
            continue
        moved = item.model_copy(update={"id": ids[item.id]})
        if moved.id not in known:
            found.append(moved)
            known[moved.id] = moved
        elif known[moved.id] != moved:
            result.notes.append(Note(moved.id, "left out: there is another second annotation of it"))
    return found


def _replace_lines(located: Sequence[Located], changed: Mapping[str, Annotation], files: dict[Path, bytes]) -> None:
    for one in located:
        if one.annotation.id in changed:
            path = Path(one.file)
            lines = (files[path] if path in files else path.read_bytes()).split(b"\n")
            lines[one.line - 1] = line_of(changed[one.annotation.id]).rstrip("\n").encode()
            files[path] = b"\n".join(lines)


def _append(path: Path, records: Sequence[Record], files: dict[Path, bytes]) -> None:
    if not records:
        return
    before = files[path] if path in files else path.read_bytes() if path.exists() else b""
    gap = b"\n" if before and not before.endswith(b"\n") else b""
    files[path] = before + gap + "".join(line_of(record) for record in records).encode()
