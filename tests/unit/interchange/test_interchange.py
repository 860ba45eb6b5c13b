"""Each format, in and out, on files as the tools themselves write them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.bundle import load_bundle
from secondlook.codebook import Codebook, Mode, load_codebook
from secondlook.config import ScoreConfig
from secondlook.corpus import Annotation, EvidenceSpan, Source
from secondlook.errors import CorpusError
from secondlook.interchange import FORMATS, ImportOptions, export_annotations, export_predictions, import_annotations
from secondlook.interchange.hub import from_dataset, to_dataset
from secondlook.interchange.marks import Mark, place_mark, to_utf16
from secondlook.interchange.table import draft_codebook
from secondlook.readers import ReadOptions
from secondlook.schema import Span
from secondlook.score import score

BOOK = Codebook(
    name="b",
    version="1",
    modes=(
        Mode(id="told_suspect", title="Told the suspect", definition="d", evidence="optional"),
        Mode(id="nobody_went", title="Nobody went", definition="d", evidence="optional"),
    ),
)
TEXT = "😀 He rang. The clerk told him, “she came”. Nobody went. 👩‍👩‍👧 Nobody went there."
TOLD = Span(TEXT.index("The clerk"), TEXT.index(" Nobody went."))
WENT = Span(TEXT.index("Nobody went there"), len(TEXT))


def _annotation(**changes: Any) -> Annotation:
    values: dict[str, Any] = {
        "id": "n1",
        "narrative": TEXT,
        "labels": {"told_suspect": True, "nobody_went": True},
        "evidence": (
            EvidenceSpan(mode="told_suspect", start=TOLD.start, end=TOLD.end, text=TEXT[slice(*TOLD)]),
            EvidenceSpan(mode="nobody_went", start=WENT.start, end=WENT.end, text=TEXT[slice(*WENT)]),
        ),
        "group": "g1",
        "source": Source(kind="own"),
        "annotator": "imported",
    }
    return Annotation(**(values | changes))


CORPUS = [
    _annotation(),
    _annotation(
        id="n2", narrative="It rained, and the file was read.", labels=dict.fromkeys(BOOK.mode_ids, False), evidence=()
    ),
]


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_what_goes_out_comes_back(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"datasets": "folder", "table": "t.csv", "docbin": "d.spacy"}.get(kind, "t.json")
    export_annotations(CORPUS, path, kind, BOOK)
    back = import_annotations(path, kind, BOOK)
    assert back.notes == []
    assert [item.id for item in back.annotations] == ["n1", "n2"]
    for item, original in zip(back.annotations, CORPUS, strict=True):
        assert item.narrative == original.narrative
        assert item.labels == original.labels
        assert item.group == original.group
        if kind != "table":
            assert {(e.mode, e.text) for e in item.evidence} == {(e.mode, e.text) for e in original.evidence}


def _write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_label_studio_export_with_utf16_offsets(tmp_path: Path) -> None:
    """As Label Studio's JSON export writes a task: annotations with results, predictions beside them."""
    start, end = to_utf16(TEXT, TOLD)
    assert (start, end) != tuple(TOLD)
    task = {
        "id": 42,
        "data": {"text": TEXT, "ref": "x"},
        "annotations": [
            {"id": 1, "was_cancelled": True, "result": []},
            {
                "id": 2,
                "completed_by": {"id": 7, "email": "a@example.org"},
                "was_cancelled": False,
                "ground_truth": False,
                "lead_time": 12.3,
                "result": [
                    {
                        "id": "a1",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "origin": "manual",
                        "value": {
                            "start": start,
                            "end": end,
                            "text": TEXT[slice(*TOLD)],
                            "labels": ["Told the suspect"],
                        },
                    },
                    {
                        "id": "a2",
                        "from_name": "c",
                        "to_name": "text",
                        "type": "choices",
                        "value": {"choices": ["nobody_went"]},
                    },
                ],
            },
        ],
        "predictions": [
            {
                "model_version": "m1",
                "score": 0.9,
                "result": [{"value": {"start": 0, "end": 4, "labels": ["nobody_went"]}}],
            }
        ],
    }
    unlabelled = {"id": 43, "data": {"text": "Nothing yet."}, "annotations": [], "predictions": []}
    back = import_annotations(_write(tmp_path / "e.json", [task, unlabelled]), "label-studio", BOOK)
    assert len(back.annotations) == 1
    item = back.annotations[0]
    assert (item.id, item.annotator) == ("42", "label-studio-7")
    assert item.labels == {"told_suspect": True, "nobody_went": True}
    assert [(e.mode, e.span) for e in item.evidence] == [("told_suspect", TOLD)]
    assert back.notes == []


