"""Corpora to compare on, each as parts of narratives with passages, labels and evidence.

``own``: the corpus in ``labels/``. ``india-documents`` and ``india-sentences``: India Police Events
(Halterman et al. 2021) in the split that ConfliBERT published. ``unfair-tos``: fifty contracts with unfair
clauses (Galassi et al. 2024), five folds by document. Their files are read from where you put them.
"""

from __future__ import annotations

import csv
import heapq
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import KFold

from secondlook.config import TrainConfig
from secondlook.corpus import Style
from secondlook.prepare import Part, load_prepared
from secondlook.schema import Span

ACTS = ("KILL", "ARREST", "ANY_ACTION", "FAIL", "FORCE")
SPLITS = ("train", "dev", "test")
READINGS = 8
"""How many ways to read a published split are followed until later texts decide."""


@dataclass(frozen=True)
class Task:
    """What to learn and what to be measured on.

    ``unit`` is what is measured: whole narratives or single passages. For passages, a target that is not
    known in a part belongs to another part, whose text may still be read as context. A corpus may have too few
    narratives for a development part.
    """

    name: str
    unit: str
    modes: tuple[str, ...]
    training: Part
    development: Part | None
    test: Part

    def halves(self) -> list[tuple[Task, Part]]:
        """The task with either half of its training part, and the half that it has not."""
        first = np.random.default_rng(0).permutation(len(self.training.ids)) % 2 == 0
        parts = [self.training.select(first), self.training.select(~first)]
        return [
            (replace(self, name=f"{self.name}, half {number}", training=own), other)
            for number, (own, other) in enumerate([parts, parts[::-1]], start=1)
        ]


def load_tasks(name: str, data: Path | None, config: TrainConfig) -> list[Task]:
    """The tasks of a benchmark: one, or one for every fold."""
    if name == "own":
        prepared = load_prepared(config.data)
        parts = [prepared.part(split) for split in ("train", "development", "test")]
        return [Task(name, "narrative", prepared.codebook.mode_ids, *parts)]
    if data is None:
        raise SystemExit(f"{name}: give the folder of its files with --data (see README.md)")
    return {"india-documents": _india_documents, "india-sentences": _india_sentences, "unfair-tos": _unfair_tos}[name](
        data
    )


def _india_documents(folder: Path) -> list[Task]:
    stories = _stories(folder)
    places = _places(folder, "docs", [story.text for story in stories])
    parts = [_part([s for s, (split, _) in zip(stories, places, strict=True) if split == wanted]) for wanted in SPLITS]
    return [Task("india-documents", "narrative", ACTS, *parts)]


def _india_sentences(folder: Path) -> list[Task]:
    """The split divides sentences, not stories: every part has all stories, with the targets of its own sentences."""
    stories = _stories(folder)
    places = iter(_places(folder, "sents", [text for story in stories for text in story.sentences]))
    masks = [[next(places) for _ in story.sentences] for story in stories]
    if any(
        [labels for _, labels in mask] != story.targets.tolist() for story, mask in zip(stories, masks, strict=True)
    ):
        raise SystemExit(f"{folder}: the published split does not fit sents.csv: their labels differ (see README.md)")
    parts = []
    for wanted in SPLITS:
        own = []
        for story, mask in zip(stories, masks, strict=True):
            targets = np.array([labels if split == wanted else [np.nan] * len(ACTS) for split, labels in mask], float)
            own.append(story.with_targets(targets))
        parts.append(_part(own))
    return [Task("india-sentences", "passage", ACTS, *parts)]


def _unfair_tos(folder: Path) -> list[Task]:
    """Five folds by document. Forty contracts are too few to spare some for development."""
    names = sorted(path.name for path in (folder / "sentences/en/original").glob("*.txt"))
    contracts = [_contract(folder, name) for name in names]
    modes = tuple(sorted({tag for _, tags in contracts for own in tags for tag in own}))
    stories = [
        Story(name, sentences, np.array([[float(mode in own) for mode in modes] for own in tags]))
        for name, (sentences, tags) in zip(names, contracts, strict=True)
    ]
    tasks = []
    for fold, (rest, held) in enumerate(KFold(5, shuffle=True, random_state=0).split(stories)):
        training, test = (_part([stories[i] for i in chosen]) for chosen in (rest, held))
        tasks.append(Task(f"unfair-tos fold {fold + 1}", "passage", modes, training, None, test))
    return tasks


