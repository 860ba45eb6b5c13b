"""Score: a batch of cases in, a run folder out, every input row accounted for.

=====================  ============================================================================
file                   what it holds
=====================  ============================================================================
``queue.parquet``      case_id, rank, priority, p_<mode> from low_<mode> to high_<mode> (95%), flag_<mode>,
                       then the metadata columns
``evidence.parquet``   case_id, mode, start, end, text, share: for every score the passages behind it
``passages.parquet``   case_id, start, end, z_<mode>: every passage's log-odds, from which each score
                       can be computed again
``cases.parquet``      case_id, file, row, narrative: what was read
``rejects.csv``        file, row, case_id, reason
``manifest.json``      counts that add up; digests of input, bundle and configuration; versions
``queue.html``         the queue to read
=====================  ============================================================================

Nothing in a run depends on when or where it was made: the same input, bundle and configuration give
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from secondlook.bundle import Bundle
from secondlook.config import ScoreConfig
from secondlook.errors import RunError
from secondlook.page import PageFacts, render_queue
from secondlook.readers import ReadOptions, read_cases
from secondlook.readers.checks import shown_id
from secondlook.schema import Case, Reject, ScoredCase
from secondlook.scorer import Outcome, Scorer
from secondlook.spreadsheet import csv_bytes
from secondlook.storage import MANIFEST, check_replaceable, file_digest, whole_folder

KIND = "secondlook-run"
FORMAT = f"{KIND}/2"
NAMES = frozenset(f"{name}.parquet" for name in ("queue", "evidence", "passages", "cases")) | {
    "rejects.csv",
    "queue.html",
    MANIFEST,
}
BATCH = 256
_VERSIONED = ("secondlook", "numpy", "scipy", "scikit-learn", "nupunkt", "tokenizers", "onnxruntime", "pyarrow")


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, what its manifest says, the queue and what was rejected."""

    folder: Path
    manifest: dict[str, Any]
    queue: list[ScoredCase]
    rejects: list[Reject]