def test_label_studio_offsets_in_code_points_are_mended_by_their_text(tmp_path: Path) -> None:
    value = {"start": TOLD.start, "end": TOLD.end, "text": TEXT[slice(*TOLD)], "labels": ["told_suspect"]}
    task = {
        "id": 1,
        "data": {"text": TEXT},
        "annotations": [{"result": [{"type": "labels", "to_name": "text", "value": value}]}],
    }
    back = import_annotations(_write(tmp_path / "e.json", [task]), "label-studio", BOOK)
    assert back.annotations[0].evidence[0].span == TOLD
    assert "code points" in back.notes[0]


def test_the_labelling_configuration_fits_what_is_written(tmp_path: Path) -> None:
    export_annotations(CORPUS, tmp_path / "t.json", "label-studio", BOOK)
    root = ElementTree.parse(tmp_path / "t.xml").getroot()
    assert {label.get("value") for label in root.iter("Label")} == set(BOOK.mode_ids)
    names = {node.get("name") for node in root if node.get("name")}
    for task in json.loads((tmp_path / "t.json").read_text(encoding="utf-8")):
        for region in task["annotations"][0]["result"]:
            assert {region["from_name"], region["to_name"]} <= names


@pytest.mark.parametrize(
    "line",
    [
        {"id": 5, "text": TEXT, "label": [[TOLD.start, TOLD.end, "told_suspect"]]},
        {"id": 5, "data": TEXT, "label": [[TOLD.start, TOLD.end, "Told the suspect"]]},
        {"id": 5, "text": TEXT, "labels": [[TOLD.start, TOLD.end, "told_suspect"]], "meta": {}},
        {
            "id": 5,
            "text": TEXT,
            "relations": [],
            "entities": [{"id": 1, "label": "told_suspect", "start_offset": TOLD.start, "end_offset": TOLD.end}],
        },
    ],
)
def test_doccano_spans_of_every_version(tmp_path: Path, line: dict[str, Any]) -> None:
    back = import_annotations(_write(tmp_path / "e.jsonl", json.dumps(line) + "\n"), "doccano", BOOK)
    assert [(e.mode, e.span) for e in back.annotations[0].evidence] == [("told_suspect", TOLD)]
    assert back.annotations[0].labels == {"told_suspect": True, "nobody_went": False}


@pytest.mark.parametrize("label", [["nobody_went"], "nobody_went", ["NOBODY WENT"]])
def test_doccano_classification(tmp_path: Path, label: Any) -> None:
    back = import_annotations(_write(tmp_path / "e.jsonl", json.dumps({"text": TEXT, "label": label})), "doccano", BOOK)
    assert back.annotations[0].labels == {"told_suspect": False, "nobody_went": True}


def test_prodigy_spans_choices_and_binary_answers(tmp_path: Path) -> None:
    lines = [
        {
            "text": TEXT,
            "_input_hash": 11,
            "_task_hash": 12,
            "tokens": [],
            "_session_id": "db-ann",
            "answer": "accept",
            "spans": [
                {"start": TOLD.start, "end": TOLD.end, "token_start": 4, "token_end": 9, "label": "told_suspect"}
            ],
        },
        {
            "text": "A choice.",
            "_input_hash": 21,
            "options": [{"id": "nobody_went"}],
            "accept": ["nobody_went"],
            "answer": "accept",
        },
        {"text": "A binary no.", "_input_hash": 31, "label": "nobody_went", "answer": "reject"},
        {"text": "Passed over.", "_input_hash": 41, "answer": "ignore"},
    ]
    path = _write(tmp_path / "e.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    back = {
        item.id: item for item in import_annotations(path, "prodigy", BOOK, ImportOptions(complete=False)).annotations
    }
    assert set(back) == {"11", "21", "31"}
    assert back["11"].evidence[0].span == TOLD
    assert back["11"].annotator == "db-ann"
    assert back["21"].labels == {"nobody_went": True}
    assert back["31"].labels == {"nobody_went": False}


