"""Diff: what moved between two runs, and why.

Why is read off what the runs say of themselves: a case in one run only was rejected in the other, by
itself or with its file, or was not among its rows; where the narrative is another, the input changed, or
which of its rows are a case; where the narrative is the same and the scores are not, the bundle or a
library did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from secondlook.errors import RunError
from secondlook.readers.checks import shown_id
from secondlook.runs import TOLERANCE, StoredReject, StoredRun, read_run, rows_by_case, write_csv
from secondlook.spreadsheet import plain_cell
from secondlook.tables import CASES, QUEUE

_ON_WHAT_IS_READ = ("id_column", "narrative_column", "max_characters", "minimum_known_words", "since", "join_rows")
_ON_THE_NARRATIVE = ("id_column", "narrative_column", "join_rows")
_ON_WHAT_IS_SHOWN = ("evidence_per_mode", "evidence_minimum_share", "page_cases", "page_narrative_characters", "top")
_ON_THE_ORDER = ("priority", "date_column", "date_order", "group_duplicates", "duplicate_similarity")
_ON_THE_AUDIT = ("audit", "audit_strata", "audit_seed")
_ON_HOW_IT_IS_DONE = ("shard_cases",)
_MOVES_NO_SCORE = _ON_WHAT_IS_READ + _ON_WHAT_IS_SHOWN + _ON_THE_ORDER + _ON_THE_AUDIT + _ON_HOW_IT_IS_DONE
MOVES_NO_SCORE = frozenset(["inputs", "version: pyarrow", *(f"configuration: {name}" for name in _MOVES_NO_SCORE)])
"""Settings that leave the scores and flags of a narrative as they are, whatever else they change."""

Pair = tuple[float | None, float | None]


class Change(Enum):
    """What happened to a case from the first run to the second."""

    ONLY_IN_A = "only in A"
    ONLY_IN_B = "only in B"
    NARRATIVE = "other narrative"
    SCORES = "other scores"
    NONE = "same scores"


@dataclass(frozen=True, slots=True)
class Setting:
    """Something in which the manifests differ: its name and its value in each run."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class CaseDifference:
    """One case in both runs: pairs are of the first and the second run, None where it or the mode is missing.

    ``gained`` and ``lost`` are flags of modes that both runs know.
    """

    case_id: str
    change: Change
    why: str
    rank: tuple[int | None, int | None]
    priority: Pair
    scores: Mapping[str, Pair]
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def move(self) -> int | None:
        """How many places the case rose; below 0 if it fell, None if it is in one run only."""
        before, after = self.rank
        return None if before is None or after is None else before - after


@dataclass(frozen=True, slots=True)
class FlagChanges:
    """Flags of a mode in each run (None if a run does not know it), and what the cases of both gained and lost."""

    mode: str
    a: int | None
    b: int | None
    gained: int
    lost: int


@dataclass(frozen=True)
class Difference:
    """Two runs compared. ``settings`` is what their manifests differ in, ``notes`` what to beware of."""

    folders: tuple[Path, Path]
    settings: Sequence[Setting]
    flags: Sequence[FlagChanges]
    cases: Sequence[CaseDifference]
    notes: Sequence[str]

    def count(self, change: Change) -> int:
        """How many cases changed in this way."""
        return sum(case.change is change for case in self.cases)

    def largest_moves(self, number: int) -> list[CaseDifference]:
        """The cases of both runs that moved most in rank, the furthest first; those that did not move are left out."""
        moved = [case for case in self.cases if case.move]
        return sorted(moved, key=lambda case: (-abs(case.move or 0), case.rank[1] or 0))[:number]


@dataclass(frozen=True, slots=True)
class _Side:
    """One run, by case. What was rejected, and why, has its name as ``rejects.csv`` shows it.

    ``rejected_names`` has whole files by their names without the ending: the ids that their cases would have had.
    """

    run: StoredRun
    queue: Mapping[str, Mapping[str, Any]]
    narratives: Mapping[str, str]
    files: Mapping[str, str]
    rejected: Mapping[str, StoredReject]
    rejected_files: Mapping[str, str]
    rejected_names: Mapping[str, str]