def score(
    inputs: Sequence[Path],
    out: Path,
    bundle: Bundle,
    config: ScoreConfig,
    options: ReadOptions,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Score every case of the inputs and write a run folder.

    An earlier run of the same inputs in the same place is replaced; one of other inputs only with
    ``overwrite``.

    Raises:
        InputError: an input does not exist.
        RunError: the folder holds something else, or cannot be written; nothing half-written is left.
    """
    digests = _digest_inputs(inputs)
    _check_out(out, digests, overwrite)
    scored, rejects = _score_all(read_cases(inputs, options), Scorer(bundle, config), progress)
    queue = _rank(scored)
    manifest = _manifest(digests, bundle, config, options, queue, rejects)
    try:
        with whole_folder(out, KIND, NAMES) as folder:
            _write(folder, scored, queue, rejects, bundle, config, manifest)
    except OSError as cause:
        raise RunError(
            f"{out}: the run could not be written ({cause}); choose another folder or free some space"
        ) from None
    return Run(out, manifest, queue, rejects)


def _score_all(
    items: Iterable[Case | Reject], scorer: Scorer, progress: Progress | None
) -> tuple[list[tuple[Case, Outcome]], list[Reject]]:
    scored: list[tuple[Case, Outcome]] = []
    rejects: list[Reject] = []
    task = progress.add_task("scoring", total=None) if progress else None
    for batch in _batches(items):
        cases = []
        for item in batch:
            reason = scorer.unreadable(item.narrative) if isinstance(item, Case) else None
            if isinstance(item, Reject):
                rejects.append(item)
            elif reason:
                rejects.append(Reject(item.file, item.row, shown_id(item.case_id), reason))
            else:
                cases.append(item)
        scored += zip(cases, scorer.score([case.narrative for case in cases]), strict=True)
        if progress and task is not None:
            progress.update(task, advance=len(batch), description=f"scored {len(scored)}, rejected {len(rejects)}")
    return scored, rejects


def _batches(items: Iterable[Case | Reject]) -> Iterator[list[Case | Reject]]:
    batch: list[Case | Reject] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rank(scored: Sequence[tuple[Case, Outcome]]) -> list[ScoredCase]:
    """By falling priority, ties by case id."""
    order = sorted(scored, key=lambda pair: (-pair[1].priority, pair[0].case_id))
    return [
        ScoredCase(case, rank, outcome.priority, outcome.scores, outcome.intervals, outcome.flags, outcome.evidence)
        for rank, (case, outcome) in enumerate(order, start=1)
    ]


def _write(
    folder: Path,
    scored: Sequence[tuple[Case, Outcome]],
    queue: Sequence[ScoredCase],
    rejects: Sequence[Reject],
    bundle: Bundle,
    config: ScoreConfig,
    manifest: dict[str, Any],
) -> None:
    modes = bundle.codebook.mode_ids
    pq.write_table(_queue_table(queue, modes), folder / "queue.parquet")
    pq.write_table(_evidence_table(queue), folder / "evidence.parquet")
    pq.write_table(_passages_table(scored, modes), folder / "passages.parquet")
    pq.write_table(_cases_table(scored), folder / "cases.parquet")
    _write_rejects(folder / "rejects.csv", rejects)
    facts = PageFacts(
        bundle=bundle.provenance.name,
        bundle_digest=bundle.digest,
        scored=len(queue),
        rejected=len(rejects),
        narrative_characters=config.page_narrative_characters,
    )
    page = render_queue(queue[: config.page_cases], bundle.codebook, facts)
    (folder / "queue.html").write_text(page, encoding="utf-8", newline="\n")
    manifest["files"] = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def _queue_table(queue: Sequence[ScoredCase], modes: Sequence[str]) -> pa.Table:
    columns: dict[str, Any] = {
        "case_id": pa.array([item.case.case_id for item in queue], pa.string()),
        "rank": pa.array([item.rank for item in queue], pa.int64()),
        "priority": pa.array([item.priority for item in queue], pa.float64()),
    }
    for mode in modes:
        columns[f"p_{mode}"] = pa.array([item.scores[mode] for item in queue], pa.float64())
        columns[f"low_{mode}"] = pa.array([item.intervals[mode][0] for item in queue], pa.float64())
        columns[f"high_{mode}"] = pa.array([item.intervals[mode][1] for item in queue], pa.float64())
        columns[f"flag_{mode}"] = pa.array([item.flags[mode] for item in queue], pa.bool_())
    for name in dict.fromkeys(name for item in queue for name in item.case.metadata):
        # A metadata column must not replace one of ours, nor another.
        own = name
        while own in columns:
            own = f"meta_{own}"
        columns[own] = pa.array([item.case.metadata.get(name) for item in queue], pa.string())
    return pa.table(columns)


def _evidence_table(queue: Sequence[ScoredCase]) -> pa.Table:
    rows = [(item.case, evidence) for item in queue for evidence in item.evidence]
    return pa.table(
        {
            "case_id": pa.array([case.case_id for case, _ in rows], pa.string()),
            "mode": pa.array([evidence.mode for _, evidence in rows], pa.string()),
            "start": pa.array([evidence.span.start for _, evidence in rows], pa.int64()),
            "end": pa.array([evidence.span.end for _, evidence in rows], pa.int64()),
            "text": pa.array([case.narrative[slice(*evidence.span)] for case, evidence in rows], pa.string()),
            "share": pa.array([evidence.share for _, evidence in rows], pa.float64()),
        }
    )


def _passages_table(scored: Sequence[tuple[Case, Outcome]], modes: Sequence[str]) -> pa.Table:
    rows = [(case.case_id, span) for case, outcome in scored for span in outcome.passages]
    columns: dict[str, Any] = {
        "case_id": pa.array([case_id for case_id, _ in rows], pa.string()),
        "start": pa.array([span.start for _, span in rows], pa.int64()),
        "end": pa.array([span.end for _, span in rows], pa.int64()),
    }
    for column, mode in enumerate(modes):
        values = [value for _, outcome in scored for value in outcome.log_odds[:, column].tolist()]
        columns[f"z_{mode}"] = pa.array(values, pa.float64())
    return pa.table(columns)


def _cases_table(scored: Sequence[tuple[Case, Outcome]]) -> pa.Table:
    cases = [case for case, _ in scored]
    return pa.table(
        {
            "case_id": pa.array([case.case_id for case in cases], pa.string()),
            "file": pa.array([case.file for case in cases], pa.string()),
            "row": pa.array([case.row for case in cases], pa.int64()),
            "narrative": pa.array([case.narrative for case in cases], pa.string()),
        }
    )


def _write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    rows = [(item.file, item.row, item.case_id, item.reason) for item in rejects]
    path.write_bytes(csv_bytes(["file", "row", "case_id", "reason"], rows))


def _manifest(
    digests: dict[str, str],
    bundle: Bundle,
    config: ScoreConfig,
    options: ReadOptions,
    queue: Sequence[ScoredCase],
    rejects: Sequence[Reject],
) -> dict[str, Any]:
    rows_rejected = sum(item.row is not None for item in rejects)
    choices = config.model_dump(mode="json") | {
        "id_column": options.id_column,
        "narrative_column": options.narrative_column,
    }
    return {
        "format": FORMAT,
        "counts": {
            "rows": len(queue) + rows_rejected,
            "scored": len(queue),
            "rejected": rows_rejected,
            "files_rejected": len(rejects) - rows_rejected,
            "complete": not any(item.rest_unread for item in rejects),
            "flagged": {mode: sum(item.flags[mode] for item in queue) for mode in bundle.codebook.mode_ids},
        },
        "inputs": digests,
        "bundle": {"name": bundle.provenance.name, "digest": bundle.digest},
        "config": {
            "digest": hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest(),
            "values": choices,
        },
        "versions": {name: version(name) for name in _VERSIONED},
    }


def _digest_inputs(inputs: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of every file among the inputs; what cannot be read is rejected later, with a reason."""
    digests = {}
    for path in inputs:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
        for file in files:
            name = file.as_posix().encode("utf-8", "backslashreplace").decode()
            try:
                digests[name] = file_digest(file)
            except OSError:
                digests[name] = "unreadable"
    return digests


def _check_out(out: Path, digests: dict[str, str], overwrite: bool) -> None:
    """Refuse, before any work, a folder that must not be replaced."""
    try:
        check_replaceable(out, KIND, NAMES)
    except OSError as cause:
        raise RunError(f"{cause}: something other than a run; give --out a new folder") from None
    if not (out / MANIFEST).exists():
        return
    earlier = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("inputs")
    if earlier != digests and not overwrite:
        raise RunError(f"{out}: holds a run of other inputs; give --out a new folder, or --overwrite to replace it")