def test_docbin_as_spacy_writes_it(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    doc = nlp(TEXT)
    doc.ents = [doc.char_span(*TOLD, label="told_suspect", alignment_mode="expand")]
    doc.cats = {"nobody_went": 0.9}
    DocBin(docs=[doc]).to_disk(tmp_path / "d.spacy")
    item = import_annotations(tmp_path / "d.spacy", "docbin", BOOK).annotations[0]
    assert item.narrative == TEXT
    assert item.labels == {"told_suspect": True, "nobody_went": True}
    assert item.evidence[0].text == TEXT[slice(*TOLD)]
    with pytest.raises(CorpusError, match="not a spaCy DocBin"):
        import_annotations(_write(tmp_path / "bad.spacy", "no"), "docbin", BOOK)


def test_datasets_in_and_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    partial = _annotation(
        id="n3", narrative="Only one mode was judged here.", labels={"nobody_went": False}, evidence=()
    )
    dataset = to_dataset([*CORPUS, partial], BOOK)
    assert dataset[2]["told_suspect"] is None
    assert next(from_dataset(dataset, BOOK)).text == TEXT
    dataset.to_parquet(str(tmp_path / "d/train.parquet"))
    back = import_annotations(tmp_path / "d", "datasets", BOOK, ImportOptions(complete=False))
    assert back.annotations[2].labels == {"nobody_went": False}
    names = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=list(BOOK.mode_ids)))}
    )
    classed = datasets.Dataset.from_list([{"text": "x y", "labels": [1]}], features=names)
    assert next(from_dataset(classed, BOOK)).labels == {"nobody_went": True}


def test_tables_with_a_column_a_label_or_one_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["ref", "text", "Told the suspect", "nobody_went", "kinds"],
                ["1", "One.", "yes", "", "nobody went; told_suspect"],
                ["2", "Two.", "0", "x", ""],
            ]
        )
    columns = ImportOptions(complete=False, id_column="ref", narrative_column="text")
    back = import_annotations(path, "table", BOOK, columns).annotations
    assert [item.labels for item in back] == [{"told_suspect": True}, {"told_suspect": False, "nobody_went": True}]
    listed = ImportOptions(id_column="ref", narrative_column="text", label_column="kinds")
    back = import_annotations(path, "table", BOOK, listed).annotations
    assert [item.labels for item in back] == [dict.fromkeys(BOOK.mode_ids, True), dict.fromkeys(BOOK.mode_ids, False)]


def test_a_codebook_is_drafted_from_a_label_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("case_id,narrative,kind\n1,One.,Use of force\n2,Two.,Use of force|1st delay\n3,Three.,\n")
    options = ImportOptions(label_column="kind", separator="|")
    assert draft_codebook(path, options, tmp_path / "book.yaml") == ["use_of_force", "mode_1st_delay"]
    book = load_codebook(tmp_path / "book.yaml")
    back = import_annotations(path, "table", book, options).annotations
    assert [sum(item.labels.values()) for item in back] == [1, 2, 0]
    with pytest.raises(CorpusError, match="already"):
        draft_codebook(path, options, tmp_path / "book.yaml")
    with pytest.raises(CorpusError, match="did you mean 'kind'"):
        draft_codebook(path, ImportOptions(label_column="kin"), tmp_path / "other.yaml")


def test_what_does_not_fit_is_left_out_with_a_note(tmp_path: Path) -> None:
    lines = [
        {
            "text": TEXT,
            "spans": [{"start": 0, "end": 5, "label": "told_suspect", "text": "not there"}],
            "_input_hash": 1,
        },
        {"text": TEXT, "spans": [{"start": 900, "end": 950, "label": "told_suspect"}], "_input_hash": 2},
        {"text": "Fine.", "accept": ["told_suspekt"], "_input_hash": 3},
        {"text": "Twice.", "_input_hash": 3},
        {"text": "  ", "_input_hash": 4},
    ]
    path = _write(tmp_path / "e.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    back = import_annotations(path, "prodigy", BOOK)
    assert [item.id for item in back.annotations] == ["1", "2", "3"]
    assert not any(item.evidence for item in back.annotations)
    assert len(back.notes) == 5
    assert "did you mean 'told_suspect'" in back.notes[2]
    assert all("e.jsonl, line" in note for note in back.notes)


@pytest.mark.parametrize("kind", ["label-studio", "doccano", "prodigy", "table"])
@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", '{"a": 1}', "5", "a,b\n1,2\n"])
def test_another_kind_of_file_is_refused_in_plain_words(tmp_path: Path, kind: str, content: str) -> None:
    with pytest.raises(CorpusError):
        import_annotations(_write(tmp_path / "e.csv", content), kind, BOOK)


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="did you mean 'doccano'"):
        import_annotations(_write(tmp_path / "x", ""), "docano", BOOK)


