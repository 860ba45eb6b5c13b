"""What is scored in a bench, and what a contender is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from secondlook.corpus import read_annotations
from secondlook.encoder.session import TransformerEvidenceModel
from secondlook.encoder.windows import Window
from secondlook.errors import ConfigError
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Span
from secondlook.text import split_passages

SEED = 20261122
_MARK_EVERY = 100


@dataclass(frozen=True)
class Work:
    """Narratives, the passages and windows of each, and all windows in the order of the input."""

    narratives: Sequence[str]
    passages: Sequence[Sequence[Span]]
    cut: Sequence[Sequence[Window]]

    @classmethod
    def of(cls, narratives: Sequence[str], model: TransformerEvidenceModel) -> Self:
        """Narratives, split and cut."""
        passages = [split_passages(narrative) for narrative in narratives]
        return cls(narratives, passages, [model.cut(*one) for one in zip(narratives, passages, strict=True)])

    @property
    def windows(self) -> list[Window]:
        """All windows in the order of the input."""
        return [window for own in self.cut for window in own]

    @property
    def texts(self) -> list[str]:
        """The passages as texts of their own."""
        return [n[a:b] for n, spans in zip(self.narratives, self.passages, strict=True) for a, b in spans]

    def first(self, count: int) -> Work:
        """The first narratives only."""
        return Work(self.narratives[:count], self.passages[:count], self.cut[:count])


@dataclass(frozen=True)
class Contender:
    """Something that is timed; ``operations`` are the int8 operations that it does, where these are counted."""

    name: str
    setting: str
    run: Callable[[Work], None]
    operations: Callable[[Work], float] | None = None


@dataclass(frozen=True)
class Skipped:
    """A contender that could not take part, and what to do about it."""

    name: str
    reason: str


class Prepare(Protocol):
    """Makes a contender, choosing its batch size on some narratives, or says why there is none."""

    @property
    def name(self) -> str:
        """What is prepared."""

    def __call__(self, trial: Work) -> Contender | Skipped:
        """See above."""


@dataclass(frozen=True)
class Prepared:
    """A function as :class:`Prepare`."""

    name: str
    make: Callable[[Work], Contender | Skipped]

    def __call__(self, trial: Work) -> Contender | Skipped:
        """What the function makes."""
        return self.make(trial)


def choose_narratives(count: int, source: Path) -> list[str]:
    """Narratives with the lengths of a corpus, drawn with a fixed seed, no text twice.

    One narrative of each group comes first (the members of a minimal pair share most of their windows).
    Where there are too few, they come again behind a sentence of their own, so that no window comes twice.

    Args:
        count: how many.
        source: annotations (JSONL, or a folder of them), or anything that `secondlook score` reads.

    Raises:
        ConfigError: there are no narratives there.
    """
    found = _one_of_each_group(source)
    if not found:
        raise ConfigError(f"{source}: no narrative to measure with; give --from annotations or a file of cases")
    random.Random(SEED).shuffle(found)  # noqa: S311 (a sample, no secret)
    chosen = found[:count]
    return chosen + [distinct(found[i % len(found)], i) for i in range(len(chosen), count)]


def distinct(narrative: str, number: int) -> str:
    """A narrative with a first sentence that no other has, and its number again every hundred words.

    A window holds more than that, so that none is like a window of another narrative.
    """
    words = narrative.split(" ")
    for place in range(_MARK_EVERY, len(words), _MARK_EVERY):
        words[place] = f"({number}) {words[place]}"
    return f"Received under the reference {number:07d}. {' '.join(words)}"


def _one_of_each_group(source: Path) -> list[str]:
    if source.is_dir() or source.suffix == ".jsonl":
        located, _ = read_annotations(source)
        if located:
            return list({item.annotation.group: item.annotation.narrative for item in located}.values())
    if not source.exists():
        raise ConfigError(f"{source}: there is no such file or folder; give --from annotations or a file of cases")
    cases = read_cases([source], ReadOptions())
    return list(dict.fromkeys(case.narrative for case in cases if isinstance(case, Case)))
