"""Splits by group: no source case, minimal pair or near-duplicate stands on both sides.

A split is data (``labels/splits.csv``: id, group, split, fold), made once with a seed and read by
everything else. ``fold`` numbers the cross-validation folds of the train part; it is empty elsewhere.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from secondlook.config import SplitConfig
from secondlook.corpus import Annotation, Located, Problem
from secondlook.duplicates import near_duplicates
from secondlook.errors import SplitError

SPLITS = ("train", "development", "test")


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where one narrative stands."""

    id: str
    group: str
    split: str
    fold: int | None


def make_split(annotations: Sequence[Annotation], config: SplitConfig) -> list[Assignment]:
    """Divide a corpus, seeded and stratified over the combinations of labels.

    Narratives by ``test_annotators`` are the test part when any are named: a test written by other
    hands than the training part. A group that straddles both goes to test.

    Raises:
        SplitError: there are too few groups to divide.
    """
    groups = resolve_groups(annotations, config.data.near_duplicate_similarity)
    test = _test_groups(annotations, groups, config)
    rest = [i for i, group in enumerate(groups) if group not in test]
    development = _fraction(annotations, groups, rest, config.development, config.seed + 1)
    train = [i for i in rest if groups[i] not in development]
    folds = _folds(annotations, groups, train, config.folds, config.seed + 2)
    return [
        Assignment(
            annotation.id,
            group,
            "test" if group in test else "development" if group in development else "train",
            folds.get(i),
        )
        for i, (annotation, group) in enumerate(zip(annotations, groups, strict=True))
    ]


def resolve_groups(annotations: Sequence[Annotation], similarity: float) -> list[str]:
    """A group for each narrative that joins its stated group, its minimal pair and its near-duplicates."""
    return join_groups(annotations, near_duplicates([item.narrative for item in annotations], similarity))


