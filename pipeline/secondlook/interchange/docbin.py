"""spaCy's DocBin: spans in ``doc.spans`` or ``doc.ents``, labels in ``doc.cats``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secondlook.codebook import Codebook
from secondlook.corpus import Annotation
from secondlook.errors import CorpusError
from secondlook.interchange.marks import ImportOptions, Mark, Marked

SPANS_KEY = "sc"


def read(path: Path, codebook: Codebook, options: ImportOptions) -> Iterator[Marked]:
    """Every document; a category of at least 0.5 holds."""
    spacy = _spacy()
    try:
        documents = list(spacy.tokens.DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except Exception as cause:  # a file of another kind fails anywhere in its unpacking
        raise CorpusError(f"{path}: is not a spaCy DocBin ({type(cause).__name__})") from None
    for number, doc in enumerate(documents):
        spans = [*doc.ents, *(span for group in doc.spans.values() for span in group)]
        marks = [Mark(span.label_, span.start_char, span.end_char, span.text) for span in spans]
        labels: dict[str, bool | None] = {name: value >= 0.5 for name, value in doc.cats.items()}
        case_id = doc.user_data.get("case_id") or str(number)
        # Categories that are given are what was judged.
        complete = not doc.cats
        group = doc.user_data.get("group")
        yield Marked(f"{path}, document {number}", case_id, doc.text, labels, complete, marks=marks, group=group)


def write(annotations: Sequence[Annotation], path: Path, codebook: Codebook) -> None:
    """A DocBin with overlapping spans in ``doc.spans["sc"]``, as a span categoriser trains on."""
    spacy = _spacy()
    nlp = spacy.blank("en")
    nlp.max_length = max((len(item.narrative) + 1 for item in annotations), default=1)  # its limit is for parsers
    store = spacy.tokens.DocBin(store_user_data=True)
    for item in annotations:
        doc = nlp.make_doc(item.narrative)
        spans = [_span(doc, one.start, one.end, one.mode) for one in item.evidence]
        doc.spans[SPANS_KEY] = spans
        doc.cats = {mode: float(holds) for mode, holds in item.labels.items()}
        doc.user_data.update(case_id=item.id, group=item.group)
        store.add(doc)
    store.to_disk(path)


def _span(doc: Any, start: int, end: int, label: str) -> Any:
    """The tokens that cover the span: spaCy cannot cut a token."""
    return doc.char_span(start, end, label=label, alignment_mode="expand")


def _spacy() -> Any:
    try:
        import spacy
        import spacy.tokens
    except ImportError:
        raise CorpusError("spaCy is not installed: pip install spacy") from None
    return spacy
