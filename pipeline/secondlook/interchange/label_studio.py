"""Label Studio: a JSON list of tasks. Offsets count UTF-16 units, as its editor in the browser does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError
from secondlook.interchange.marks import ImportOptions, Mark, Marked, positives, read_text, to_utf16
from secondlook.schema import Span

_RUN_FILES = ("cases", "queue", "evidence")
_NO_TEXTS = ("id", "case_id", "group")
TEXT, SPANS, CHOICES = "text", "label", "choice"
"""Names of the text and of the two controls in the labelling configuration that fits what is written."""


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """The first annotation of every task that was not skipped; predictions are a model's, and are no labels."""
    try:
        tasks = json.loads(read_text(path))
    except (ValueError, RecursionError) as cause:
        raise CorpusError(f"{path}: is not JSON ({str(cause)[:80]}); export it from Label Studio as JSON") from None
    if not isinstance(tasks, list):
        raise CorpusError(f"{path}: is not a list of tasks; export it from Label Studio as JSON")
    for number, task in enumerate(tasks):
        place = f"{path}, task {task.get('id', number) if isinstance(task, dict) else number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise CorpusError(f"{place}: has no data; export the project as JSON, not JSON_MIN")
        done = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
        if done:
            yield _marked(task, done[0], place, options)


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """Tasks to import into Label Studio; the labelling configuration stands beside the file as ``.xml``."""
    path.write_text(json.dumps([_task(item) for item in annotations], ensure_ascii=False, indent=1), encoding="utf-8")
    path.with_suffix(".xml").write_text(labelling_config(codebook), encoding="utf-8")


def write_predictions(run: Path, path: Path, codebook: Codebook) -> int:
    """Tasks with a run's evidence as predictions, so that whoever labels next corrects instead of searching.

    ``model_version`` is the bundle's name and digest, ``score`` the case's priority.
    """
    try:
        cases, queue, evidence = (pq.read_table(run / f"{name}.parquet").to_pylist() for name in _RUN_FILES)
        bundle = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["bundle"]
    except (OSError, KeyError, ValueError) as cause:
        raise CorpusError(f"{run}: is not a run of 'secondlook score' ({type(cause).__name__})") from None
    texts = {case["case_id"]: case["narrative"] for case in cases}
    flagged = {row["case_id"]: {m for m in codebook.mode_ids if row.get(f"flag_{m}")} for row in queue}
    results: dict[str, list[dict[str, Any]]] = {case_id: [] for case_id in texts}
    for row in evidence:
        case_id, span = row["case_id"], Span(row["start"], row["end"])
        if row["mode"] in flagged[case_id]:
            results[case_id].append({**_region(texts[case_id], row["mode"], span), "score": row["share"]})
    version = f"{bundle['name']} {bundle['digest'][:12]}"
    tasks = [
        {
            "data": {TEXT: texts[row["case_id"]], "id": row["case_id"]},
            "predictions": [{"model_version": version, "score": row["priority"], "result": results[row["case_id"]]}],
        }
        for row in queue
    ]
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    path.with_suffix(".xml").write_text(labelling_config(codebook), encoding="utf-8")
    return len(tasks)


def labelling_config(codebook: Codebook) -> str:
    """The labelling configuration for a codebook."""
    from xml.sax.saxutils import quoteattr

    spans = "".join(f"    <Label value={quoteattr(mode)}/>\n" for mode in codebook.mode_ids)
    choices = "".join(f"    <Choice value={quoteattr(mode)}/>\n" for mode in codebook.mode_ids)
    return (
        f'<View>\n  <Labels name="{SPANS}" toName="{TEXT}">\n{spans}  </Labels>\n'
        f'  <Text name="{TEXT}" value="${TEXT}"/>\n'
        f'  <Choices name="{CHOICES}" toName="{TEXT}" choice="multiple">\n{choices}  </Choices>\n</View>\n'
    )


def _marked(task: dict[str, Any], annotation: dict[str, Any], place: str, options: ImportOptions) -> Marked:
    data = task["data"]
    regions = [region for region in annotation.get("result") or [] if isinstance(region.get("value"), dict)]
    text = data.get(_text_field(data, regions, place, options))
    marks: list[Mark] = []
    labels: dict[str, bool | None] = {}
    for region in regions:
        value = region["value"]
        for choice in value.get("choices") or []:
            labels[str(choice)] = True
        for label in value.get("labels") or value.get("hypertextlabels") or []:
            # Hypertext regions give XPaths, and text offsets beside them.
            offsets = value.get("globalOffsets") or value
            start, end = (_number(offsets.get(name)) for name in ("start", "end"))
            marks.append(Mark(str(label), start, end, value.get("text"), utf16=True))
    case_id = str(data.get("id") or data.get("case_id") or task.get("id") or place.rsplit(" ", 1)[-1])
    who = annotation.get("completed_by")
    return Marked(place, case_id, text, labels, marks=marks, group=data.get("group"), annotator=_name(who))


def _text_field(data: dict[str, Any], regions: Sequence[dict[str, Any]], place: str, options: ImportOptions) -> str:
    """The field of a task that holds the narrative: ``to_name`` names a control, which need not be called like it."""
    texts = [name for name, value in data.items() if isinstance(value, str) and name not in _NO_TEXTS]
    wanted = [options.narrative_column, *(region.get("to_name") for region in regions), TEXT, "narrative"]
    if found := next((name for name in wanted if name is not None and name in data), None):
        return found
    if len(texts) == 1:
        return texts[0]
    raise CorpusError(f"{place}: which field is the narrative? It has {', '.join(data)}; name it: --narrative-column")


def _number(offset: Any) -> int:
    """An offset, or one that fits nowhere: an XPath, say, as old hypertext regions give it."""
    try:
        return int(offset)
    except (TypeError, ValueError):
        return -1


def _name(who: Any) -> str | None:
    if isinstance(who, dict):
        who = who.get("id")
    return None if who is None else f"label-studio-{who}"


def _task(item: Annotation) -> dict[str, Any]:
    result = [_region(item.narrative, evidence.mode, evidence.span) for evidence in item.evidence]
    chosen = positives(item)
    if chosen:
        result.append({"from_name": CHOICES, "to_name": TEXT, "type": "choices", "value": {"choices": chosen}})
    data = {TEXT: item.narrative, "id": item.id, "group": item.group}
    return {"data": data, "annotations": [{"result": result}]}


def _region(text: str, mode: str, span: Span) -> dict[str, Any]:
    start, end = to_utf16(text, span)
    value = {"start": start, "end": end, "text": text[slice(*span)], "labels": [mode]}
    return {"from_name": SPANS, "to_name": TEXT, "type": "labels", "value": value}
