"""Interchange: annotations from and to the formats of other tools.

=================  ==============================================================================
format             what it is
=================  ==============================================================================
``label-studio``   JSON export of tasks: text labels (spans) and choices; UTF-16 offsets
``doccano``        JSON lines: ``text``/``data``, ``label``/``labels``/``entities``
``prodigy``        JSON lines: ``spans``, ``accept``/``answer``
``docbin``         spaCy's binary: ``doc.spans``, ``doc.ents``, ``doc.cats``
``datasets``       a folder that ``datasets.load_dataset`` reads
``table``          CSV, XLSX or Parquet: a column a label, or one column of separated labels
=================  ==============================================================================

Every offset is checked against the text it quotes, and mended where that is possible without a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError, did_you_mean
from secondlook.interchange import docbin, doccano, hub, label_studio, prodigy, table
from secondlook.interchange.marks import Imported, ImportOptions, Marked, settle

__all__ = ["FORMATS", "ImportOptions", "Imported", "export_annotations", "export_predictions", "import_annotations"]


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is read and written."""

    read: Callable[[Path, Codebook, ImportOptions], Iterable[Marked]]
    write: Callable[[Sequence[Annotation], Path, Codebook], None]


FORMATS = {
    "label-studio": Format(label_studio.read, label_studio.write),
    "doccano": Format(doccano.read, doccano.write),
    "prodigy": Format(prodigy.read, prodigy.write),
    "docbin": Format(docbin.read, docbin.write),
    "datasets": Format(hub.read, hub.write),
    "table": Format(table.read, table.write),
}


def import_annotations(path: Path, kind: str, codebook: Codebook, options: ImportOptions | None = None) -> Imported:
    """Read another tool's file.

    Raises:
        CorpusError: the file is missing or is not of that format. What is wrong with single records
            stands in the result, with the place and what was done about it.
    """
    if not path.exists():
        raise CorpusError(f"{path}: there is no such file or folder")
    chosen = options or ImportOptions()
    return settle(_format(kind).read(path, codebook, chosen), codebook, chosen, path)


def export_annotations(annotations: Sequence[Annotation], path: Path, kind: str, codebook: Codebook) -> None:
    """Write annotations as another tool reads them.

    Raises:
        CorpusError: there is no such format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _format(kind).write(annotations, path, codebook)


def export_predictions(run: Path, path: Path, kind: str, codebook: Codebook) -> int:
    """Write a run's evidence as predictions to correct; returns how many cases it has.

    Raises:
        CorpusError: the format has no predictions, or the folder is no run.
    """
    if kind != "label-studio":
        raise CorpusError(f"only label-studio takes predictions, not '{kind}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    return label_studio.write_predictions(run, path, codebook)


def _format(kind: str) -> Format:
    if kind not in FORMATS:
        raise CorpusError(f"unknown format '{kind}'{did_you_mean(kind, FORMATS)}; there are {', '.join(FORMATS)}")
    return FORMATS[kind]
