"""Tables: CSV, XLSX, Parquet or JSONL with labels in columns, read as the batch scorer reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

import yaml

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError, did_you_mean
from secondlook.interchange.marks import ImportOptions, Marked, label_names, plain, slug, yes_or_no
from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Reject
from secondlook.spreadsheet import csv_bytes


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """A column a label: yes, no, or empty for unknown. One column of labels: what it does not name is negative."""
    for item in rows(path, options):
        place = f"{item.file}, row {item.row}"
        if isinstance(item, Reject):
            yield Marked(place, item.case_id or "", "", problem=item.reason)
            continue
        labels = _listed(item, options) if options.label_column else _columns(item, codebook, place)
        # Columns say yes, no or nothing; one column of labels is complete by itself.
        complete = options.label_column is not None
        yield Marked(place, item.case_id, item.narrative, labels, complete, group=_group(item, options))


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """A CSV file with a column for every mode: 1, 0 or empty. Whatever a spreadsheet would compute is quoted."""
    rows = [[item.id, item.narrative, item.group, *map(item.labels.get, codebook.mode_ids)] for item in annotations]
    path.write_bytes(csv_bytes(["case_id", "narrative", "group", *codebook.mode_ids], rows))


def rows(path: Path, options: ImportOptions) -> Iterator[Case | Reject]:
    """The rows of a table; CorpusError where the table as a whole cannot be read."""
    for item in read_cases([path], ReadOptions(options.id_column, options.narrative_column)):
        if isinstance(item, Reject) and item.row is None:
            raise CorpusError(f"{item.file}: {item.reason}")
        yield item


def separated(case: Case, column: str, separator: str) -> list[str]:
    """The labels in one cell; CorpusError if there is no such column."""
    if column not in case.metadata:
        raise _no_column(case, column)
    return [label.strip() for label in (case.metadata[column] or "").split(separator) if label.strip()]


def draft_codebook(path: Path, options: ImportOptions, out: Path) -> list[str]:
    """Write a codebook with a mode for every label of a column, the most frequent first; returns their ids.

    Raises:
        CorpusError: there is no such column, no label in it, or a codebook stands there already.
    """
    if out.exists():
        raise CorpusError(f"{out}: there is a codebook already; choose another --out")
    spellings: dict[str, Counter[str]] = {}  # of labels that differ in case and punctuation only
    for case in rows(path, options):
        if isinstance(case, Case):
            labels = {plain(label): label for label in separated(case, str(options.label_column), options.separator)}
            for same, label in labels.items():
                spellings.setdefault(same, Counter())[label] += 1
    counts = {spelling.most_common(1)[0][0]: spelling.total() for spelling in spellings.values()}
    modes: dict[str, dict[str, str]] = {}
    for label, number in sorted(counts.items(), key=lambda one: -one[1]):
        name = slug(label)
        mode_id = next(i for i in chain([name], (f"{name}_{n}" for n in count(2))) if i not in modes)
        definition = f"TO WRITE: when does '{label}' hold, and when not? ({number} narratives carry it.)"
        modes[mode_id] = {"id": mode_id, "title": label, "definition": definition, "evidence": "optional"}
    if not modes:
        raise CorpusError(f"{path}: the column '{options.label_column}' holds no label")
    out.parent.mkdir(parents=True, exist_ok=True)
    book = {"name": path.stem, "version": "0.1", "modes": list(modes.values())}
    out.write_text(yaml.safe_dump(book, allow_unicode=True, sort_keys=False, width=100), encoding="utf-8")
    return list(modes)


def _group(case: Case, options: ImportOptions) -> str | None:
    if options.group_column and options.group_column not in case.metadata:
        raise _no_column(case, options.group_column)
    return case.metadata.get(options.group_column or "group")


def _no_column(case: Case, column: str) -> CorpusError:
    hint = did_you_mean(column, case.metadata)
    return CorpusError(f"{case.file}: there is no column '{column}'{hint}; it has {', '.join(case.metadata)}")


def _listed(case: Case, options: ImportOptions) -> dict[str, bool | None]:
    return dict.fromkeys(separated(case, str(options.label_column), options.separator), True)


def _columns(case: Case, codebook: Codebook, place: str) -> dict[str, bool | None]:
    names = label_names(codebook)
    found = {names[plain(column)]: value for column, value in case.metadata.items() if plain(column) in names}
    if not found:
        raise CorpusError(f"{case.file}: no column is named after a mode ({', '.join(codebook.mode_ids)})")
    labels: dict[str, bool | None] = {}
    for mode, value in found.items():
        holds = yes_or_no(value or "", place, mode)
        if holds is not None:
            labels[mode] = holds
    return labels
