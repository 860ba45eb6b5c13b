"""Prodigy: JSON lines with ``spans`` (named entities, span categories) or ``accept`` (choices)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError
from secondlook.interchange.marks import ImportOptions, Mark, Marked, json_lines, positives, write_json_lines


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """Accepted examples; for one binary label a rejected example is a negative; ignored ones are left out."""
    for place, data in json_lines(path):
        answer = data.get("answer", "accept")
        binary = data.get("label") if isinstance(data.get("label"), str) else None
        if answer == "ignore" or (answer == "reject" and not binary):
            continue
        if not isinstance(data.get("text"), str):
            raise CorpusError(f"{place}: has no 'text'; export it with 'prodigy db-out'")
        labels: dict[str, bool | None] = {str(name): True for name in data.get("accept") or []}
        if binary:
            labels[binary] = answer == "accept"
        rejected = answer == "reject"
        marks = [
            Mark(str(span["label"]), int(span["start"]), int(span["end"]), span.get("text"))
            for span in data.get("spans") or []
            if "label" in span and not rejected
        ]
        meta = data.get("meta") or {}
        case_id = meta.get("case_id") or data.get("_input_hash") or place.rsplit(" ", 1)[-1]
        annotator = data.get("_annotator_id") or data.get("_session_id")
        group = meta.get("group")
        # A yes or no to one label says nothing of the others.
        yield Marked(
            place, str(case_id), data["text"], labels, binary is None, marks=marks, group=group, annotator=annotator
        )


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """JSON lines for ``prodigy db-in``, or a recipe's source to correct."""
    write_json_lines(
        path,
        (
            {
                "text": item.narrative,
                "spans": [
                    {"start": one.start, "end": one.end, "label": one.mode, "text": item.narrative[slice(*one.span)]}
                    for one in item.evidence
                ],
                "accept": positives(item),
                "answer": "accept",
                "meta": {"case_id": item.id, "group": item.group},
            }
            for item in annotations
        ),
    )
