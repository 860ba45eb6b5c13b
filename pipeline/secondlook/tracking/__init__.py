"""Tracking: the only place that knows MLflow.

No narrative text is ever logged: settings, digests, measures, curves and the bundle (which holds a
vocabulary and weights, no narrative).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from secondlook.config import TrackingConfig, TrainConfig
from secondlook.errors import BundleError, ConfigError
from secondlook.evaluate import Report, curves
from secondlook.export import Trained
from secondlook.figures import draw

# Before MLflow is imported: it reads these once. A caller's own choice is kept.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow

CHAMPION = "champion"
"""The alias of the version that scores."""

_MODEL_CODE = Path(__file__).parent / "pyfunc.py"


def track_training(config: TrainConfig, settings: TrackingConfig, trained: Trained) -> str:
    """Log a training run and register its model; returns the run's id."""
    with _run(settings, config.name) as run_id:
        mlflow.log_params(_flatten(config.model_dump(mode="json", exclude={"tracking"})))
        mlflow.set_tags(_tags(config, trained))
        _log_report(trained.development)
        registered = _log_model(config, settings)
        if registered is not None:
            _describe_version(settings, registered, _tags(config, trained))
    return run_id


def _describe_version(settings: TrackingConfig, version_number: str, tags: Mapping[str, str]) -> None:
    """A version carries its digests; the first one is the champion until another is promoted."""
    client = mlflow.MlflowClient()
    name = str(settings.register_as)
    for key, value in tags.items():
        client.set_model_version_tag(name, version_number, key, value)
    if CHAMPION not in client.get_registered_model(name).aliases:
        client.set_registered_model_alias(name, CHAMPION, version_number)


def check_store(settings: TrackingConfig) -> None:
    """Open the store before the work.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        _use_store(settings)
        mlflow.MlflowClient().search_registered_models(max_results=1)
    except Exception as cause:  # the store's own kinds: MLflow's, SQLAlchemy's, the operating system's
        raise ConfigError(
            f"tracking.uri: '{settings.uri}' cannot be used ({str(cause).splitlines()[0][:200]}); "
            "such as sqlite:///mlflow.db, or set 'tracking: null'"
        ) from None


def _use_store(settings: TrackingConfig) -> None:
    """Point MLflow at the store and the experiment of the settings."""
    if settings.uri.startswith("sqlite:///"):
        Path(settings.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(settings.uri)
    mlflow.set_experiment(settings.experiment)


def fetch_bundle(uri: str, tracking: str | None = None) -> Path:
    """The folder of a registered bundle, such as ``models:/secondlook@champion``; copied where it is remote.

    Args:
        uri: name with version or alias.
        tracking: where MLflow keeps its registry; MLFLOW_TRACKING_URI or this project's default if not given.

    Raises:
        BundleError: there is no such model.
    """
    mlflow.set_tracking_uri(tracking or os.environ.get("MLFLOW_TRACKING_URI") or TrackingConfig().uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri))
        flavour = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
        return folder / str(flavour["artifacts"]["bundle"]["path"])
    except (mlflow.exceptions.MlflowException, OSError, KeyError) as cause:
        reason = str(cause).splitlines()[0]
        raise BundleError(
            f"{uri}: is not a registered bundle here ({reason}); 'secondlook train' registers one, and "
            "MLFLOW_TRACKING_URI says where"
        ) from None


def promote(settings: TrackingConfig, version_number: int | None = None) -> str:
    """Give a registered version the alias ``champion``; the newest if none is named. Returns what it names now.

    Raises:
        BundleError: there is no such version.
    """
    check_store(settings)
    client = mlflow.MlflowClient()
    name = settings.register_as or ""
    known = sorted(int(one.version) for one in client.search_model_versions(f"name = '{name}'"))
    chosen = version_number if version_number is not None else max(known, default=0)
    if chosen not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise BundleError(f"{settings.uri}: '{name}' has no version {chosen} (versions: {listed}); train one first")
    client.set_registered_model_alias(name, CHAMPION, str(chosen))
    return f"models:/{name}@{CHAMPION} is version {chosen}"


def _log_model(config: TrainConfig, settings: TrackingConfig) -> str | None:
    """Log the bundle as a model from code, so that loading it runs no pickle; returns the version registered.

    There is no input example: it would be a narrative in the tracking store.
    """
    with warnings.catch_warnings():
        # MLflow asks for the input example that is left out on purpose, and for type hints that it cannot use.
        warnings.filterwarnings("ignore", message=".*(input example|type hint).*", category=UserWarning)
        return _log_pyfunc(config, settings)


def _log_pyfunc(config: TrainConfig, settings: TrackingConfig) -> str | None:
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(_MODEL_CODE),
        artifacts={"bundle": str(config.bundle)},
        signature=_signature(),
        pip_requirements=[f"secondlook=={version('secondlook')}", f"mlflow=={version('mlflow')}"],
        registered_model_name=settings.register_as,
    )
    return None if logged.registered_model_version is None else str(logged.registered_model_version)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    return ModelSignature(inputs=Schema([ColSpec(DataType.string, "narrative")]))


@contextmanager
def _run(settings: TrackingConfig, name: str) -> Iterator[str]:
    _use_store(settings)
    with mlflow.start_run(run_name=name) as run:
        yield str(run.info.run_id)


def _tags(config: TrainConfig, trained: Trained) -> dict[str, str]:
    provenance = trained.bundle.provenance
    tags = {f"digest.{name}": value for name, value in trained.prepared.digests.items()}
    return tags | {
        "digest.config": provenance.config,
        "digest.bundle": trained.bundle.digest,
        "git.commit": provenance.commit or "not in a git checkout",
        "codebook": f"{trained.bundle.codebook.name} {trained.bundle.codebook.version}",
        "measured_on": str(trained.development.summary["measured_on"]["split"]),
        "python": sys.version.split()[0],
    }


def _log_report(report: Report) -> None:
    for mode, measures in report.summary["modes"].items():
        for name, measure in measures.items():
            for kind, value in measure.items() if isinstance(measure, dict) else [("value", measure)]:
                if value is not None:
                    suffix = "" if kind == "value" else f".{kind}"
                    mlflow.log_metric(f"{mode}.{name}{suffix}", float(value))
    mlflow.log_dict(report.summary, "development.json")
    for name, figure in draw(curves(report.predictions)).items():
        mlflow.log_figure(figure, f"plots/{name}.png")


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
