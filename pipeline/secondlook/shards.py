"""Shards: what does the model say of a stretch of the input? The part of a run that is done or not done.

A shard holds an input item a row, in input order, as a Parquet file:

===============================  ================================================================
column                           what it holds
===============================  ================================================================
``file``, ``row``                where the item was read; no row if it is a whole file
``rows``                         how many rows were joined into it, with that one
``case_id``                      as in the run
``reason``                       why it was not scored; no reason if it was
``rest_unread``, ``set_aside``   as a :class:`~secondlook.schema.Reject` has them
``narrative``, ``metadata``      of a case that was scored
``starts``, ``ends``             its passages
``log_odds``                     theirs, a passage after the other, in the codebook's order of modes
``cleared``                      whether the first pass alone gave these (see ``triage``)
``signature``                    by which its copies are found (see ``copies``), if they are looked for
===============================  ================================================================

Scores, flags and evidence are not in it: they follow from the log-odds when the run is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from secondlook.copies import Signature, signature
from secondlook.duplicates import PERMUTATIONS
from secondlook.ranking import received_before
from secondlook.readers.checks import shown_id
from secondlook.schema import Case, Reject, Span
from secondlook.scorer import Outcome, Scored, Scorer
from secondlook.text import split_passages

CHARACTERS = 4_000_000
"""A shard ends once its narratives have as many: memory must not depend on how long they are."""

_SCHEMA = pa.schema(
    {
        "file": pa.string(),
        "row": pa.int64(),
        "rows": pa.int64(),
        "case_id": pa.string(),
        "reason": pa.string(),
        "rest_unread": pa.bool_(),
        "set_aside": pa.bool_(),
        "narrative": pa.string(),
        "metadata": pa.map_(pa.string(), pa.string()),
        "starts": pa.list_(pa.int64()),
        "ends": pa.list_(pa.int64()),
        "log_odds": pa.list_(pa.float64()),
        "cleared": pa.bool_(),
        "signature": pa.binary(4 * PERMUTATIONS),
    }
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Items that follow one another in the input, as many as make a shard.

    ``digest`` is that of the items as they were read: a shard is only ever taken for the same items again.
    """

    number: int
    digest: str
    items: Sequence[Case | Reject]


@dataclass(frozen=True, slots=True)
class Checked:
    """A stretch ready to be scored: what cannot or is not to be scored is rejected.

    ``passages`` are those of its cases, and ``signatures`` theirs; None where copies are not looked for.
    """

    stretch: Stretch
    items: Sequence[Case | Reject]
    passages: Sequence[Sequence[Span]]
    signatures: Sequence[Signature | None]

    @property
    def cases(self) -> list[Case]:
        """The items that are to be scored."""
        return [item for item in self.items if isinstance(item, Case)]


def cut_stretches(items: Iterable[Case | Reject], shard_cases: int) -> Iterator[Stretch]:
    """Cut the input into stretches. Where depends on the input alone, never on time or machine."""
    waiting: list[Case | Reject] = []
    number = characters = 0
    for item in items:
        waiting.append(item)
        characters += len(item.narrative) if isinstance(item, Case) else 0
        if len(waiting) == shard_cases or characters >= CHARACTERS:
            yield Stretch(number, items_digest(waiting), waiting)
            waiting, characters, number = [], 0, number + 1
    if waiting:
        yield Stretch(number, items_digest(waiting), waiting)


def check(stretch: Stretch, scorer: Scorer) -> Checked:
    """Reject what is too old or what the model cannot judge, and cut the rest into passages."""
    items = [_check(item, scorer) if isinstance(item, Case) else item for item in stretch.items]
    texts = [item.narrative for item in items if isinstance(item, Case)]
    signatures = [signature(text) if scorer.config.group_duplicates else None for text in texts]
    return Checked(stretch, items, [split_passages(text) for text in texts], signatures)