def join_groups(annotations: Sequence[Annotation], duplicates: Iterable[tuple[int, int, float]]) -> list[str]:
    """As :func:`resolve_groups`, of near-duplicates that are known: pairs of places, and how similar they are."""
    links = [(i, j) for i, j, _ in duplicates]
    first: dict[tuple[str, str], int] = {}
    for i, item in enumerate(annotations):
        keys = [("group", item.group)] + ([("pair", item.pair.id)] if item.pair else [])
        links += [(first.setdefault(key, i), i) for key in keys]
    rows, columns = zip(*links, strict=True)
    size = len(annotations)
    graph = coo_array((np.ones(len(links)), (rows, columns)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    name: dict[int, str] = {}
    return [name.setdefault(int(c), item.group) for c, item in zip(component, annotations, strict=True)]


def straddling_duplicates(located: Sequence[Located], similarity: float = 0.5) -> list[Problem]:
    """Near-duplicate narratives that stand in different groups."""
    problems = []
    for i, j, estimate in near_duplicates([item.annotation.narrative for item in located], similarity):
        one, other = located[i], located[j]
        pairs = {item.annotation.pair.id if item.annotation.pair else None for item in (one, other)}
        if one.annotation.group != other.annotation.group and (len(pairs) > 1 or None in pairs):
            problems.append(
                Problem(
                    other.file,
                    other.line,
                    f"group '{other.annotation.group}'",
                    f"the narrative is {estimate:.0%} the same as that of '{one.annotation.id}' "
                    f"({one.file}, line {one.line}) in group '{one.annotation.group}'",
                    "give both the same group, or remove one",
                )
            )
    return problems


def check_split(annotations: Sequence[Annotation], assignments: Mapping[str, Assignment], similarity: float) -> None:
    """Refuse a split that leaks or does not cover the corpus.

    Raises:
        SplitError: a group on two sides, an unknown part, or a narrative without a place.
    """
    missing = [item.id for item in annotations if item.id not in assignments]
    if missing:
        raise SplitError(
            f"{len(missing)} narratives have no place in the split (first: '{missing[0]}'); "
            "run 'secondlook labels split' again"
        )
    folds = {assignments[item.id].fold for item in annotations if assignments[item.id].split == "train"}
    if None in folds or len(folds) == 1:
        raise SplitError(
            "calibration needs a fold for every narrative of the train part, and two folds at least; number them in "
            "the column 'fold', or run 'secondlook labels split'"
        )
    sides: dict[str, tuple[str, int | None, str]] = {}
    for item, group in zip(annotations, resolve_groups(annotations, similarity), strict=True):
        place = assignments[item.id]
        if place.split not in SPLITS:
            raise SplitError(f"'{item.id}' is in '{place.split}'; a split has the parts {', '.join(SPLITS)}")
        split, fold, first = sides.setdefault(group, (place.split, place.fold, item.id))
        if (split, fold) != (place.split, place.fold):
            raise SplitError(
                f"the split leaks: '{first}' ({_side(split, fold)}) and '{item.id}' ({_side(place.split, place.fold)}) "
                "share a source, a minimal pair or most of their text; run 'secondlook labels split' again"
            )


def place_of_group(group: str, places: Iterable[Assignment]) -> tuple[str, int | None]:
    """The part and the fold of a group that comes later: the same for the same name, and never the test part.

    As large a share goes to development as stands there; the test part stays what it was, or nobody could compare.
    """
    rest = {place.group: place for place in places if place.split != "test"}
    folds = sorted({place.fold for place in rest.values() if place.fold is not None})
    digest = hashlib.sha256(group.encode("utf-8", "backslashreplace")).digest()
    share = sum(place.split == "development" for place in rest.values()) / max(1, len(rest))
    if int.from_bytes(digest[:8], "big") < share * 2**64:
        return "development", None
    return "train", folds[int.from_bytes(digest[8:16], "big") % len(folds)] if folds else None


def write_split(path: Path, assignments: Iterable[Assignment]) -> None:
    """Write a split as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(split_bytes(assignments))


def split_bytes(assignments: Iterable[Assignment]) -> bytes:
    """A split as CSV."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "group", "split", "fold"])
    for place in assignments:
        writer.writerow([place.id, place.group, place.split, "" if place.fold is None else place.fold])
    return file.getvalue().encode()


def read_split(path: Path) -> dict[str, Assignment]:
    """Read a split, by narrative id.

    Raises:
        SplitError: the file is missing or is not a split.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            row["id"]: Assignment(row["id"], row["group"], row["split"], int(row["fold"]) if row["fold"] else None)
            for row in rows
        }
    except FileNotFoundError:
        raise SplitError(f"{path}: there is no split yet; run 'secondlook labels split'") from None
    except (KeyError, ValueError, csv.Error, UnicodeDecodeError) as cause:
        raise SplitError(f"{path}: is not a split with the columns id, group, split, fold ({cause})") from None


def split_digest(path: Path) -> str:
    """SHA-256 of the split file: it stands in every metrics file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _test_groups(annotations: Sequence[Annotation], groups: Sequence[str], config: SplitConfig) -> set[str]:
    if not config.test_annotators:
        return _fraction(annotations, groups, range(len(groups)), config.test, config.seed)
    found = {g for g, item in zip(groups, annotations, strict=True) if item.annotator in config.test_annotators}
    if not found:
        raise SplitError(f"no narrative is by test_annotators {', '.join(config.test_annotators)}")
    return found


def _fraction(
    annotations: Sequence[Annotation],
    groups: Sequence[str],
    members: Iterable[int],
    fraction: float,
    seed: int,
) -> set[str]:
    """Groups that hold about ``fraction`` of the members: one fold of as many as that makes."""
    members = list(members)
    folds = _folds(annotations, groups, members, max(2, round(1 / fraction)), seed)
    return {groups[i] for i, fold in folds.items() if fold == 0}


def _folds(
    annotations: Sequence[Annotation], groups: Sequence[str], members: Sequence[int], count: int, seed: int
) -> dict[int, int]:
    if len({groups[i] for i in members}) < count:
        raise SplitError(
            f"{count} parts need at least {count} groups, and there are {len({groups[i] for i in members})}"
        )
    strata = _strata([annotations[i] for i in members], count)
    folding = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    fold: dict[int, int] = {}
    for number, (_, held) in enumerate(folding.split(strata, strata, [groups[i] for i in members])):
        fold.update({members[k]: number for k in held})
    return fold


def _strata(annotations: Sequence[Annotation], count: int) -> np.ndarray:
    """The combination of positive labels; those too rare to spread go by their first label, or all together."""
    combined = ["+".join(sorted(mode for mode, holds in item.labels.items() if holds)) for item in annotations]
    common = Counter(combined)
    first = [value if common[value] >= count else value.split("+")[0] for value in combined]
    common = Counter(first)
    return np.array([value if common[value] >= count else "rare" for value in first])


def _side(split: str, fold: int | None) -> str:
    return split if fold is None else f"{split}, fold {fold}"
