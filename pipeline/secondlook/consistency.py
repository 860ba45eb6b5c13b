"""Consistency: whether the files of a run fit each other, and the bundle that they name.

Every check yields problems and never raises, whatever the files hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from secondlook.bundle import Bundle
from secondlook.runs import RESTORE, TOLERANCE, Array, Mismatch, StoredCase, StoredRun
from secondlook.schema import Span
from secondlook.scorer import Outcome
from secondlook.storage import MANIFEST
from secondlook.tables import CASES, CLEARED, EVIDENCE, PASSAGES, QUEUE, REJECTS, ROWS_JOINED

ENCODED_TOLERANCE = 0.02
"""How far a passage encoded again may lie, as a probability: processors differ in how they multiply int8."""


def check_counts(run: StoredRun) -> Iterator[Mismatch]:
    """The manifest's counts add up, and are those of the files."""
    counts = run.manifest.counts
    if counts.rows != counts.scored + counts.joined + counts.rejected + counts.set_aside:
        parts = f"{counts.scored} scored, {counts.joined} joined, {counts.rejected} rejected"
        what = f"{counts.rows} rows are not {parts} and {counts.set_aside} set aside"
        yield Mismatch(MANIFEST, what, RESTORE)
    for name in (QUEUE, CASES):
        if name in run.tables and len(run.tables[name]) != counts.scored:
            what = f"has {len(run.tables[name])} rows, and {MANIFEST} counts {counts.scored} scored"
            yield Mismatch(name, what, RESTORE)
    if run.rejects is not None:
        set_aside = sum(item.set_aside for item in run.rejects)
        files = sum(item.row is None for item in run.rejects)
        yield from _differing(
            REJECTS,
            ("rejected rows", len(run.rejects) - files - set_aside, counts.rejected),
            ("rejected files", files, counts.files_rejected),
            ("rows set aside", set_aside, counts.set_aside),
        )
        if CASES in run.tables:
            items = len(run.rejects) + len(run.tables[CASES])
            rows = sum(item.rows for item in run.rejects) + _rows_of_cases(run.tables[CASES])
            yield from _differing(f"{CASES} with {REJECTS}", ("joined rows", rows - items, counts.joined))
    if CASES in run.tables and CLEARED in run.tables[CASES]:
        yield from _differing(CASES, ("cleared cases", int(run.tables[CASES][CLEARED].sum()), counts.cleared))
    if QUEUE in run.tables:
        queue, dated = run.tables[QUEUE], run.manifest.config.values.get("date_column")
        yield from _differing(
            QUEUE,
            *((f"flags of {mode}", int(queue[f"flag_{mode}"].sum()), said) for mode, said in counts.flagged.items()),
            ("copies", int(queue["duplicate_of"].notna().sum()), counts.copies),
            ("cases drawn for the audit", int(queue["drawn_for_audit"].sum()), counts.drawn),
            ("cases without a date", int(queue["date_received"].isna().sum()) if dated else 0, counts.undated),
        )


def _rows_of_cases(cases: pd.DataFrame) -> int:
    """Of how many rows the cases were made."""
    return int(cases[ROWS_JOINED].sum()) if ROWS_JOINED in cases else len(cases)


def _differing(name: str, *counted: tuple[str, int, int]) -> Iterator[Mismatch]:
    """Counts of a file that are not those of the manifest: of what, found, said."""
    for what, found, said in counted:
        if found != said:
            yield Mismatch(name, f"has {found} {what}, and {MANIFEST} counts {said}", RESTORE)


def check_ids(run: StoredRun) -> Iterator[Mismatch]:
    """The same cases in every table, and each of them once where a row is a case."""
    ids = {name: Counter(table["case_id"].tolist()) for name, table in run.tables.items()}
    for name in (QUEUE, CASES):
        for case_id, times in ids.get(name, Counter()).items():
            if times > 1:
                yield Mismatch(name, f"has {times} rows of one case", RESTORE, case_id)
    everywhere = dict.fromkeys(case_id for counted in ids.values() for case_id in counted)
    for name, counted in ids.items():
        for case_id in everywhere:
            if case_id not in counted:
                others = ", ".join(other for other in ids if case_id in ids[other])
                yield Mismatch(name, f"has no row of a case that {others} has", RESTORE, case_id)


def check_ranks(queue: pd.DataFrame | None) -> Iterator[Mismatch]:
    """Ranks run from 1: by falling priority, then the older case, then by id; copies directly behind their original."""
    if queue is None:
        return
    last: tuple[Any, ...] | None = None  # the original above
    names = ("case_id", "rank", "priority", "date_received", "duplicate_of")
    rows = zip(*(queue[name].tolist() for name in names), strict=True)
    for place, (case_id, rank, priority, received, copy_of) in enumerate(rows, start=1):
        if rank != place:
            yield Mismatch(QUEUE, f"has rank {rank} and stands in place {place}", RESTORE, case_id)
        undated = pd.isna(received)
        key = (-priority, undated, pd.Timestamp(0) if undated else received, case_id)
        if isinstance(copy_of, str):
            if last is None or last[-1] != copy_of:
                yield Mismatch(QUEUE, f"is a copy of case {copy_of} and does not stand behind it", RESTORE, case_id)
            continue
        if last is not None and not last < key:
            what = (
                f"stands behind case {last[-1]}, which has a lower priority or, at the same, a later date or, at that, "
                "a later id"
            )
            yield Mismatch(QUEUE, what, RESTORE, case_id)
        last = key


