"""Queue files: what people open of a run, from a ranking and whatever holds the cases.

=======================  ==========================================================================
file                     what it holds
=======================  ==========================================================================
``queue.html``           the first cases to read
``pages/``               the other pages and the list of all cases, where one page does not hold the queue
``queue.xlsx``           the same cases, a row each
=======================  ==========================================================================

Nothing here holds more than a batch of narratives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from secondlook.codebook import Codebook
from secondlook.config import ScoreConfig
from secondlook.page import PageFacts
from secondlook.pages import ListLine, write_list, write_pages
from secondlook.ranking import Ranking, Scores, explanations, page_starts, pages_of
from secondlook.schema import ScoredCase
from secondlook.workbook import write_workbook

WORKBOOK = "queue.xlsx"
BATCH = 256

Fetch = Callable[[Sequence[int]], Sequence[ScoredCase]]
"""The cases of some rows of :class:`Scores`, in the order asked for; what ranking says of them may be left out."""


def write_queue_files(
    folder: Path,
    ranking: Ranking,
    scored: Scores,
    codebook: Codebook,
    config: ScoreConfig,
    facts: PageFacts,
    metadata: Sequence[str],
    fetch: Fetch,
) -> None:
    """Write the pages, the list and the workbook of a ranked run.

    Args:
        folder: the run folder.
        ranking: what :func:`secondlook.ranking.rank` made of ``scored``.
        scored: the scores, in columns.
        codebook: the modes.
        config: what was ranked by, and how much is on a page.
        facts: the run's counts; how many are shown and how many have no date is filled in here.
        metadata: the names of the input's own columns.
        fetch: the cases of some rows.

    Raises:
        OSError: a file cannot be written.
    """
    undated = int(np.isnat(ranking.received).sum()) if config.date_column else 0
    facts = replace(facts, shown=len(ranking.reading), undated=undated)
    starts = page_starts(ranking, config.page_cases)
    shown = (ranking, scored, codebook, config, fetch)
    write_pages(folder, shown_cases(*shown), codebook, facts, starts, config.page_cases)
    if len(starts) > 1 or len(ranking.reading) < len(ranking):
        lines = _lines(ranking, scored, config.page_cases)
        write_list(folder, lines, len(ranking), codebook, facts)
    write_workbook(folder / WORKBOOK, shown_cases(*shown), codebook, facts, metadata)


def shown_cases(
    ranking: Ranking, scored: Scores, codebook: Codebook, config: ScoreConfig, fetch: Fetch
) -> Iterator[ScoredCase]:
    """The cases that page and workbook show, in the order to read them, with all that ranking says of them."""
    for start in range(0, len(ranking.reading), BATCH):
        places = ranking.reading[start : start + BATCH].tolist()
        items = fetch(ranking.rows[places].tolist())
        for place, item in zip(places, items, strict=True):
            original = int(ranking.original[place])
            copy = original != place
            yield replace(
                item,
                rank=place + 1,
                priority=float(ranking.priority[place]),
                explanation=next(explanations(ranking, scored, codebook, config, range(place, place + 1))),
                date_received=_moment(ranking.received[place]),
                duplicate_of=scored.case_ids[int(ranking.rows[original])].as_py() if copy else None,
                similarity=float(ranking.similarity[place]) if copy else None,
                drawn_for_audit=bool(ranking.drawn[place]),
            )


def _lines(ranking: Ranking, scored: Scores, page_cases: int) -> Iterator[ListLine]:
    pages, copies = pages_of(ranking, page_cases), ranking.is_copy
    for place, row in enumerate(ranking.rows.tolist()):
        yield ListLine(
            rank=place + 1,
            case_id=scored.case_ids[row].as_py(),
            priority=float(ranking.priority[place]),
            flags=scored.flags[row].tolist(),
            page=int(pages[place]),
            copy=bool(copies[place]),
            drawn=bool(ranking.drawn[place]),
        )


def _moment(received: np.datetime64) -> datetime | None:
    moment: datetime | None = received.astype("datetime64[ms]").item()
    return moment
