"""The queue as a workbook: one row a case, for people who sort, filter and hand out work in a spreadsheet.

What the cells show comes from strangers: every text is written as text, never as a formula or a link, and control
characters are written out as codes. The bytes depend on the arguments only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from xlsxwriter import Workbook
from xlsxwriter.exceptions import XlsxWriterException
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from secondlook.codebook import Codebook
from secondlook.page import PageFacts, plain
from secondlook.schema import ScoredCase

ROWS = 1_048_575
"""Cases on one sheet: what a sheet holds under its header."""

CELL_CHARACTERS = 32_767
"""What a cell holds, in UTF-16 units."""

METADATA_COLUMNS = 100
"""The first so many of the input's own columns; a sheet has room for 16,384, and people for fewer."""

_CUT = " … [cut here: the whole text is in the run's Parquet files]"
_CREATED = datetime(2000, 1, 1)
"""Every workbook says so: when it was made must not change its bytes."""


class _Column(NamedTuple):
    heading: str
    width: int
    kind: str


def write_workbook(
    path: Path,
    cases: Iterable[ScoredCase],
    codebook: Codebook,
    facts: PageFacts,
    metadata: Sequence[str],
    *,
    rows: int = ROWS,
) -> None:
    """Write ``queue.xlsx``, a row at a time: memory does not grow with the cases.

    Args:
        path: the file; temporary files go beside it, since they hold what people reported.
        cases: the cases to show, in the order to read them.
        codebook: the modes, which every case has a score for.
        facts: the run's counts and its bundle.
        metadata: the names of the input's own columns.
        rows: cases on one sheet; more go on to the next.

    Raises:
        OSError: the file cannot be written.
    """
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "use_zip64": True,
    }
    shown = metadata[:METADATA_COLUMNS]
    with _told_by_the_system(), Workbook(str(path), options) as book:
        book.set_properties({"title": "Second Look: queue", "created": _CREATED})
        formats = _formats(book)
        columns = _columns(codebook, shown)
        sheet, line = None, 0
        for item in cases:
            if sheet is None or line > rows:
                _finish(sheet, columns, line)
                sheet, line = _sheet(book, columns, formats), 1
            cells = _cells(item, codebook, shown)
            for place, (value, column) in enumerate(zip(cells, columns, strict=True)):
                _write(sheet, line, place, value, formats[column.kind])
            line += 1
        _finish(sheet or _sheet(book, columns, formats), columns, line)
        _about(book, facts, len(metadata) - len(shown), formats)


@contextmanager
def _told_by_the_system() -> Iterator[None]:
    """A full disk is an OSError, whatever the library wraps it in."""
    try:
        yield
    except XlsxWriterException as cause:
        raise next((one for one in cause.args if isinstance(one, OSError)), cause) from None


def _columns(codebook: Codebook, metadata: Sequence[str]) -> list[_Column]:
    return [
        _Column("Rank", 7, "whole"),
        _Column("Case", 18, "text"),
        _Column("Priority", 9, "score"),
        _Column("Why it stands here", 48, "text"),
        _Column("Flagged", 28, "text"),
        *(_Column(mode.title, 14, "score") for mode in codebook.modes),
        _Column("Evidence", 70, "text"),
        _Column("Copy of", 18, "text"),
        _Column("Similarity", 10, "number"),
        _Column("Drawn for the audit", 12, "text"),
        _Column("Date received", 17, "date"),
        *(_Column(name, 16, "text") for name in metadata),
        _Column("Source", 24, "text"),
    ]


def _cells(item: ScoredCase, codebook: Codebook, metadata: Sequence[str]) -> list[object]:
    flagged = [mode.title for mode in codebook.modes if item.flags[mode.id]]
    return [
        item.rank,
        item.case.case_id,
        item.priority,
        item.explanation,
        ", ".join(flagged) or "nothing flagged",
        *(item.scores[mode.id] for mode in codebook.modes),
        "\n".join(_evidence(item, codebook)),
        item.duplicate_of,
        item.similarity,
        "yes" if item.drawn_for_audit else None,
        item.date_received,
        *(item.case.metadata.get(name) for name in metadata),
        f"{item.case.file}, row {item.case.row}" if item.case.file else None,
    ]


def _evidence(item: ScoredCase, codebook: Codebook) -> Iterator[str]:
    """The sentences behind the flags, or behind the highest score where nothing is flagged, each under its mode."""
    flagged = [mode for mode in codebook.modes if item.flags[mode.id]]
    for mode in flagged or [max(codebook.modes, key=lambda mode: item.scores[mode.id])]:
        sentences = [item.case.narrative[slice(*own.span)] for own in item.evidence if own.mode == mode.id]
        if sentences:
            aside = "" if flagged else " (not flagged)"
            yield f"{mode.title}{aside}: " + " […] ".join(f"“{' '.join(text.split())}”" for text in sentences)


