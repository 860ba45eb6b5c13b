"""Ranking: in what order cases are read, why each stands where it does, and which are drawn for the audit.

All in columns, so that a million cases are ranked in seconds; narratives are asked for only where two may be copies.
Nothing depends on the order in which the cases came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secondlook.codebook import Codebook
from secondlook.config import AnyModePriority, ScoreConfig, SingleModePriority
from secondlook.copies import Copies, Signature, find_copies
from secondlook.dates import Dates, read_date
from secondlook.errors import ConfigError, did_you_mean
from secondlook.priority import mode_column, priorities, severity_weights
from secondlook.readers.joining import BETWEEN_VALUES
from secondlook.schema import Case, Reject

Array = NDArray[np.float64]
Places = NDArray[np.int64]

MOST_SHOWN = 100_000
"""So many cases page and workbook show where no ``top`` is given, not counting copies."""

SMALLEST_STRATUM = 2
"""Draws from a stratum, at least: from a single one nobody can tell how far its cases differ."""


LOOKED_AT = 256
"""Cases with columns, none of which is the date column, after which that is taken for misspelt."""


@dataclass(frozen=True)
class Scores:
    """What is ranked, in columns; the rows stand in any order.

    ``received`` is not-a-time where no date is known, ``signatures`` None where copies are not looked for, ``cleared``
    None without triage.
    *Shapes:* ``scores`` and ``flags`` ``(cases, modes)``, ``signatures`` ``(cases, 128)``, the others ``(cases,)``.
    """

    case_ids: pa.StringArray
    scores: Array
    flags: NDArray[np.bool_]
    received: Dates
    signatures: Signature | None = None
    cleared: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Ranking:
    """Cases in order: place 0 has rank 1. *Shape of every array but* ``reading``: ``(cases,)``.

    ``rows`` are their rows in :class:`Scores`. ``original`` is the place of the case that one copies, its own where
    it is none. ``probability`` is that with which a case is read: 1 for those that are read anyway, what the
    draw gave those that were open to it, 0 for the rest; a copy has that of its original. ``stratum`` counts from 1 for
    the band of the lowest priority and is 0 for cases that were not open to the draw; ``bands`` are the lowest and
    highest priority in each. ``reading`` are the places that page and workbook show, in the order to read them.
    """

    rows: Places
    priority: Array
    received: Dates
    original: Places
    similarity: Array
    drawn: NDArray[np.bool_]
    probability: Array
    stratum: Places
    bands: tuple[tuple[float, float], ...]
    reading: Places

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_copy(self) -> NDArray[np.bool_]:
        """Whether each case is read as another. *Shape:* ``(cases,)``."""
        copies: NDArray[np.bool_] = self.original != np.arange(len(self))
        return copies


def rank(
    scored: Scores, codebook: Codebook, config: ScoreConfig, text_of: Callable[[int], str] | None = None
) -> Ranking:
    """Rank cases: by falling priority, then the older, then by id; copies directly behind their original.

    Args:
        scored: the cases.
        codebook: the modes that they were scored for.
        config: what decides priority, copies, the cut and the audit.
        text_of: the narrative of a row; needed where ``scored`` has signatures.

    Raises:
        ConfigError: the configuration ranks by a mode that the codebook lacks.
    """
    priority = priorities(scored.scores, codebook, config.priority)
    rows = _order(priority, scored)
    copies = _copies(scored, rows, config, text_of)
    # Copies move behind their originals, which keep their order among themselves.
    behind = np.argsort(copies.original, kind="stable")
    place_of = np.empty_like(behind)
    place_of[behind] = np.arange(len(behind))
    rows, original = rows[behind], place_of[copies.original[behind]]
    order = priority[rows]
    ids = scored.case_ids.take(pa.array(rows))
    draw = _draw(ids, order, original, np.asarray(scored.flags[rows].any(axis=1)), config)
    return Ranking(
        rows=rows,
        priority=order,
        received=scored.received[rows],
        original=original,
        similarity=copies.similarity[behind],
        drawn=draw.drawn,
        probability=draw.probability,
        stratum=draw.stratum,
        bands=draw.bands,
        reading=_reading(original, draw, config.top),
    )


def received_before(case: Case, config: ScoreConfig) -> str | None:
    """Why a case is set aside for its date; None if it is to be scored. A case without a date is scored.

    Kept apart from the reading of files: it is a choice of the run, and the row is accounted for as a reject.
    """
    if config.since is None or config.date_column is None:
        return None
    moment = read_date(date_text(case.metadata.get(config.date_column), config), config.date_order)
    if moment is None or moment.date() >= config.since:
        return None
    return f"received {moment.date()}, before {config.since}: not scored; leave out --since to score it"


def date_text(value: str | None, config: ScoreConfig) -> str | None:
    """What a case's date column says of when it was received: of a case of several rows, the first that says it."""
    return value.partition(BETWEEN_VALUES)[0] if value and config.join_rows else value


