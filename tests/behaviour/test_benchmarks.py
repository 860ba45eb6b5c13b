"""Benchmarks made elsewhere are read as they were published, and competitors are judged by what they did not see."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"
PHRASES = ("he said.", "kochi:", "two men were held.", "police stood by as shops burnt.", "a curfew was imposed.")


@pytest.fixture(scope="module")
def corpora() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("corpora")


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


def test_a_corpus_without_a_development_part_is_judged_by_halves(corpora: Any, tmp_path: Path) -> None:
    """Flags begin where each half of the contracts says that what the other half taught is right most often."""
    _publish_contracts(tmp_path, 20)
    task = corpora.load_tasks("unfair-tos", tmp_path, None)[0]
    taught: list[set[str]] = []

    def learn(own: Any) -> Any:
        taught.append(set(own.training.ids))
        return competitors.tfidf_svm(own, seed=0)

    competitors, measures = (importlib.import_module(name) for name in ("competitors", "measures"))
    competitor = competitors.compete(task, learn)

    unseen = [set(part.ids) for _, part in competitor.unseen]
    assert taught[0] == set.union(*unseen) == set(task.training.ids)
    assert not any(seen & own for seen, own in zip(taught[1:], unseen, strict=True))
    assert not set.intersection(*unseen)
    assert measures.measure(task, competitor)["micro_F1"] == 1


def _publish_contracts(folder: Path, count: int) -> None:
    """Contracts in which what is unfair says so, as their archive publishes them."""
    sentences = ["You may leave.", "We may end this at will.", "Ask us anything.", "Courts of our choice decide."]
    for kind, lines in (("sentences", sentences), ("tags", ["", "ter3", "a1", "j2"])):
        place = folder / kind / "en" / "original"
        place.mkdir(parents=True)
        for number in range(count):
            turned = lines[number % 4 :] + lines[: number % 4]
            (place / f"{number}.txt").write_text("\n".join(turned) + "\n", encoding="utf-8")


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
