"""Verify: is a run what it says it is? Every score computed again, and once more without its evidence.

What is checked, in this order: the files' digests; that counts and case ids agree between files; that
every code point of a narrative lies in one passage or is white space; that the passages' log-odds
give the scores, flags, priorities, ranks and evidence that are written down; and, where it is asked
for, that the bundle gives those log-odds again.

"Without its evidence" leaves the passages listed as a mode's evidence out of the pool, which is exact
(what the other passages were scored at stays), or cuts them out of the text and encodes the rest
again, which also takes them out of their neighbours' context.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import ScoreConfig, TransformerModelConfig
from secondlook.consistency import (
    check_counts,
    check_encoding,
    check_evidence,
    check_evidence_texts,
    check_ids,
    check_passages,
    check_ranks,
    check_scores,
    gaps,
)
from secondlook.encoder.windows import NOTHING
from secondlook.errors import ConfigError, RunError, SecondLookError, did_you_mean
from secondlook.evidence import pool
from secondlook.runs import (
    RESTORE,
    Mismatch,
    StoredCase,
    StoredRun,
    read_run,
    stored_cases,
    write_csv,
)
from secondlook.schema import Span
from secondlook.scorer import Outcome, Scorer
from secondlook.storage import MANIFEST
from secondlook.tables import CASES, PASSAGES, QUEUE

WHITE_SPACE = "white space between passages: not scored"
UNSCORED = "text in no passage: never scored, which must not be"
UNREAD = "a passage in which the model finds no token (zero-width characters, say): scored as showing nothing"


@dataclass(frozen=True, slots=True)
class WithoutEvidence:
    """What a case's score for a mode would be without its evidence.

    ``evidence`` counts the passages listed, ``share`` is the part of the score that they carry together.
    ``left_out`` is the score with them left out of the pool, ``cut_out`` with them cut out of the text and the rest
    encoded again; None where no passage is left, that was not asked for, or the first pass alone scored the case.
    ``threshold`` is the operating point.
    """

    case_id: str
    rank: int
    mode: str
    score: float
    flag: bool
    threshold: float
    evidence: int
    share: float
    left_out: float | None
    cut_out: float | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stretch of a narrative that no score rests on, and why."""

    case_id: str
    span: Span
    reason: str


@dataclass
class Coverage:
    """Code points of all narratives, how many of them lie in passages, and what was skipped by reason.

    ``stretches`` are listed for the case that was asked for.
    """

    narratives: int = 0
    characters: int = 0
    passages: int = 0
    scored: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    stretches: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class Verification:
    """What was found. ``recomputed`` says whether the right bundle was there to compute scores with."""

    run: StoredRun
    problems: Sequence[Mismatch]
    coverage: Coverage
    effects: Sequence[WithoutEvidence]
    recomputed: bool