@given(st.text(alphabet="ab 😀é👩‍👧\u202e", min_size=1, max_size=40), st.data())
def test_utf16_offsets_always_find_their_way_back(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    units = to_utf16(text, span)
    placed = place_mark(text, Mark("m", units.start, units.end, text[slice(*span)], utf16=True))
    assert placed == (span, "")


def test_nothing_that_was_not_judged_becomes_a_no(tmp_path: Path) -> None:
    """Empty cells, missing columns, other modes of a binary answer, lost spans: unknown, not negative."""
    table = tmp_path / "t.csv"
    table.write_text("case_id,narrative,told_suspect\n1,One.,\n2,Two.,1\n3,,1\n")
    back = import_annotations(table, "table", BOOK)
    assert [item.labels for item in back.annotations] == [{}, {"told_suspect": True}]
    assert "row 4" in back.notes[0]
    lines = [
        {"text": TEXT, "label": "told_suspect", "answer": "accept", "_input_hash": 1},
        {
            "text": TEXT,
            "label": "nobody_went",
            "answer": "reject",
            "_input_hash": 1,
            "spans": [{"start": 0, "end": 4, "label": "nobody_went"}],
        },
        {
            "text": TEXT,
            "spans": [{"start": 0, "end": 5, "label": "told_suspect", "text": "not there"}],
            "_input_hash": 2,
        },
    ]
    path = _write(tmp_path / "e.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    one, two = import_annotations(path, "prodigy", BOOK).annotations
    assert one.labels == {"told_suspect": True, "nobody_went": False}
    assert two.labels == {"nobody_went": False}


@pytest.mark.parametrize("kind", ["datasets", "table", "docbin"])
def test_partial_labels_survive_the_round_trip(tmp_path: Path, kind: str) -> None:
    partial = _annotation(
        id="n3", narrative="Only one mode was judged here.", labels={"nobody_went": False}, evidence=()
    )
    path = tmp_path / {"datasets": "folder", "table": "t.csv"}.get(kind, "d.spacy")
    export_annotations([partial], path, kind, BOOK)
    assert import_annotations(path, kind, BOOK).annotations[0].labels == {"nobody_went": False}


def test_a_group_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("case_id,narrative,told_suspect,incident\n1,One.,1,a\n")
    with pytest.raises(CorpusError, match="did you mean 'incident'"):
        import_annotations(table, "table", BOOK, ImportOptions(group_column="incidents"))
    item = import_annotations(table, "table", BOOK, ImportOptions(group_column="incident")).annotations[0]
    assert item.group == "a"


def test_labels_with_accents_draft_a_valid_codebook(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("case_id,narrative,kind\n1,One.,Übergriff\n2,Two.,投诉\n3,Three.,泄密\n", encoding="utf-8")
    options = ImportOptions(label_column="kind")
    modes = draft_codebook(table, options, tmp_path / "b.yaml")
    assert modes == ["ubergriff", "mode", "mode_2"]
    back = import_annotations(table, "table", load_codebook(tmp_path / "b.yaml"), options)
    assert [[mode for mode, holds in item.labels.items() if holds] for item in back.annotations] == [[m] for m in modes]


def test_a_run_becomes_predictions_to_correct(tmp_path: Path, tiny_bundle: Path) -> None:
    text = "😀 The banan ketor lomed. The clerk told him everything in case 5."
    (tmp_path / "c1.txt").write_text(text, encoding="utf-8")
    bundle = load_bundle(tiny_bundle)
    score([tmp_path / "c1.txt"], tmp_path / "run", bundle, ScoreConfig(), ReadOptions())
    assert export_predictions(tmp_path / "run", tmp_path / "p.json", "label-studio", bundle.codebook) == 1
    task = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))[0]
    prediction = task["predictions"][0]
    assert prediction["model_version"].startswith("tiny ")
    assert 0 < prediction["score"] < 1
    value = prediction["result"][0]["value"]
    assert value["text"] == "The clerk told him everything in case 5."
    units = text.encode("utf-16-le")[2 * value["start"] : 2 * value["end"]]
    assert units.decode("utf-16-le") == value["text"]
    with pytest.raises(CorpusError, match="not a run"):
        export_predictions(tmp_path, tmp_path / "p.json", "label-studio", bundle.codebook)


@pytest.mark.parametrize("tag", ["text", "narrative", "story"])
def test_label_studio_texts_are_found_whatever_the_control_is_called(tmp_path: Path, tag: str) -> None:
    def task(number: int, *results: dict[str, Any]) -> dict[str, Any]:
        data = {"case_id": f"C-{number}", "narrative": TEXT, "station": "North"}
        return {"id": number, "data": data, "annotations": [{"result": list(results)}]}

    choice = {"from_name": "c", "to_name": tag, "type": "choices", "value": {"choices": ["nobody_went"]}}
    path = _write(tmp_path / "e.json", [task(1, choice), task(2)])
    back = import_annotations(path, "label-studio", BOOK).annotations
    assert [item.narrative for item in back] == [TEXT, TEXT]
    assert [item.id for item in back] == ["C-1", "C-2"]


def test_label_studio_asks_which_field_is_the_narrative(tmp_path: Path) -> None:
    task = {"id": 1, "data": {"case_id": "C-1", "a": "One.", "b": "Two."}, "annotations": [{"result": []}]}
    path = _write(tmp_path / "e.json", [task])
    with pytest.raises(CorpusError, match="--narrative-column"):
        import_annotations(path, "label-studio", BOOK)
    (item,) = import_annotations(path, "label-studio", BOOK, ImportOptions(narrative_column="b")).annotations
    assert item.narrative == "Two."


def test_label_studio_regions_without_numbers_are_left_out(tmp_path: Path) -> None:
    value = {"start": "/div[1]/text()[1]", "end": "/div[1]/text()[1]", "hypertextlabels": ["told_suspect"]}
    task = {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": [{"to_name": "text", "value": value}]}]}
    back = import_annotations(_write(tmp_path / "e.json", [task]), "label-studio", BOOK)
    assert "told_suspect" not in back.annotations[0].labels
    assert "left out" in back.notes[0]


def test_records_that_are_odd_are_notes_and_not_tracebacks(tmp_path: Path) -> None:
    lines = [
        {"id": 1, "text": "One.", "group": 17, "label": []},
        {"id": 2, "text": "Two \ud83d.", "label": []},
        {"id": 3, "text": TEXT, "label": [[0, 4, "Told the suspectt"]]},
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    back = import_annotations(path, "doccano", BOOK)
    assert [(item.id, item.group) for item in back.annotations] == [("1", "17"), ("3", "3")]
    assert "half of a surrogate pair" in back.notes[0]
    assert back.annotations[1].labels == {"nobody_went": False}  # a slip of the pen is no no


def test_labels_that_differ_in_case_are_one_mode(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "case_id,narrative,kind\n1,One.,Delay\n2,Two.,delay\n3,Three.,Use-of-force; Delay\n4,F.,Use of force\n"
    )
    options = ImportOptions(label_column="kind")
    assert draft_codebook(path, options, tmp_path / "book.yaml") == ["delay", "use_of_force"]
    back = import_annotations(path, "table", load_codebook(tmp_path / "book.yaml"), options).annotations
    assert [[mode for mode, holds in item.labels.items() if holds] for item in back] == [
        ["delay"], ["delay"], ["delay", "use_of_force"], ["use_of_force"],
    ]  # fmt: skip


def test_datasets_with_labels_as_people_have_them() -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")

    def labels(**columns: list[Any]) -> list[Any]:
        return [item.labels for item in from_dataset(datasets.Dataset.from_dict(columns), BOOK)]

    assert labels(text=["One."], label=["nobody_went"]) == [{"nobody_went": True}]
    assert labels(text=["One.", "Two."], **{"Told the suspect": ["yes", "no"]}) == [
        {"told_suspect": True}, {"told_suspect": False},
    ]  # fmt: skip
    classes = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(BOOK.mode_ids))}
    )
    classed = datasets.Dataset.from_dict({"text": ["One."], "label": [1]}, features=classes)
    assert next(from_dataset(classed, BOOK)).labels == {"nobody_went": True}
    with pytest.raises(CorpusError, match="neither columns named after modes"):
        labels(text=["One."], kind=["nobody_went"])