def _contract(folder: Path, name: str) -> tuple[list[str], list[set[str]]]:
    """Sentences and the types of unfairness of each; a tag's digit is its degree, and 2 and 3 are unfair.

    ``countrym`` says where a law applies, not that a clause is unfair.
    """
    sentences = (folder / "sentences/en/original" / name).read_text(encoding="utf-8").splitlines()
    tags = (folder / "tags/en/original" / name).read_text(encoding="utf-8").splitlines()
    tags += [""] * (len(sentences) - len(tags))
    return sentences, [{tag[:-1] for tag in line.split() if tag[-1] in "23"} for line in tags]


@dataclass(frozen=True)
class Story:
    """A text in sentences. *Shape of ``targets``:* ``(sentences, modes)``."""

    name: str
    sentences: Sequence[str]
    targets: np.ndarray

    @property
    def text(self) -> str:
        """The sentences joined by a space."""
        return " ".join(self.sentences)

    @property
    def spans(self) -> list[Span]:
        """Where each sentence lies in the text."""
        ends = np.cumsum([len(sentence) + 1 for sentence in self.sentences]).tolist()
        return [Span(end - len(s) - 1, end - 1) for s, end in zip(self.sentences, ends, strict=True)]

    def with_targets(self, targets: np.ndarray) -> Story:
        """The same text with other targets."""
        return Story(self.name, self.sentences, targets)


def _part(stories: Sequence[Story]) -> Part:
    count = stories[0].targets.shape[1]
    labels = [np.nanmax(np.vstack([story.targets, np.full((1, count), -1)]), axis=0) for story in stories]
    return Part(
        ids=[story.name for story in stories],
        groups=np.array([story.name for story in stories]),
        folds=np.full(len(stories), np.nan),
        narratives=[story.text for story in stories],
        labels=np.where(np.array(labels) < 0, np.nan, np.array(labels)),
        passages=[story.spans for story in stories],
        targets=[story.targets for story in stories],
        evidence=[{} for _ in stories],
        styles=[Style() for _ in stories],
        pairs=[None] * len(stories),
    )


def _stories(folder: Path) -> list[Story]:
    """Every story in the order of its file, with the sentences that were annotated."""
    found: dict[str, list[tuple[str, list[float]]]] = {}
    for row in _rows(folder / "sents.csv"):
        text = " ".join(row["sent_text"].split()) or "-"
        found.setdefault(row["doc_id"], []).append((text, [float(row[act]) for act in ACTS]))
    order = [row["doc_id"] for row in _rows(folder / "docs.csv")]
    return [Story(name, [t for t, _ in found[name]], np.array([labels for _, labels in found[name]])) for name in order]


def _places(folder: Path, kind: str, texts: Sequence[str]) -> list[tuple[str, list[float]]]:
    """The part and the published labels of each text.

    The published files keep the order of the corpus within each part but not its letters, so that each text is
    matched to the part whose next line is most like it. Where the same words ("he said.") come next in several parts,
    only later texts tell which was meant: the likeliest readings are followed side by side (a beam search).
    """
    lines = {split: list(_lines(folder / f"IndiaPoliceEvents_{kind}" / f"{split}.tsv")) for split in SPLITS}
    beam: dict[tuple[int, ...], tuple[float, _Reading | None]] = {(0,) * len(SPLITS): (0.0, None)}
    for text in texts:
        following: dict[tuple[int, ...], tuple[float, _Reading | None]] = {}
        for read, (cost, path) in beam.items():
            for part, split in enumerate(SPLITS):
                if read[part] == len(lines[split]):
                    continue
                after = (*read[:part], read[part] + 1, *read[part + 1 :])
                total = cost + 1 - _likeness(lines[split][read[part]][0], text)
                if after not in following or total < following[after][0]:
                    following[after] = (total, _Reading(split, read[part], path))
        beam = dict(heapq.nsmallest(READINGS, following.items(), key=lambda item: item[1][0]))
    places = []
    _, step = min(beam.values(), key=lambda reading: reading[0])
    while step is not None:
        places.append((step.split, lines[step.split][step.line][1]))
        step = step.before
    return places[::-1]


class _Reading(NamedTuple):
    """Which line of which part a text is, and how the texts before it are read."""

    split: str
    line: int
    before: _Reading | None


def _lines(path: Path) -> Iterator[tuple[str, list[float]]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            yield row[0], [float(value) for value in row[1:]]


@lru_cache(maxsize=1000)
def _likeness(published: str, text: str) -> float:
    one, other = _letters(published), _letters(text)
    return 1.0 if one == other else SequenceMatcher(None, one, other, autojunk=False).ratio()


@lru_cache(maxsize=1000)
def _letters(text: str) -> str:
    """What both files agree on: they were decoded, and then written in ASCII, in different ways."""
    plain = re.sub(r"aEUR(\(tm\)|oe|~|C/)?", "", re.sub("â€.?", "", text))
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", ascii_only.lower())[:300]


def _rows(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(10**9)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
