"""A search for the transformer's hyperparameters: optuna proposes, the development part decides, MLflow remembers.

    python experiments/search/search.py configs/default.yaml --trials 12

Each trial is a nested MLflow run. The study lies in ``runs/search.db``: run the command again and it goes on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from secondlook.config import FittingConfig, TrainConfig, TransformerModelConfig, load_config
from secondlook.encoder.finetuned import FineTuned
from secondlook.evidence import pool
from secondlook.fit import lesson
from secondlook.metrics import macro_average_precision
from secondlook.prepare import load_prepared
from secondlook.workspace import fit_key


def main() -> None:
    """Search, and print the best trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    asked = parser.parse_args()
    config = load_config(asked.config, TrainConfig)
    Path("runs").mkdir(exist_ok=True)
    study = optuna.create_study(
        study_name=f"{config.name} {fit_key(config, load_prepared(config.data))[:12]}",
        storage="sqlite:///runs/search.db",
        load_if_exists=True,
        direction="maximize",
    )
    # Another seed each time, or a study that goes on would draw its first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    if config.tracking is None:
        raise SystemExit(f"{asked.config}: trials are kept in MLflow; set 'tracking'")
    mlflow.set_tracking_uri(config.tracking.uri)
    mlflow.set_experiment(f"{config.tracking.experiment}-search")
    with mlflow.start_run(run_name=f"{config.name}: search"):
        study.optimize(lambda trial: _trial(trial, config), n_trials=asked.trials)
        mlflow.log_metric("best_macro_average_precision", study.best_value)
    _print(study)


def _trial(trial: optuna.Trial, config: TrainConfig) -> float:
    model = config.model
    if not isinstance(model, TransformerModelConfig):
        raise SystemExit("the search is for a transformer's configuration")
    fitting = {
        "learning_rate": trial.suggest_float("learning_rate", 5e-5, 5e-4, log=True),
        "head_learning_rate": trial.suggest_float("head_learning_rate", 3e-4, 3e-3, log=True),
        "epochs": trial.suggest_int("epochs", 2, 6),
        "batch_tokens": trial.suggest_categorical("batch_tokens", [1536, 3072, 6144]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "evidence_weight": trial.suggest_float("evidence_weight", 0.2, 3.0, log=True),
        "evidence_positive_weight": trial.suggest_float("evidence_positive_weight", 1.0, 8.0, log=True),
        "pair_weight": trial.suggest_float("pair_weight", 0.0, 2.0),
    }
    pooling = config.pooling.model_copy(update={"sharpness": trial.suggest_float("sharpness", 1.0, 8.0, log=True)})
    chosen = FittingConfig.model_validate(model.fitting.model_dump() | fitting)
    prepared = load_prepared(config.data)
    training, development = prepared.part("train"), prepared.part("development")
    with mlflow.start_run(run_name=f"trial {trial.number}", nested=True), tempfile.TemporaryDirectory() as folder:
        mlflow.log_params(trial.params)
        trained = FineTuned.fit(
            lesson(training),
            lesson(development),
            prepared.codebook.mode_ids,
            model.model_copy(update={"fitting": chosen}),
            pooling,
            config.seed,
            Path(folder) / "fit",
            f"trial {trial.number}",
        )
        scores = trained.score(development.narratives, development.passages)
        pooled = np.array([pool(one, pooling) for one in scores])
        value = macro_average_precision(development.labels, pooled)
        mlflow.log_metric("macro_average_precision", value)
    return value


def _print(study: optuna.Study) -> None:
    best = sorted((t for t in study.trials if t.value is not None), key=lambda t: -float(t.value or 0))[:10]
    table = Table("trial", "macro AP, development", *best[0].params, title="The best trials")
    for trial in best:
        table.add_row(str(trial.number), f"{trial.value:.3f}", *(f"{value:.3g}" for value in trial.params.values()))
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
