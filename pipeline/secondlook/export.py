"""Export: a fitted and calibrated model as a bundle, and what it reaches on the development part."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from secondlook.bundle import Bundle, Provenance, save_bundle
from secondlook.config import TrainConfig
from secondlook.evaluate import Report, predict, report
from secondlook.fit import check_installed, load_fitted
from secondlook.language import KnownWords
from secondlook.prepare import Prepared, load_prepared
from secondlook.workspace import fitted_workspace

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "nupunkt", "tokenizers", "onnxruntime", "torch", "transformers")


@dataclass(frozen=True)
class Trained:
    """A saved bundle and what it reached on the development part."""

    bundle: Bundle
    prepared: Prepared
    development: Report


def export(config: TrainConfig) -> Trained:
    """Save the bundle of a fit; an earlier bundle in its place stays until the new one is whole.

    Raises:
        TrainingError: there is no calibrated fit of this configuration and these labels.
        BundleError: the bundle could not be written; an earlier one is intact.
    """
    prepared = load_prepared(config.data)
    workspace = fitted_workspace(config, prepared)
    settled, triage = workspace.read_calibration(config)
    check_installed(config)
    part = prepared.part("train")
    bundle = Bundle(
        codebook=prepared.codebook,
        model=load_fitted(config, workspace, prepared.codebook.mode_ids),
        words=KnownWords.of(part.narratives, part.groups.tolist()),
        pooling=config.pooling,
        modes={mode: settled[mode] for mode in prepared.codebook.mode_ids},
        provenance=_provenance(prepared, config),
        triage=triage,
    )
    save_bundle(bundle, config.bundle)
    development = report(predict(bundle, prepared.part("development")), config, prepared, "development")
    return Trained(bundle, prepared, development)


def _provenance(prepared: Prepared, config: TrainConfig) -> Provenance:
    chosen = config.model_dump_json(exclude={"bundle", "workspace", "tracking", "data"})
    return Provenance(
        name=config.name,
        corpus=prepared.digests["corpus"],
        split=prepared.digests["split"],
        codebook=prepared.digests["codebook"],
        config=hashlib.sha256(chosen.encode()).hexdigest(),
        commit=_commit(),
        secondlook=version("secondlook"),
        libraries={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, or None outside one or without git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
