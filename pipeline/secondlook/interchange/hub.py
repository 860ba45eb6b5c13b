"""Hugging Face datasets: a ``Dataset`` in and out, and a folder that ``load_dataset`` reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError
from secondlook.interchange.marks import ImportOptions, Mark, Marked, label_names, plain, yes_or_no

FILE = "narratives.parquet"


def to_dataset(annotations: Sequence[Annotation], codebook: Codebook) -> Any:
    """A ``Dataset`` with the columns id, text, group, a column for every mode (1, 0, None) and evidence."""
    datasets = _datasets()
    span = {"mode": datasets.Value("string"), "start": datasets.Value("int64"), "end": datasets.Value("int64")}
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "group": datasets.Value("string"),
            **{mode: datasets.Value("int8") for mode in codebook.mode_ids},
            "evidence": datasets.List(span),
        }
    )
    return datasets.Dataset.from_list([_row(item, codebook) for item in annotations], features=features)


def from_dataset(dataset: Any, codebook: Codebook, place: str = "dataset") -> Iterator[Marked]:
    """The records of a ``Dataset`` with a ``text`` and mode columns, or a column ``labels`` or ``label`` of names."""
    if "text" not in dataset.column_names:
        raise CorpusError(f"{place}: has no column 'text'; it has {', '.join(dataset.column_names)}")
    known = label_names(codebook)
    columns = {name: known[plain(name)] for name in dataset.column_names if plain(name) in known}
    if not columns and not {"labels", "label", "evidence"} & set(dataset.column_names):
        raise CorpusError(
            f"{place}: has neither columns named after modes ({', '.join(codebook.mode_ids)}) nor a column 'labels', "
            f"'label' or 'evidence'; it has {', '.join(dataset.column_names)}"
        )
    listed = "labels" if "labels" in dataset.column_names else "label"
    names = _class_names(dataset.features.get(listed))
    for number, row in enumerate(dataset):
        labels = {mode: _yes_or_no(row[name], f"{place}, row {number}", mode) for name, mode in columns.items()}
        labels |= {_label(one, names): True for one in _several(row.get(listed))}
        marks = [Mark(one["mode"], one["start"], one["end"], one.get("text")) for one in row.get("evidence") or []]
        case_id = str(row.get("id") or number)
        group = row.get("group")
        yield Marked(f"{place}, row {number}", case_id, row["text"], labels, not columns, marks=marks, group=group)


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """A folder or file that ``load_dataset`` reads, every split of it."""
    datasets = _datasets()
    kind, files = ("parquet", [path]) if path.is_file() else (None, [])
    try:
        loaded = (
            datasets.load_dataset(kind, data_files=[str(file) for file in files])
            if kind
            else datasets.load_dataset(str(path))
        )
    except Exception as cause:  # the library's own errors have no common base
        raise CorpusError(f"{path}: datasets cannot load it ({type(cause).__name__})") from None
    for split, dataset in loaded.items():
        yield from from_dataset(dataset, codebook, f"{path}, {split}")


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """A folder with one Parquet file."""
    path.mkdir(parents=True, exist_ok=True)
    to_dataset(annotations, codebook).to_parquet(str(path / FILE))


def _row(item: Annotation, codebook: Codebook) -> dict[str, Any]:
    spans = [{"mode": one.mode, "start": one.start, "end": one.end} for one in item.evidence]
    labels = {mode: None if mode not in item.labels else int(item.labels[mode]) for mode in codebook.mode_ids}
    return {"id": item.id, "text": item.narrative, "group": item.group, **labels, "evidence": spans}


def _class_names(feature: Any) -> list[str] | None:
    """The names of a ``ClassLabel``, or of a list of them."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _several(value: Any) -> list[Any]:
    """The labels of a row: a list of them, or a single one."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _yes_or_no(value: Any, place: str, mode: str) -> bool | None:
    return yes_or_no(value, place, mode) if isinstance(value, str) else None if value is None else bool(value)


def _label(one: Any, names: list[str] | None) -> str:
    return names[one] if names and isinstance(one, int) else str(one)


def _datasets() -> Any:
    # Reading a local file must ask nobody: the library would otherwise look for updates.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    try:
        import datasets
    except ImportError:
        raise CorpusError("Hugging Face datasets is not installed: pip install 'secondlook[train]'") from None
    return datasets
