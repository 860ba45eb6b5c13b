"""Benchmarks made elsewhere are read as they were published."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

CORPORA = Path(__file__).parents[2] / "experiments" / "benchmarks" / "corpora.py"
PHRASES = ("he said.", "kochi:", "two men were held.", "police stood by as shops burnt.", "a curfew was imposed.")


@pytest.fixture(scope="module")
def corpora() -> Any:
    specification = importlib.util.spec_from_file_location("benchmark_corpora", CORPORA)
    assert specification
    assert specification.loader
    module: ModuleType = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@given(drawn=st.lists(st.tuples(st.sampled_from(PHRASES), st.sampled_from(("train", "dev", "test"))), min_size=1))
def test_sentences_of_the_same_words_find_their_part(
    drawn: list[tuple[str, str]], corpora: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every act of KILL is one of "two men were held", in whatever part, and no sentence loses its labels."""
    folder = tmp_path_factory.mktemp("india")
    _publish(folder, [*drawn, ("the end of train.", "train"), ("the end of dev.", "dev"), ("the end.", "test")])

    (task,) = corpora.load_tasks("india-sentences", folder, None)

    held = 0
    for part in (task.training, task.development, task.test):
        for narrative, spans, targets in zip(part.narratives, part.passages, part.targets, strict=True):
            for (start, end), labels in zip(spans, targets, strict=True):
                if not np.isnan(labels).any():
                    held += 1
                    assert labels[0] == (narrative[start:end] == "two men were held.")
    assert held == len(drawn) + 3


def _publish(folder: Path, sentences: list[tuple[str, str]]) -> None:
    """One story whose sentences were divided, as both archives publish it."""
    acts = ("KILL", "ARREST", "ANY_ACTION", "FAIL", "FORCE")
    labels = [[int(text == "two men were held."), 0, 0, 0, 0] for text, _ in sentences]
    with (folder / "sents.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [["11", text, *own] for (text, _), own in zip(sentences, labels, strict=True)]
        csv.writer(file).writerows([["doc_id", "sent_text", *acts], *rows])
    with (folder / "docs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["doc_id"], ["11"]])
    (folder / "IndiaPoliceEvents_sents").mkdir()
    for split in ("train", "dev", "test"):
        with (folder / "IndiaPoliceEvents_sents" / f"{split}.tsv").open("w", encoding="utf-8", newline="") as file:
            own = [[text, *label] for (text, part), label in zip(sentences, labels, strict=True) if part == split]
            csv.writer(file, delimiter="\t").writerows(own)