def verify(
    folder: Path,
    bundle_folder: Path | SecondLookError,
    *,
    reencode: bool = False,
    case_id: str | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check a run folder from its files to its scores.

    Args:
        folder: the run.
        bundle_folder: the bundle that it was scored with, or why none was found. Another one is a problem, as none is:
            nothing is scored then, and all else is checked.
        reencode: encode every narrative again, and once for each mode without its evidence.
        case_id: say what becomes of this case only; the checks are of all, but only this one is encoded again.

    Raises:
        RunError: the folder is no run, or has no such case.
    """
    run = read_run(folder)
    _check_case_is_there(run, case_id)
    config, problems = _config(run)
    bundle = _bundle(run, bundle_folder)
    if isinstance(bundle, Mismatch):
        problems.append(bundle)
    scorer = None
    if isinstance(bundle, Bundle):
        try:
            scorer = Scorer(bundle, config)
        except ConfigError as cause:
            problems.append(
                Mismatch(MANIFEST, f"no score was computed again, its configuration does not fit ({cause})", RESTORE)
            )
    problems += [*check_counts(run), *check_ids(run), *check_ranks(run.tables.get(QUEUE))]
    judge = _Judge(scorer, reencode, case_id)
    task = progress.add_task("verifying", total=run.manifest.counts.scored) if progress else None
    for stored in stored_cases(run):
        problems += judge.look_at(stored)
        if progress and task is not None:
            progress.advance(task)
    return Verification(run, [*run.problems, *problems], judge.coverage, judge.effects, scorer is not None)


def write_effects(path: Path, effects: Sequence[WithoutEvidence]) -> None:
    """Write what the scores would be without their evidence as CSV, a row for a case and mode.

    Raises:
        RunError: the file would lie in a run, or cannot be written.
    """
    columns = ["case_id", "rank", "mode", "score", "flag", "operating_point", "evidence", "share"]
    rows = [
        (e.case_id, e.rank, e.mode, e.score, e.flag, e.threshold, e.evidence, e.share, e.left_out, e.cut_out)
        for e in effects
    ]
    write_csv(path, [*columns, "score_with_evidence_left_out", "score_with_evidence_cut_out"], rows)


class _Judge:
    """Looks at one case after the other, and keeps what it saw."""

    def __init__(self, scorer: Scorer | None, reencode: bool, case_id: str | None) -> None:
        self.coverage = Coverage()
        self.effects: list[WithoutEvidence] = []
        self._scorer = scorer
        self._reencode = reencode
        self._only = case_id

    def look_at(self, stored: StoredCase) -> list[Mismatch]:
        """The problems of a case."""
        asked_for = self._only in (None, stored.case_id)
        problems = [*check_passages(stored), *check_evidence_texts(stored)]
        self._cover(stored)
        if not np.isfinite(stored.log_odds).all():
            return [*problems, Mismatch(PASSAGES, "has log-odds that are no numbers", RESTORE, stored.case_id)]
        if self._scorer is None or not stored.spans:
            return problems
        with np.errstate(all="ignore"):  # log-odds that somebody made up may be of any size
            outcome = self._scorer.outcome(stored.spans, stored.log_odds)
            cut: dict[str, float] = {}
            if self._reencode and asked_for and stored.narrative is not None and not problems:
                again, cut = _encode(stored, stored.narrative, self._scorer)
                problems += check_encoding(stored, again.log_odds)
                if stored.cleared is not None and stored.cleared != again.cleared:
                    what = (
                        "is cleared by the first pass now" if again.cleared else "is not cleared by the first pass now"
                    )
                    problems.append(Mismatch(CASES, what, RESTORE, stored.case_id))
            problems += [*check_scores(stored, outcome, self._scorer.bundle), *check_evidence(stored, outcome)]
            if asked_for:
                self.effects += _effects(stored, self._scorer.bundle, cut)
        return problems

    def _cover(self, stored: StoredCase) -> None:
        if stored.narrative is None or not stored.passages_known:
            return
        seen = self.coverage
        between = [
            Skipped(stored.case_id, gap, WHITE_SPACE if stored.narrative[slice(*gap)].isspace() else UNSCORED)
            for gap in gaps(len(stored.narrative), stored.spans)
        ]
        seen.narratives += 1
        seen.characters += len(stored.narrative)
        seen.passages += len(stored.spans)
        seen.scored += len(stored.narrative) - sum(gap.span.end - gap.span.start for gap in between)
        skipped = between + self._unread(stored)
        for stretch in skipped:
            seen.skipped[stretch.reason] += stretch.span.end - stretch.span.start
        if self._only == stored.case_id:
            seen.stretches += skipped

    def _unread(self, stored: StoredCase) -> list[Skipped]:
        """Passages that the encoder was given and found no token in."""
        if self._scorer is None or not isinstance(self._scorer.bundle.model.config, TransformerModelConfig):
            return []
        empty = (stored.log_odds == NOTHING).all(axis=1)
        return [Skipped(stored.case_id, stored.spans[row], UNREAD) for row in np.flatnonzero(empty)]


def cut_out(narrative: str, passages: Sequence[Span], evidence: Sequence[Span]) -> tuple[str, list[Span]]:
    """A narrative without some of its passages, and where the others lie in it.

    >>> cut_out("One. Two. Three.", [Span(0, 4), Span(5, 9), Span(10, 16)], [Span(5, 9)])
    ('One.  Three.', [Span(start=0, end=4), Span(start=6, end=12)])
    """
    pieces, kept, position, removed = [], [], 0, 0
    for span in passages:
        if span in evidence:
            pieces.append(narrative[position : span.start])
            position = span.end
            removed += span.end - span.start
        else:
            kept.append(Span(span.start - removed, span.end - removed))
    return "".join([*pieces, narrative[position:]]), kept


def _check_case_is_there(run: StoredRun, case_id: str | None) -> None:
    known = {name for table in (QUEUE, CASES) if table in run.tables for name in run.tables[table]["case_id"]}
    if case_id is not None and case_id not in known:
        raise RunError(f"{run.folder}: has no case '{case_id}'{did_you_mean(case_id, known)}; {QUEUE} lists them")


def _config(run: StoredRun) -> tuple[ScoreConfig, list[Mismatch]]:
    """The choices that the run was made with, or the defaults where they cannot be known."""
    stored = run.manifest.config
    problems = []
    if hashlib.sha256(json.dumps(stored.values, sort_keys=True).encode()).hexdigest() != stored.digest:
        problems.append(Mismatch(MANIFEST, "its configuration is not the one of its digest", RESTORE))
    values = {name: stored.values[name] for name in ScoreConfig.model_fields if name in stored.values}
    try:
        return ScoreConfig.model_validate(values), problems
    except ValueError:
        problems.append(Mismatch(MANIFEST, "its configuration has values that do not fit", RESTORE))
        return ScoreConfig(), problems


def _bundle(run: StoredRun, folder: Path | SecondLookError) -> Bundle | Mismatch:
    """The bundle of the run, or why the one that is given is not it."""
    wanted = run.manifest.bundle
    remedy = f"give --bundle the folder of '{wanted.name}' with the digest {wanted.digest}"
    try:
        if isinstance(folder, SecondLookError):
            raise folder
        bundle = load_bundle(folder)
    except SecondLookError as cause:
        return Mismatch(MANIFEST, f"no score was computed again, the bundle cannot be loaded ({cause})", remedy)
    if bundle.digest != wanted.digest:
        what = f"no score was computed again, {folder} is another bundle ('{bundle.provenance.name}', {bundle.digest})"
        return Mismatch(MANIFEST, what, remedy)
    if bundle.codebook.mode_ids != run.modes:
        what = f"counts flags of {', '.join(run.modes)}, and its bundle knows {', '.join(bundle.codebook.mode_ids)}"
        return Mismatch(MANIFEST, what, RESTORE)
    return bundle


def _spans_of(stored: StoredCase, mode: str) -> list[Span]:
    return [span for own, span, _, _ in stored.evidence or [] if own == mode]


def _encode(stored: StoredCase, narrative: str, scorer: Scorer) -> tuple[Outcome, dict[str, float]]:
    """The whole narrative scored again, and the score of each mode with its evidence cut out of the text.

    What is left of a text that was encoded is encoded, whatever the first pass would say of that.
    """
    whole = scorer.score([narrative], [stored.spans])[0]
    if whole.cleared:
        return whole, {}
    cuts = {mode: cut_out(narrative, stored.spans, _spans_of(stored, mode)) for mode in scorer.bundle.codebook.mode_ids}
    left = {mode: cut for mode, cut in cuts.items() if cut[1]}
    encoding = Scorer(scorer.bundle, scorer.config.model_copy(update={"triage": False}))
    others = encoding.score([text for text, _ in left.values()], [spans for _, spans in left.values()])
    return whole, {mode: other.scores[mode] for mode, other in zip(left, others, strict=True)}


def _effects(stored: StoredCase, bundle: Bundle, cut: Mapping[str, float]) -> Iterator[WithoutEvidence]:
    """What each score would be without its evidence; nothing where that is not known."""
    if stored.row is None or stored.evidence is None:
        return
    for column, (mode, settings) in enumerate(bundle.modes.items()):
        own = _spans_of(stored, mode)
        rest = stored.log_odds[[span not in own for span in stored.spans], column : column + 1]
        left = float(settings.calibration.probability(pool(rest, bundle.pooling))[0]) if len(rest) else None
        yield WithoutEvidence(
            case_id=stored.case_id,
            rank=int(stored.row["rank"]),
            mode=mode,
            score=float(stored.row[f"p_{mode}"]),
            flag=bool(stored.row[f"flag_{mode}"]),
            threshold=settings.operating_point.threshold,
            evidence=len(own),
            share=sum(share for name, _, _, share in stored.evidence if name == mode),
            left_out=left,
            cut_out=cut.get(mode),
        )