def _write(sheet: Worksheet, line: int, place: int, value: object, style: Format) -> None:
    if value is None or value == "":
        sheet.write_blank(line, place, None, style)
    elif isinstance(value, str):
        sheet.write_string(line, place, _cell(value), style)
    elif isinstance(value, datetime):
        # Excel's calendar begins in 1900.
        if value.year < 1900:
            sheet.write_string(line, place, value.date().isoformat(), style)
        else:
            sheet.write_datetime(line, place, value, style)
    elif isinstance(value, int | float):
        sheet.write_number(line, place, value, style)


def _cell(text: str) -> str:
    """A text without control characters, as long as a cell can be."""
    shown = plain(text)
    # The library writes such a text as markup of its own: it is given the markup of the text.
    is_markup = shown.startswith("<r>") and shown.endswith("</r>")
    written = f'<r><t xml:space="preserve">{escape(shown)}</t></r>' if is_markup else shown
    if len(written.encode("utf-16-le")) // 2 <= CELL_CHARACTERS:
        return written
    room = 2 * (CELL_CHARACTERS - len(_CUT))
    return shown.encode("utf-16-le")[:room].decode("utf-16-le", "ignore") + _CUT


def _sheet(book: Workbook, columns: Sequence[_Column], formats: Mapping[str, Format]) -> Worksheet:
    number = len(book.worksheets()) + 1
    sheet = book.add_worksheet("Queue" if number == 1 else f"Queue {number}")
    sheet.freeze_panes(1, 2)
    sheet.set_landscape()
    sheet.repeat_rows(0)
    for place, column in enumerate(columns):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, _cell(column.heading), formats["heading"])
    return sheet


def _finish(sheet: Worksheet | None, columns: Sequence[_Column], lines: int) -> None:
    """Filters over all rows, and bars in the columns of scores: on one scale, from 0 to 1."""
    if sheet is None:
        return
    last = max(1, lines - 1)
    sheet.autofilter(0, 0, last, len(columns) - 1)
    bar = {
        "type": "data_bar", "data_bar_2010": True, "bar_solid": True, "bar_color": "#B9C4EE",
        "min_type": "num", "max_type": "num", "min_value": 0, "max_value": 1,
    }  # fmt: skip
    for place, column in enumerate(columns):
        if column.kind == "score":
            sheet.conditional_format(1, place, last, place, bar)


def _about(book: Workbook, facts: PageFacts, columns_left_out: int, formats: Mapping[str, Format]) -> None:
    shown = facts.scored if facts.shown is None else facts.shown
    lines = [
        "Scores rank cases for reading; they are not findings.",
        f"{facts.scored:,} cases scored, {facts.rejected:,} rejected (see rejects.csv), {shown:,} of them here.",
        "All cases, with the 95% intervals of their scores, are in queue.parquet; whole narratives in queue.html.",
        "A score says among how many of a hundred cases like this the mode would hold.",
        "Flagged: the score is at or above the mode's operating point.",
        "Copy of: nearly the same text as that case. Read that one; queue.html shows what only the copy says.",
        "Drawn for the audit: read for having been drawn at random, to find out what the queue misses.",
        f"Bundle: {facts.bundle}, {facts.bundle_digest}",
    ]
    if facts.set_aside:
        lines.append(f"{facts.set_aside:,} cases were set aside by date: received before the day that was given.")
    if facts.undated:
        lines.append(f"{facts.undated:,} cases have no date that could be read: at a tie they stand last.")
    if columns_left_out:
        lines.append(f"{columns_left_out:,} more columns of the input are in queue.parquet only.")
    sheet = book.add_worksheet("About")
    sheet.set_column(0, 0, 110)
    for line, text in enumerate(lines):
        sheet.write_string(line, 0, _cell(text), formats["text"])


def _formats(book: Workbook) -> dict[str, Format]:
    top = {"valign": "top"}
    return {
        "heading": book.add_format(top | {"bold": True, "text_wrap": True, "bottom": 1}),
        "text": book.add_format(top | {"text_wrap": True}),
        "whole": book.add_format(top | {"num_format": "#,##0"}),
        "score": book.add_format(top | {"num_format": "0.00"}),
        "number": book.add_format(top | {"num_format": "0.00"}),
        "date": book.add_format(top | {"num_format": "yyyy-mm-dd hh:mm"}),
    }
