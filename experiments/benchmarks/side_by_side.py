"""All competitors on the same split in one run.

    python experiments/benchmarks/side_by_side.py own
    python experiments/benchmarks/side_by_side.py india-documents --data DIR --seeds 3
    python experiments/benchmarks/side_by_side.py india-sentences --data DIR --seeds 3
    python experiments/benchmarks/side_by_side.py unfair-tos --data DIR

Prints a table and writes it, with every figure of every seed or fold, to ``runs/benchmarks/NAME.json``. A run
that was stopped goes on where it was. ``--only ours,linear`` takes some competitors, ``--folds 1,2`` some folds.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import competitors
import numpy as np
from corpora import Task, load_tasks
from measures import measure
from rich.console import Console
from rich.table import Table

from secondlook.config import LinearModelConfig, TrainConfig, TransformerModelConfig, load_config
from secondlook.storage import write_whole

NAMES = ("linear", "tfidf_svm", "truncated", "setfit", "transformer", "ours")


def main() -> None:
    """Run what is not done yet, and print the table."""
    asked = _arguments()
    config, plain = load_config(asked.config, TrainConfig), load_config(asked.linear, TrainConfig)
    path = Path("runs/benchmarks") / f"{asked.benchmark}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    now: set[str] = set()
    names = asked.only.split(",")
    tasks = load_tasks(asked.benchmark, asked.data, config)
    for number, task in enumerate(tasks, start=1):
        if asked.folds and str(number) not in asked.folds.split(","):
            continue
        digest = _digest(task, config, plain)
        for seed, name in itertools.product(range(asked.seeds), names):
            key = f"{name} | {task.name} | seed {seed} | {digest}"
            if key not in done:
                done[key] = _run(task, _fitter(name, config, plain), config.seed + seed)
                write_whole(path, (json.dumps(done, indent=2) + "\n").encode())
            now.add(key)
    Console(width=160).print(_table(asked.benchmark, {key: done[key] for key in sorted(now)}))


def _run(task: Task, fit: Callable[[Task, int], competitors.Competitor], seed: int) -> dict[str, float | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        competitor = fit(task, seed)
        middle = time.perf_counter()
        competitors.units_and_scores(task, task.test, competitor.trained)
        end = time.perf_counter()
        values = measure(task, competitor)
    seconds = {"train_s": middle - start + competitor.shared_s, "score_s": end - middle}
    sizes = seconds | {"MB": competitor.trained.size() / 1e6}
    return {k: None if v is None or np.isnan(v) else round(float(v), 4) for k, v in (values | sizes).items()}


def _digest(task: Task, config: TrainConfig, plain: TrainConfig) -> str:
    """What a figure rests on, so that figures of other texts, splits or choices never stand in one table."""
    together = hashlib.sha256()
    for choices in (config, plain):
        together.update(choices.model_dump_json(include={"seed", "model", "pooling"}).encode())
    for part in (task.training, task.development, task.test):
        if part is None:
            continue
        together.update("\0".join([*part.ids, *part.narratives]).encode() + np.concatenate(part.targets).tobytes())
    return together.hexdigest()[:12]


def _fitter(name: str, config: TrainConfig, plain: TrainConfig) -> Callable[[Task, int], competitors.Competitor]:
    model, words = config.model, plain.model
    if not isinstance(model, TransformerModelConfig) or not isinstance(words, LinearModelConfig):
        raise SystemExit("--config is of a transformer, --linear of a linear model")
    alone: dict[str, Callable[[Task, int], competitors.Trained]] = {
        "linear": lambda task, seed: competitors.linear(task, seed, words, plain.pooling),
        "tfidf_svm": competitors.tfidf_svm,
        "truncated": lambda task, seed: competitors.truncated(task, seed, model),
        "setfit": lambda task, seed: competitors.setfit(task, seed, model),
    }
    if name in alone:
        return lambda task, seed: competitors.compete(task, lambda own: alone[name](own, seed))
    both = {"transformer": competitors.transformer, "ours": competitors.ours}
    return lambda task, seed: both[name](task, seed, model, config.pooling)


def _table(benchmark: str, done: dict[str, Any]) -> Table:
    """Means over seeds and folds, with the least and the greatest where there are several."""
    table = Table(title=f"{benchmark}: mean over seeds and folds (least to greatest)", title_justify="left")
    columns = list(dict.fromkeys(name for values in done.values() for name in values))
    table.add_column("competitor")
    table.add_column("runs", justify="right")
    for column in columns:
        table.add_column(column, justify="right")
    for name in NAMES:
        rows = [values for key, values in done.items() if key.startswith(f"{name} |")]
        if rows:
            table.add_row(name, str(len(rows)), *(_cell([row.get(column) for row in rows]) for column in columns))
    return table


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    digits = 3 if max(known) <= 1 else 0
    spread = f"\n{min(known):.{digits}f}-{max(known):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=["own", "india-documents", "india-sentences", "unfair-tos"])
    parser.add_argument("--data", type=Path, help="the folder of the benchmark's files")
    parser.add_argument("--config", type=Path, default=Path("configs/default.yaml"))
    parser.add_argument("--linear", type=Path, default=Path("configs/linear.yaml"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--folds", help="their numbers, where there are several")
    return parser.parse_args()


if __name__ == "__main__":
    main()