def check_dated(items: Iterable[Case | Reject], column: str | None) -> Iterator[Case | Reject]:
    """The items of an input, as long as it may have the column that says when a case was received.

    A misspelt name would show only when all is scored, and nothing would have been set aside. Texts have no columns
    and say nothing for or against it.

    Raises:
        ConfigError: none of the first cases with columns has it.
    """
    names: dict[str, None] = {}
    left = 0 if column is None else LOOKED_AT
    for item in items:
        if left and isinstance(item, Case) and item.metadata:
            names |= dict.fromkeys(item.metadata)
            left = 0 if column in names else left - 1
            if not left and column not in names:
                raise not_dated(str(column), names)
        yield item
    if left and names:
        raise not_dated(str(column), names)


def not_dated(column: str, names: Iterable[str]) -> ConfigError:
    """What to raise where no case has the column that says when it was received; ``names`` are those there are."""
    known = list(names)
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return ConfigError(
        f"date_column: no case has a column '{column}'{did_you_mean(column, known)}; there are, beside id and "
        f"narrative: {shown}; name the one that says when a case was received, or leave it out (where only some files "
        "have it, give one of them first)"
    )


def explanations(
    ranking: Ranking, scored: Scores, codebook: Codebook, config: ScoreConfig, places: range | None = None
) -> Iterator[str]:
    """One sentence a case, in order of rank (or of ``places``): why it stands where it does.

    They are made one by one, since those of a million cases would take more room than all the rest.
    """
    weights = _weights(codebook, config)
    titles = [_in_sentence(mode.title) for mode in codebook.modes]
    for place in range(len(ranking)) if places is None else places:
        original, row = int(ranking.original[place]), int(ranking.rows[place])
        if original != place:
            other = scored.case_ids[int(ranking.rows[original])].as_py()
            yield f"Read as copy of {other} ({_alike(float(ranking.similarity[place]))})"
            continue
        why = _why(float(ranking.priority[place]), config)
        why += _reasons(scored.scores[row], scored.flags[row], weights, titles)
        if scored.cleared is not None and scored.cleared[row]:
            why += "; scored by the first pass alone"
        yield f"{_drawn(ranking, place)}; {why[0].lower()}{why[1:]}" if ranking.drawn[place] else why


def queue_columns(
    ranking: Ranking, scored: Scores, codebook: Codebook, config: ScoreConfig, places: range
) -> dict[str, pa.Array]:
    """What ranking adds to ``queue.parquet``, for the rows of some places: a million are written in pieces."""
    part = slice(places.start, places.stop)
    copies = ranking.is_copy[part]
    originals = scored.case_ids.take(pa.array(ranking.rows[ranking.original[part]]))
    stratum = ranking.stratum[part]
    return {
        "date_received": pa.array(ranking.received[part], pa.timestamp("ms")),
        "explanation": pa.array(explanations(ranking, scored, codebook, config, places), pa.string()),
        "duplicate_of": pc.if_else(pa.array(copies), originals, pa.scalar(None, pa.string())),
        "similarity": pa.array(ranking.similarity[part], mask=~copies),
        "drawn_for_audit": pa.array(ranking.drawn[part]),
        "audit_stratum": pa.array(stratum, mask=stratum == 0),
        "inclusion_probability": pa.array(ranking.probability[part]),
    }