def diff(a: Path, b: Path) -> Difference:
    """Compare two runs, the earlier one first.

    Raises:
        RunError: a folder is no run, or its queue or cases cannot be read.
    """
    one, other = _side(read_run(a)), _side(read_run(b))
    settings = list(_settings(one.run, other.run))
    why = _why(settings)
    ids = dict.fromkeys([*other.queue, *one.queue])
    cases = [_compare(case_id, one, other, why) for case_id in ids]
    notes = [
        f"{side.run.folder}: {problem}; 'secondlook verify' names everything that does not fit"
        for side in (one, other)
        for problem in side.run.problems
    ]
    return Difference((a, b), settings, _flags(one, other, cases), cases, notes)


def write_difference(path: Path, difference: Difference) -> None:
    """Write a difference as CSV, a row for a case.

    Raises:
        RunError: the file would lie in a run, or cannot be written.
    """
    modes = [item.mode for item in difference.flags]
    columns = ["case_id", "change", "why", "rank_a", "rank_b", "places_up", "priority_a", "priority_b"]
    columns += ["flags_gained", "flags_lost", *(f"p_{mode}_{side}" for mode in modes for side in "ab")]
    rows = [
        [case.case_id, case.change.value, case.why, *case.rank, case.move, *case.priority]
        + [" ".join(case.gained), " ".join(case.lost)]
        + [score for mode in modes for score in case.scores[mode]]
        for case in difference.cases
    ]
    write_csv(path, columns, rows)


def _side(run: StoredRun) -> _Side:
    for name in (QUEUE, CASES):
        if name not in run.tables:
            raise RunError(
                f"{run.folder / name}: cannot be compared: {_problem_of(run, name)}; 'secondlook verify' tells more"
            )
        if run.tables[name]["case_id"].duplicated().any():
            raise RunError(f"{run.folder / name}: has several rows of one case; 'secondlook verify' names them")
    cases = run.tables[CASES]
    rejected_files = {item.file: item.reason for item in run.rejects or [] if item.row is None}
    return _Side(
        run=run,
        queue=rows_by_case(run.tables[QUEUE]),
        narratives=dict(zip(cases["case_id"], cases["narrative"], strict=True)),
        files=dict(zip(cases["case_id"], cases["file"], strict=True)),
        rejected={item.case_id: item for item in run.rejects or [] if item.case_id},
        rejected_files=rejected_files,
        rejected_names={PurePosixPath(file).stem: reason for file, reason in rejected_files.items()},
    )


def _problem_of(run: StoredRun, name: str) -> str:
    """The last thing said of a file: that its digest is another is said first and explains less."""
    return [problem.what for problem in run.problems if problem.file == name][-1]


def _settings(a: StoredRun, b: StoredRun) -> Iterator[Setting]:
    """What the manifests differ in; the reasons why scores may differ come first."""
    one, other = a.manifest, b.manifest
    if one.bundle.digest != other.bundle.digest:
        yield Setting("bundle", *(f"{run.bundle.name} ({run.bundle.digest[:12]})" for run in (one, other)))
    for kind, before, after in (
        ("configuration", one.config.values, other.config.values),
        ("version", one.versions, other.versions),
    ):
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                yield Setting(f"{kind}: {name}", str(before.get(name, "not set")), str(after.get(name, "not set")))
    if one.inputs != other.inputs:
        yield Setting("inputs", *(_inputs(run.inputs) for run in (one, other)))


def _inputs(inputs: Mapping[str, str]) -> str:
    first = next(iter(inputs), "nothing")
    return first if len(inputs) < 2 else f"{first} and {len(inputs) - 1} more"


def _why(settings: Sequence[Setting]) -> str:
    """Why the same narrative may have other scores."""
    causes = [f"other {setting.name}" for setting in settings if setting.name not in MOVES_NO_SCORE]
    return "; ".join(causes) or "not explained by the manifests: run 'secondlook verify' on both"


