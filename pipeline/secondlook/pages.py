"""The queue in files: ``queue.html`` with the first cases, more of them in ``pages/``, and a list of all cases.

A queue that fits on one page is one file. A longer one has as many pages as it needs, each complete in itself, so
that any of them opens at once however many cases there are. They are written as the cases come: no more than a
page's worth is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from markupsafe import Markup

from secondlook.codebook import Codebook
from secondlook.page import (
    FIRST,
    FOLDER,
    LIST,
    PageFacts,
    PagePlace,
    asset,
    environment,
    mode_marks,
    page_name,
    policy,
    render_queue,
)
from secondlook.schema import ScoredCase

LIST_LINES = 100_000
"""Lines in one list: so many a browser opens in about a second."""

CHUNK_LINES = 250
"""Lines that a browser lays out together."""

Item = TypeVar("Item")


class ListLine(NamedTuple):
    """A case in the list of all. ``page`` is the number of the page that it is on, 0 where it is on none."""

    rank: int
    case_id: str
    priority: float
    flags: Sequence[bool]
    page: int
    copy: bool
    drawn: bool


class _Line(NamedTuple):
    figures: str
    case_id: str
    href: str
    note: str


def write_pages(
    folder: Path,
    cases: Iterable[ScoredCase],
    codebook: Codebook,
    facts: PageFacts,
    starts: Sequence[int],
    page_cases: int,
) -> None:
    """Write the pages of a queue.

    Args:
        folder: where ``queue.html`` goes; the others go into a folder below it.
        cases: the cases to show, in the order to read them.
        codebook: the modes.
        facts: the run's counts.
        starts: the rank at which each page begins, from :func:`secondlook.ranking.page_starts`.
        page_cases: how many cases a page holds.

    Raises:
        OSError: a file cannot be written.
    """
    if len(starts) <= 1:
        _write(folder / FIRST, render_queue(list(cases), codebook, facts))
        return
    (folder / FOLDER).mkdir(exist_ok=True)
    original = None
    for number, own in enumerate(_batches(cases, page_cases), start=1):
        path = folder / FIRST if number == 1 else folder / FOLDER / page_name(number)
        _write(path, render_queue(own, codebook, facts, PagePlace(number, starts), original))
        original = next((item for item in reversed(own) if item.duplicate_of is None), original)


def write_list(folder: Path, lines: Iterable[ListLine], count: int, codebook: Codebook, facts: PageFacts) -> None:
    """Write the list of all cases, a line each, in files of :data:`LIST_LINES`.

    Args:
        folder: where ``queue.html`` is.
        lines: every case, in order of rank.
        count: how many there are.
        codebook: the modes.
        facts: the run's counts.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    marks = list(mode_marks(codebook).values())
    style = asset("queue.css")
    names = [list_name(number) for number in range(1, -(-count // LIST_LINES) + 1)]
    rest = iter(lines)
    for number, name in enumerate(names, start=1):
        own = (_line(line) for line in islice(rest, LIST_LINES))
        page = environment().get_template("list.html.jinja")
        parts = page.generate(
            marks=marks,
            facts=facts,
            names=names,
            number=number,
            total=len(names),
            chunks=_batches(own, CHUNK_LINES),
            style=Markup(style),  # noqa: S704 (our own file)
            policy=policy(style, ""),
        )
        with (folder / FOLDER / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(parts)


def list_name(number: int) -> str:
    """The name of a list in its folder.

    >>> list_name(1)
    'list-001.html'
    """
    return LIST.replace("001", f"{number:03d}")


def _line(line: ListLine) -> _Line:
    place = f"#case-{line.rank}"
    href = "" if not line.page else f"../{FIRST}{place}" if line.page == 1 else f"{page_name(line.page)}{place}"
    flagged = " ".join(str(number) for number, flag in enumerate(line.flags, start=1) if flag)
    note = ", drawn for the audit" if line.drawn else ", a copy" if line.copy else ""
    return _Line(f"{line.rank:,}\t{line.priority:.2f}\t{flagged or '–'}\t", line.case_id, href, note)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
