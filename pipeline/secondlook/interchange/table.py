"""Tables: CSV, XLSX, Parquet or JSONL with labels in columns, read as the batch scorer reads them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError, did_you_mean
from secondlook.interchange.marks import ImportOptions, Marked, label_names, plain
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Reject

_YES = frozenset({"1", "true", "yes", "y", "x", "t", "positive", "present", "1.0"})
_NO = frozenset({"0", "false", "no", "n", "f", "negative", "absent", "0.0"})


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """A column a label: yes, no, or empty for unknown. One column of labels: what it does not name is negative."""
    for case in cases(path, options):
        place = f"{case.file}, row {case.row}"
        labels = _listed(case, options) if options.label_column else _columns(case, codebook, place)
        group = case.metadata.get(options.group_column) if options.group_column else None
        yield Marked(place, case.case_id, case.narrative, labels, group=group)


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """A CSV file with a column for every mode: 1, 0 or empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case_id", "narrative", "group", *codebook.mode_ids])
        for item in annotations:
            labels = ["" if mode not in item.labels else int(item.labels[mode]) for mode in codebook.mode_ids]
            writer.writerow([item.id, item.narrative, item.group, *labels])


def cases(path: Path, options: ImportOptions) -> Iterator[Case]:
    """The cases of a table; CorpusError at the first row that cannot be read."""
    for item in read_cases([path], ReadOptions(options.id_column, options.narrative_column)):
        if isinstance(item, Reject):
            row = "" if item.row is None else f", row {item.row}"
            raise CorpusError(f"{item.file}{row}: {item.reason}")
        yield item


def separated(case: Case, column: str, separator: str) -> list[str]:
    """The labels in one cell; CorpusError if there is no such column."""
    if column not in case.metadata:
        hint = did_you_mean(column, case.metadata)
        raise CorpusError(f"{case.file}: there is no column '{column}'{hint}; it has {', '.join(case.metadata)}")
    return [label.strip() for label in (case.metadata[column] or "").split(separator) if label.strip()]


def _listed(case: Case, options: ImportOptions) -> dict[str, bool]:
    return dict.fromkeys(separated(case, str(options.label_column), options.separator), True)


def _columns(case: Case, codebook: Codebook, place: str) -> dict[str, bool]:
    names = label_names(codebook)
    found = {names[plain(column)]: value for column, value in case.metadata.items() if plain(column) in names}
    if not found:
        raise CorpusError(f"{case.file}: no column is named after a mode ({', '.join(codebook.mode_ids)})")
    labels = {}
    for mode, value in found.items():
        word = (value or "").strip().casefold()
        if word and word not in _YES | _NO:
            raise CorpusError(f"{place}: the column of {mode} holds neither yes nor no: write 1, 0 or nothing")
        if word:
            labels[mode] = word in _YES
    return labels
