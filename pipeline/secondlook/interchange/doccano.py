"""doccano: JSON lines, sequence labelling or classification, of its old and its new exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError
from secondlook.interchange.marks import ImportOptions, Mark, Marked, json_lines, write_json_lines


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """Labels are strings (classification), lists ``[start, end, label]`` or objects with offsets."""
    for place, data in json_lines(path):
        text = data.get("text", data.get("data"))
        if not isinstance(text, str):
            raise CorpusError(f"{place}: has neither 'text' nor 'data'; export it from doccano as JSONL")
        given = [data.get(key) or [] for key in ("label", "labels", "entities", "cats")]
        labels: dict[str, bool | None] = {}
        marks: list[Mark] = []
        for one in (one for listed in given for one in ([listed] if isinstance(listed, str) else listed)):
            if isinstance(one, str):
                labels[one] = True
            else:
                marks.append(_mark(one, place))
        meta: dict[str, Any] = next((data[key] for key in ("meta", "metadata") if isinstance(data.get(key), dict)), {})
        case_id = meta.get("case_id") or data.get("case_id") or data.get("id") or place.rsplit(" ", 1)[-1]
        group, annotator = data.get("group"), data.get("username")
        yield Marked(place, str(case_id), text, labels, marks=marks, group=group, annotator=annotator)


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """JSON lines to import as sequence labelling."""
    write_json_lines(
        path,
        (
            {
                "text": item.narrative,
                "label": [[evidence.start, evidence.end, evidence.mode] for evidence in item.evidence],
                "case_id": item.id,
                "group": item.group,
                "cats": [mode for mode, holds in item.labels.items() if holds],
            }
            for item in annotations
        ),
    )


def _mark(one: Any, place: str) -> Mark:
    try:
        if isinstance(one, dict):
            return Mark(str(one["label"]), int(one["start_offset"]), int(one["end_offset"]))
        start, end, label = one
        return Mark(str(label), int(start), int(end))
    except (KeyError, TypeError, ValueError):
        raise CorpusError(
            f"{place}: a label is neither a name, [start, end, name] nor an entity with offsets"
        ) from None