def _order(priority: Array, scored: Scores) -> Places:
    """Rows by falling priority, then by date, those without one last, then by id."""
    missing = np.isnat(scored.received)
    table = pa.table(
        {
            "priority": priority,
            "missing": missing.astype(np.int8),
            "received": np.where(missing, np.datetime64(0, "ms"), scored.received),
            "case_id": scored.case_ids,
        }
    )
    keys = [("priority", "descending"), ("missing", "ascending"), ("received", "ascending"), ("case_id", "ascending")]
    rows: Places = pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)
    return rows


def _copies(scored: Scores, rows: Places, config: ScoreConfig, text_of: Callable[[int], str] | None) -> Copies:
    if scored.signatures is None or not config.group_duplicates or text_of is None:
        return Copies(np.arange(len(rows)), np.ones(len(rows)))
    return find_copies(scored.signatures, scored.flags, rows, config.duplicate_similarity, text_of)


@dataclass(frozen=True)
class _Draw:
    drawn: NDArray[np.bool_]
    probability: Array
    stratum: Places
    bands: tuple[tuple[float, float], ...]
    turn: Places  # the drawn places, in the order of the draw


def _draw(ids: pa.Array, priority: Array, original: Places, flagged: NDArray[np.bool_], config: ScoreConfig) -> _Draw:
    """Draw the audit: a simple random sample without replacement from each stratum of what nobody would read.

    The probability of every case is known, so that what the audit finds can be weighted by its inverse to
    estimate what was missed (Horvitz and Thompson 1952). Who is drawn depends on the seed and the case ids alone: of
    each stratum those with the smallest digests.
    """
    places = np.arange(len(original))
    is_original = original == places
    read = (np.cumsum(is_original) <= config.top if config.top else flagged) & is_original
    open_to = np.flatnonzero(is_original & ~read)
    probability = read.astype(np.float64)
    stratum, drawn = np.zeros(len(original), np.int64), np.zeros(len(original), np.bool_)
    bands, turn = [], []
    number = min(config.audit, len(open_to))
    strata = _strata(priority[open_to], min(config.audit_strata, max(1, number // SMALLEST_STRATUM))) if number else []
    for order, (own, size) in enumerate(zip(strata, _allocate([len(one) for one in strata], number), strict=True), 1):
        members = open_to[own]
        keys = [_key(config.audit_seed, str(ids[int(place)])) for place in members]
        chosen = sorted(zip(keys, members.tolist(), strict=True))[:size]
        stratum[members] = order
        probability[members] = size / len(members)
        drawn[[place for _, place in chosen]] = True
        bands.append((float(priority[members].min()), float(priority[members].max())))
        turn += chosen
    in_turn = np.array([place for _, place in sorted(turn)], np.int64)
    return _Draw(drawn, probability[original], stratum, tuple(bands), in_turn)


def _strata(priority: Array, number: int) -> list[Places]:
    """Bands of falling priorities, as places, the lowest band first; each holds the same part of their sum.

    Bands of equal sums (Mahalanobis 1952) are narrow where the priority is high: a case is drawn about in proportion
    to what is expected of it, which keeps the estimate's error small. Cases of one priority share a band.
    """
    total = np.cumsum(priority[::-1])  # from the lowest
    if total[-1] <= 0:
        return [np.arange(len(priority))]
    band = np.minimum((total / total[-1] * number).astype(np.int64), number - 1)[::-1]
    _, first = np.unique(-priority, return_index=True)
    same = np.repeat(band[first], np.diff([*first, len(priority)]))
    return [np.flatnonzero(same == value) for value in np.unique(same)]


def _allocate(sizes: Sequence[int], number: int) -> list[int]:
    """Equal draws from every stratum; what a small one cannot give, the others do, the lowest band last."""
    given = [0] * len(sizes)
    while number > 0:
        room = [place for place, size in enumerate(sizes) if given[place] < size]
        each, rest = divmod(number, len(room))
        for turn, place in enumerate(reversed(room)):
            more = min(each + (turn < rest), sizes[place] - given[place])
            given[place] += more
            number -= more
    return given


def _key(seed: int, case_id: str) -> bytes:
    return sha256(f"{seed}\n{case_id}".encode()).digest()


def _reading(original: Places, draw: _Draw, top: int | None) -> Places:
    """What page and workbook show: the cut with its copies, and the audit spread evenly among it.

    Whoever stops half-way has then read half of the audit, and a random half: it goes by the order of the draw.
    """
    is_original = original == np.arange(len(original))
    cut = np.cumsum(is_original) <= (top or MOST_SHOWN)
    read = np.flatnonzero(is_original & cut & ~draw.drawn)
    if top is None:  # only what is flagged will be read: the audit has to stand among that
        reached = int((draw.probability[read] == 1).sum()) if draw.drawn.any() else len(read)
    else:
        reached = len(read)
    every = (reached + 1) / (len(draw.turn) + 1)
    slots = np.r_[np.arange(len(read)) * 1.0, np.rint(np.arange(1, len(draw.turn) + 1) * every) - 0.5]
    order = np.r_[read, draw.turn][np.argsort(slots, kind="stable")]
    # A group goes where its original goes.
    place_of = np.full(len(original), len(original))
    place_of[order] = np.arange(len(order))
    members = np.flatnonzero(place_of[original] < len(original))
    reading: Places = members[np.argsort(place_of[original[members]], kind="stable")]
    return reading


def _weights(codebook: Codebook, config: ScoreConfig) -> Array:
    """What part of the priority each unit of a mode's score can be; zero where it does not count."""
    if isinstance(config.priority, SingleModePriority):
        weights: Array = np.zeros(len(codebook.modes))
        weights[mode_column(config.priority, codebook)] = 1
        return weights
    if isinstance(config.priority, AnyModePriority):
        return np.ones(len(codebook.modes))
    return severity_weights(codebook)


def _why(priority: float, config: ScoreConfig) -> str:
    if isinstance(config.priority, SingleModePriority):
        return "Ranked by one mode: "
    name = "Probability of any mode" if isinstance(config.priority, AnyModePriority) else "Expected severity"
    return f"{name} {_number(priority)}: "


def _drawn(ranking: Ranking, place: int) -> str:
    stratum = int(ranking.stratum[place])
    low, high = ranking.bands[stratum - 1]
    band = f"stratum {stratum} of {len(ranking.bands)}, priority {_number(low)} to {_number(high)}"
    return f"Drawn at random for the audit ({band}), not for its score"


def _reasons(scores: Array, flags: NDArray[np.bool_], weights: Array, titles: Sequence[str]) -> str:
    """The flagged modes and the one that weighs most, by what they add to the priority."""
    order = np.lexsort((-scores, -scores * weights)).tolist()
    named = [column for place, column in enumerate(order) if place == 0 or flags[column]]
    return ", ".join(
        f"{titles[column]} {_number(scores[column])}{' (flagged)' if flags[column] else ' (not flagged)'}"
        for column in named
    )


def _in_sentence(title: str) -> str:
    """A title within a sentence; an abbreviation keeps its capitals."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _number(value: float) -> str:
    """Two decimals that never claim certainty."""
    return "below 0.01" if value < 0.005 else "above 0.99" if value > 0.995 else f"{value:.2f}"


def _alike(similarity: float) -> str:
    return "the same wording" if similarity == 1 else f"similarity {min(similarity, 0.99):.2f}"


def page_starts(ranking: Ranking, page_cases: int) -> tuple[int, ...]:
    """The rank at which each page of :attr:`Ranking.reading` begins, by which a rank is found; at least one page.

    A case that was drawn stands among others, so that its own rank says nothing of the page.
    """
    starts, highest = [], 1
    own = ~ranking.drawn[ranking.original[ranking.reading]]
    for first in range(0, max(1, len(ranking.reading)), page_cases):
        part = slice(first, first + page_cases)
        ranks = ranking.reading[part][own[part]] + 1
        highest = int(ranks.min()) if len(ranks) else highest
        starts.append(highest)
    return tuple(starts)


def pages_of(ranking: Ranking, page_cases: int) -> Places:
    """The number of the page that each case is on, 0 where it is on none. *Shape:* ``(cases,)``."""
    pages = np.zeros(len(ranking), np.int64)
    pages[ranking.reading] = np.arange(len(ranking.reading)) // page_cases + 1
    return pages