def gaps(length: int, spans: Sequence[Span]) -> list[Span]:
    """The stretches before, between and after passages."""
    found, position = [], 0
    for start, end in spans:
        if position < start:
            found.append(Span(position, min(start, length)))
        position = max(position, end)
    return [gap for gap in [*found, Span(position, length)] if gap.start < gap.end]


def check_passages(stored: StoredCase) -> Iterator[Mismatch]:
    """Every code point in exactly one passage, or white space between passages."""
    if stored.narrative is None or not stored.passages_known:
        return
    position = 0
    for start, end in stored.spans:
        place = f"the passage from {start} to {end}"
        if not 0 <= start < end <= len(stored.narrative):
            what = f"{place} does not lie in the narrative of {len(stored.narrative)} characters"
            yield Mismatch(PASSAGES, what, RESTORE, stored.case_id)
        elif start < position:
            what = f"{place} begins before {position}, where the one before it ends: scored twice"
            yield Mismatch(PASSAGES, what, RESTORE, stored.case_id)
        position = max(position, end)
    for start, end in gaps(len(stored.narrative), stored.spans):
        if not stored.narrative[start:end].isspace():
            what = f"the text from {start} to {end} lies in no passage: never scored"
            yield Mismatch(PASSAGES, what, RESTORE, stored.case_id)


def check_evidence_texts(stored: StoredCase) -> Iterator[Mismatch]:
    """The texts of the evidence stand in the narrative where it says."""
    for mode, (start, end), text, _ in stored.evidence or []:
        if stored.narrative is not None and (start < 0 or stored.narrative[start:end] != text):
            what = f"the evidence of {mode} from {start} to {end} is not what the narrative in {CASES} has there"
            yield Mismatch(EVIDENCE, what, RESTORE, stored.case_id)


def check_scores(stored: StoredCase, outcome: Outcome, bundle: Bundle) -> Iterator[Mismatch]:
    """Scores, intervals and priority are those that the passages give; flags are those of the scores."""
    if stored.row is None:
        return
    expected = {"priority": outcome.priority}
    for mode, score in outcome.scores.items():
        low, high = outcome.intervals[mode]
        expected |= {f"p_{mode}": score, f"low_{mode}": low, f"high_{mode}": high}
    for name, value in expected.items():
        if not abs(stored.row[name] - value) <= TOLERANCE:
            what = f"{name} is {stored.row[name]:.6g}, and the log-odds in {PASSAGES} give {value:.6g}"
            yield Mismatch(QUEUE, what, RESTORE, stored.case_id)
    for mode, settings in bundle.modes.items():
        reaches = stored.row[f"p_{mode}"] >= settings.operating_point.threshold
        if stored.row[f"flag_{mode}"] != reaches:
            what = (
                f"flag_{mode} is {not reaches}, and p_{mode} {'reaches' if reaches else 'misses'} the operating point"
            )
            yield Mismatch(QUEUE, what, RESTORE, stored.case_id)


def check_evidence(stored: StoredCase, outcome: Outcome) -> Iterator[Mismatch]:
    """The evidence is the passages that carry most of each score, with their shares, in order."""
    if stored.evidence is None:
        return
    expected = {(item.mode, item.span): item.share for item in outcome.evidence}
    found = [(mode, span) for mode, span, _, _ in stored.evidence]
    for mode, span, _, share in stored.evidence:
        place = f"the evidence of {mode} from {span.start} to {span.end}"
        if (mode, span) not in expected:
            yield Mismatch(EVIDENCE, f"{place} is none of the passages that carry the score", RESTORE, stored.case_id)
        elif not abs(share - expected[mode, span]) <= TOLERANCE:
            what = f"{place} has the share {share:.6g}, and {PASSAGES} gives {expected[mode, span]:.6g}"
            yield Mismatch(EVIDENCE, what, RESTORE, stored.case_id)
    for mode, span in (key for key in expected if key not in found):
        what = f"the passage from {span.start} to {span.end}, evidence of {mode}, is not listed"
        yield Mismatch(EVIDENCE, what, RESTORE, stored.case_id)
    if set(found) == expected.keys() and found != list(expected):
        yield Mismatch(EVIDENCE, "is not listed once each, by mode and falling share", RESTORE, stored.case_id)


def check_encoding(stored: StoredCase, log_odds: Array) -> Iterator[Mismatch]:
    """The bundle gives the same log-odds again."""
    apart = np.abs(expit(log_odds) - expit(stored.log_odds)).max(axis=1)
    worst = int(apart.argmax())
    if not apart[worst] <= ENCODED_TOLERANCE:
        start, end = stored.spans[worst]
        what = f"encoded again, the passage from {start} to {end} differs by {apart[worst]:.3f} as a probability"
        yield Mismatch(PASSAGES, what, "score the inputs again, and verify on the same kind of machine", stored.case_id)
