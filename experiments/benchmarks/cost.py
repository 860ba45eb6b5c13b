"""What the default model costs: training time and memory, what int8 loses, how fast a bundle loads.

python experiments/benchmarks/cost.py train [configs/default.yaml] [DIR]  trains afresh; DIR keeps what comes of it
python experiments/benchmarks/cost.py bundle [configs/default.yaml]       needs the fit of `secondlook fit`
python experiments/benchmarks/cost.py load [configs/default.yaml]         size and loading time alone, without a fit
python experiments/benchmarks/cost.py attention [configs/default.yaml]    one step, by attention, dropout and numbers
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from secondlook.config import TrainConfig, TransformerModelConfig, load_config
from secondlook.encoder.finetuned import FineTuned
from secondlook.evidence import pool
from secondlook.metrics import macro_average_precision
from secondlook.prepare import load_prepared
from secondlook.workspace import fitted_workspace


def train(config: TrainConfig, kept: Path | None = None) -> None:
    """Wall time and peak memory of `secondlook train` on the whole corpus."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = kept or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        places = {"workspace": f"{folder}/training", "bundle": f"{folder}/bundle", "tracking": None}
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json") | places))
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "secondlook", "train", str(path)], check=True)
        minutes = (time.perf_counter() - start) / 60
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    Console().print(f"training: {minutes:.1f} minutes, at most {peak:.2f} GiB resident")


def bundle(config: TrainConfig) -> None:
    """Average precision of int8 against fp32 on the test part; then :func:`load`."""
    model = config.model
    if not isinstance(model, TransformerModelConfig):
        raise SystemExit("give the configuration of a transformer")
    prepared = load_prepared(config.data)
    part = prepared.part("test")
    exact = model.model_copy(update={"fitting": model.fitting.model_copy(update={"bfloat16": False})})
    trained = FineTuned.load(fitted_workspace(config, prepared).model, exact)
    found = {}
    for name, scores in (
        ("fp32", trained.score(part.narratives, part.passages)),
        ("int8", trained.exported().score(part.narratives, part.passages)),
    ):
        pooled = np.array([pool(one, config.pooling) for one in scores])
        found[name] = macro_average_precision(part.labels, pooled)
    Console().print(f"macro AP on test: fp32 {found['fp32']:.4f}, int8 {found['int8']:.4f}")
    load(config)


def load(config: TrainConfig) -> None:
    """Size and loading time of the bundle."""
    size = sum(path.stat().st_size for path in config.bundle.iterdir() if path.is_file()) / 1e6
    code = (
        "import sys, time; start = time.perf_counter(); from pathlib import Path; "
        "from secondlook.bundle import load_bundle; middle = time.perf_counter(); load_bundle(Path(sys.argv[1])); "
        "end = time.perf_counter(); assert 'torch' not in sys.modules; "
        "print(f'bundle: loads in {end - middle:.2f} s after {middle - start:.2f} s of imports, without PyTorch')"
    )
    subprocess.run([sys.executable, "-c", code, str(config.bundle)], check=True)
    Console().print(f"bundle: {size:.1f} MB")


def attention(config: TrainConfig) -> None:
    """Tokens a second through the encoder, forward and back, by kind of attention and by dropout inside it."""
    import torch
    from transformers import AutoModel

    from secondlook.encoder.network import multiplies_in_bfloat16
    from secondlook.encoder.pretrained import locate

    model = config.model
    if not isinstance(model, TransformerModelConfig):
        raise SystemExit("give the configuration of a transformer")
    table = Table(
        "attention", "dropout", "numbers", "tokens a second", title=f"windows of {model.window_tokens} tokens"
    )
    for kind in ("eager", "sdpa"):
        for dropout in (0.0, 0.1):
            how = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
            encoder = AutoModel.from_pretrained(locate(model.encoder, None), attn_implementation=kind, **how).train()
            tokens = torch.randint(1000, 20000, (8, model.window_tokens))
            for bfloat16 in (False, True) if multiplies_in_bfloat16("cpu") else (False,):
                speeds = [_speed(encoder, tokens, bfloat16) for _ in range(4)]
                table.add_row(kind, f"{dropout:g}", "bfloat16" if bfloat16 else "float32", f"{max(speeds):.0f}")
    Console().print(table)


def _speed(encoder: Any, tokens: Any, bfloat16: bool) -> float:
    import torch

    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        states = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    states.float().sum().backward()
    encoder.zero_grad(set_to_none=True)
    return float(tokens.numel() / (time.perf_counter() - start))


if __name__ == "__main__":
    chosen = load_config(Path(sys.argv[2] if len(sys.argv) > 2 else "configs/default.yaml"), TrainConfig)
    {"train": train, "bundle": bundle, "load": load, "attention": attention}[sys.argv[1]](
        chosen, *map(Path, sys.argv[3:])
    )
