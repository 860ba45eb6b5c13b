"""A tiny corpus that a model can learn in a second, and a bundle trained on it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from secondlook.config import (
    BootstrapConfig,
    DataConfig,
    FittingConfig,
    LinearModelConfig,
    TrainConfig,
    TransformerModelConfig,
)

os.environ["DVC_NO_ANALYTICS"] = "true"
# Tests run on every core already; many threads each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
PROJECT = Path(__file__).parents[1]

# Two modes with words of their own; whoever reads the fixture can tell what should be learnt.
SHOWS = {
    "told_suspect": ["The clerk told him everything", "He was told by the desk who had complained"],
    "nobody_went": ["Nobody went to her house", "For three days nobody went to see her"],
}
LEXICON = [
    a + b for a in ("bar", "ket", "lom", "nis", "pru", "sot", "tev", "wil") for b in ("an", "ed", "ing", "or", "us")
]


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


def make_annotation(number: int, modes: list[str], rng: random.Random) -> dict[str, object]:
    """A narrative of a few sentences; for each mode one sentence that shows it.

    The others are drawn from a made-up lexicon, so that no two narratives are near-duplicates.
    """
    sentences: list[tuple[str | None, str]] = [(None, " ".join(["The", *rng.choices(LEXICON, k=8)])) for _ in range(4)]
    for mode in modes:
        sentences.insert(rng.randrange(len(sentences) + 1), (mode, rng.choice(SHOWS[mode])))
    narrative, evidence = "", []
    for mode, text in sentences:
        start = len(narrative)
        narrative += f"{text} in case {number}. "
        if mode:
            evidence.append({"mode": mode, "start": start, "end": len(narrative) - 1})
    return {
        "id": f"t{number:03d}",
        "narrative": narrative.strip(),
        "labels": {mode: mode in modes for mode in SHOWS},
        "evidence": evidence,
        "group": f"g{number:03d}",
        "source": {"kind": "invented"},
        "annotator": "test",
    }


@pytest.fixture(scope="session")
def write_tiny_corpus() -> Callable[[Path], TrainConfig]:
    """Write codebook, annotations and split below a folder; returns the configuration to train on them."""
    import json

    def write(root: Path, size: int = 60) -> TrainConfig:
        rng = random.Random(7)
        data = DataConfig(
            codebook=root / "labels/codebook.yaml",
            annotations=root / "labels/annotations",
            adjudications=root / "labels/adjudications",
            nature="made for tests, not field data",
            splits=root / "labels/splits.csv",
            prepared=root / "labels/prepared",
        )
        data.annotations.mkdir(parents=True)
        modes = [{"id": mode, "title": mode.replace("_", " "), "definition": "For tests."} for mode in SHOWS]
        data.codebook.write_text(yaml.safe_dump({"name": "tiny", "version": "1", "modes": modes}))
        wanted = [["told_suspect"], ["nobody_went"], ["told_suspect", "nobody_went"], [], [], []]
        rows = [make_annotation(i, wanted[i % len(wanted)], rng) for i in range(size)]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (data.annotations / "tiny.jsonl").write_text("".join(lines), encoding="utf-8")
        places = ["id,group,split,fold\n"]
        for i, row in enumerate(rows):
            split, fold = ("test", "") if i % 5 == 4 else ("development", "") if i % 10 == 3 else ("train", str(i % 3))
            places.append(f"{row['id']},{row['group']},{split},{fold}\n")
        data.splits.write_text("".join(places))
        return TrainConfig(
            name="tiny",
            seed=3,
            data=data,
            bootstrap=BootstrapConfig(resamples=100),
            model=LinearModelConfig(context_passages=1, inverse_regularisation=10.0),
            tracking=None,
            workspace=root / "runs/training",
            bundle=root / "models/tiny",
        )

    return write


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one narrow layer with a tokenizer of whole words, as ``save_pretrained`` writes them."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    shows = {word.lower() for texts in SHOWS.values() for text in texts for word in text.split()}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "the", "in", "case", *sorted(shows - {"the", "in"}), *LEXICON]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(5)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=128, **shape)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_tiny_transformer(
    tiny_encoder: Path, write_tiny_corpus: Callable[[Path], TrainConfig]
) -> Callable[..., TrainConfig]:
    """Like ``write_tiny_corpus``, with the configuration of a transformer; fitting choices may be given."""

    def write(root: Path, **fitting: object) -> TrainConfig:
        choices = {
            "epochs": 8,
            "minimum_steps": 0,
            "frozen_layers": 0,
            "folds": 2,
            "batch_tokens": 256,
            "learning_rate": 3e-3,
            "head_learning_rate": 1e-2,
        }
        model = TransformerModelConfig(
            encoder=str(tiny_encoder),
            window_tokens=48,
            context_tokens=12,
            linear=None,
            fitting=FittingConfig.model_validate(choices | {"patience": 8, "device": "cpu"} | fitting),
        )
        return write_tiny_corpus(root).model_copy(update={"model": model})

    return write


@pytest.fixture(scope="session")
def tiny_transformer(
    tmp_path_factory: pytest.TempPathFactory, write_tiny_transformer: Callable[..., TrainConfig]
) -> TrainConfig:
    """A trained tiny transformer; read it, do not change it."""
    from secondlook.train import train

    config = write_tiny_transformer(tmp_path_factory.mktemp("transformer"))
    train(config)
    return config


@pytest.fixture(scope="session")
def tiny_stack(
    tmp_path_factory: pytest.TempPathFactory, write_tiny_transformer: Callable[..., TrainConfig]
) -> TrainConfig:
    """A trained tiny transformer with a linear model beside it, on folds that all modes are in; do not change it."""
    import pandas as pd

    from secondlook.train import train

    config = write_tiny_transformer(tmp_path_factory.mktemp("stack"))
    split = pd.read_csv(config.data.splits, dtype={"fold": object})
    in_train = split["split"] == "train"
    split.loc[in_train, "fold"] = [str(row // 6 % 2) for row in split.index[in_train]]
    split.to_csv(config.data.splits, index=False)
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"linear": LinearModelConfig(context_passages=1)})}
    )
    train(config)
    return config


@pytest.fixture(scope="session")
def tiny_config(
    tmp_path_factory: pytest.TempPathFactory, write_tiny_corpus: Callable[[Path], TrainConfig]
) -> TrainConfig:
    """A trained tiny model; read it, do not change it."""
    from secondlook.train import train

    config = write_tiny_corpus(tmp_path_factory.mktemp("tiny"))
    train(config)
    return config


@pytest.fixture(scope="session")
def tiny_bundle(tiny_config: TrainConfig) -> Path:
    return tiny_config.bundle