def _check(case: Case, scorer: Scorer) -> Case | Reject:
    if too_old := received_before(case, scorer.config):
        return Reject(case.file, case.row, shown_id(case.case_id), too_old, set_aside=True, rows=case.rows)
    if unreadable := scorer.unreadable(case.narrative):
        return Reject(case.file, case.row, shown_id(case.case_id), unreadable, rows=case.rows)
    return case


def shard_table(checked: Checked, scored: Sequence[Scored]) -> pa.Table:
    """A shard of checked items and what the model says of its cases."""
    own = iter(zip(checked.passages, scored, checked.signatures, strict=True))
    rows = [_case_row(item, *next(own)) if isinstance(item, Case) else _reject_row(item) for item in checked.items]
    return pa.Table.from_pylist(rows, _SCHEMA)


def scored_rows(shard: pa.Table) -> pa.Table:
    """The rows of a shard that are cases."""
    return shard.filter(pc.is_null(shard["reason"])).combine_chunks()


def rejected_rows(shard: pa.Table) -> list[Reject]:
    """The items of a shard that were not scored."""
    columns = ("file", "row", "case_id", "reason", "rest_unread", "set_aside", "rows")
    return [Reject(**row) for row in shard.filter(pc.is_valid(shard["reason"])).select(columns).to_pylist()]


def outcomes(scored: pa.Table, scorer: Scorer) -> Iterator[Outcome]:
    """What follows from the log-odds of each of the cases of a shard."""
    modes = len(scorer.bundle.codebook.mode_ids)
    own = (scored[name] for name in ("starts", "ends", "log_odds", "cleared"))
    for starts, ends, log_odds, cleared in zip(*own, strict=True):
        spans = [Span(*pair) for pair in zip(starts.as_py(), ends.as_py(), strict=True)]
        yield scorer.outcome(spans, log_odds.values.to_numpy().reshape(-1, modes), cleared.as_py())


def cases(scored: pa.Table) -> Iterator[Case]:
    """The cases of a shard as they were read."""
    for row in scored.select(["case_id", "narrative", "metadata", "file", "row", "rows"]).to_pylist():
        yield Case(**row | {"metadata": dict(row["metadata"])})


def signatures(scored: pa.Table) -> Signature | None:
    """The signatures of the cases of a shard; None where copies are not looked for. *Shape:* ``(cases, 128)``."""
    if scored["signature"].null_count:
        return None
    together = b"".join(scored["signature"].to_pylist())
    return np.frombuffer(together, "<u4").astype(np.uint32).reshape(-1, PERMUTATIONS)


def items_digest(items: Sequence[Case | Reject]) -> str:
    """SHA-256 of everything that was read of some items."""
    together = hashlib.sha256()
    for item in items:
        together.update(repr(item).encode("utf-8", "backslashreplace") + b"\n")
    return together.hexdigest()


def _case_row(case: Case, passages: Sequence[Span], scored: Scored, own: Signature | None) -> dict[str, object]:
    starts, ends = zip(*passages, strict=True)
    return {
        "file": _text(case.file),
        "row": case.row,
        "rows": case.rows,
        "case_id": case.case_id,
        "rest_unread": False,
        "set_aside": False,
        "narrative": case.narrative,
        "metadata": [(_text(name), value) for name, value in case.metadata.items()],
        "starts": starts,
        "ends": ends,
        "log_odds": np.ascontiguousarray(scored.log_odds, dtype=np.float64).ravel(),
        "cleared": scored.cleared,
        "signature": None if own is None else own.astype("<u4").tobytes(),
    }


def _reject_row(reject: Reject) -> dict[str, object]:
    return {
        "file": _text(reject.file),
        "row": reject.row,
        "rows": reject.rows,
        "case_id": None if reject.case_id is None else _text(reject.case_id),
        "reason": _text(reject.reason),
        "rest_unread": reject.rest_unread,
        "set_aside": reject.set_aside,
    }


def _text(text: str) -> str:
    """A text that Arrow can hold: names from outside may have lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