def _compare(case_id: str, one: _Side, other: _Side, why: str) -> CaseDifference:
    a, b = one.queue.get(case_id), other.queue.get(case_id)
    modes = dict.fromkeys([*one.run.modes, *other.run.modes])
    both = [mode for mode in modes if mode in one.run.modes and mode in other.run.modes] if a and b else []
    change, reason = _change(case_id, one, other, why)
    return CaseDifference(
        case_id=case_id,
        change=change,
        why=reason,
        rank=(int(a["rank"]) if a else None, int(b["rank"]) if b else None),
        priority=(_value(a, "priority"), _value(b, "priority")),
        scores={mode: (_value(a, f"p_{mode}"), _value(b, f"p_{mode}")) for mode in modes},
        gained=tuple(mode for mode in both if a and b and b[f"flag_{mode}"] and not a[f"flag_{mode}"]),
        lost=tuple(mode for mode in both if a and b and a[f"flag_{mode}"] and not b[f"flag_{mode}"]),
    )


def _value(row: Mapping[str, Any] | None, column: str) -> float | None:
    return float(row[column]) if row and column in row else None


def _change(case_id: str, one: _Side, other: _Side, why: str) -> tuple[Change, str]:
    """What happened to a case, and why."""
    if case_id not in other.queue:
        return Change.ONLY_IN_A, _absence(case_id, one, other, "B")
    if case_id not in one.queue:
        return Change.ONLY_IN_B, _absence(case_id, other, one, "A")
    if one.narratives.get(case_id) != other.narratives.get(case_id):
        return Change.NARRATIVE, _other_narrative(one, other)
    if not _same_scores(one, other, case_id):
        return Change.SCORES, why
    return Change.NONE, ""


def _other_narrative(one: _Side, other: _Side) -> str:
    """Why the same case has another narrative: other columns were read, other rows joined, or the input changed."""
    before, now = (side.run.manifest for side in (one, other))
    differing = [name for name in _ON_THE_NARRATIVE if before.config.values.get(name) != now.config.values.get(name)]
    if differing:
        return f"other configuration: {', '.join(differing)}"
    if before.inputs == now.inputs:
        return "not explained by the manifests: the input is the same, and was read in another way"
    return "other input: the narrative changed"


def _absence(case_id: str, there: _Side, absent: _Side, name: str) -> str:
    """Why a case is not in a run: it was rejected, by itself or with its file, or nobody gave it."""
    file = there.files.get(case_id, "")
    if reject := absent.rejected.get(plain_cell(shown_id(case_id) or "")):
        return f"{'set aside' if reject.set_aside else 'rejected'} in {name}: {reject.reason}"
    if reason := next(filter(None, map(absent.rejected_files.get, _places(file))), None):
        return f"its file was rejected in {name}: {reason}"
    if PurePosixPath(file).stem == case_id and (reason := absent.rejected_names.get(case_id)):
        return f"a file of its name was rejected in {name}: {reason}"
    return f"not among the rows of {name}"


def _places(file: str) -> Iterator[str]:
    """A file, and the workbook, archives and folders that it lies in, as ``rejects.csv`` names them."""
    ends = [len(file), *(end for end in reversed(range(len(file))) if file[end] in "/#")]
    return (plain_cell(file[:end]) for end in ends if end)


def _same_scores(one: _Side, other: _Side, case_id: str) -> bool:
    """The same modes, scores, intervals, flags and, where the runs reckon it alike, priority."""
    if one.run.modes != other.run.modes:
        return False
    columns = [f"{kind}_{mode}" for mode in one.run.modes for kind in ("p", "low", "high", "flag")]
    if len({str(side.run.manifest.config.values.get("priority")) for side in (one, other)}) == 1:
        columns.append("priority")
    a, b = one.queue[case_id], other.queue[case_id]
    return all(abs(float(a[name]) - float(b[name])) <= TOLERANCE for name in columns)


def _flags(one: _Side, other: _Side, cases: Sequence[CaseDifference]) -> list[FlagChanges]:
    return [
        FlagChanges(
            mode=mode,
            a=one.run.manifest.counts.flagged.get(mode),
            b=other.run.manifest.counts.flagged.get(mode),
            gained=sum(mode in case.gained for case in cases),
            lost=sum(mode in case.lost for case in cases),
        )
        for mode in dict.fromkeys([*one.run.modes, *other.run.modes])
    ]
