"""The bundle: everything a trained model needs to score, in one folder, as data and never as code.

=======================  ==========================================================================
file                     what it holds
=======================  ==========================================================================
``manifest.json``        format version, model kind and settings, provenance, and the SHA-256 of every
                         other file below
``codebook.yaml``        the modes the model was trained for, as they were then
``calibration.json``     per mode: Platt scaling with its covariance, operating point, the counts they rest on
``words.json``           the words that training saw: a narrative of others is another language
``model.onnx``           the encoder, int8 (transformer model)
``tokenizer.json``       what cuts text into its tokens (transformer model)
``vocabulary.json``      terms in the order of the weights (linear model, or the one beside a transformer)
``weights.safetensors``  numbers (the same)
``stack.json``           how much a transformer and the linear model beside it count, for each mode
``triage.json``          what the linear model alone may clear, and what that costs (the same; see ``triage``)
=======================  ==========================================================================

Beside them, undigested because they describe the bundle and do not score: ``metrics.json``,
``README.md`` (the card), ``plots/`` and ``evaluation.html``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from secondlook.calibration import Calibration, OperatingPoint
from secondlook.codebook import Codebook, load_codebook
from secondlook.config import LinearModelConfig, ModelConfig, PoolingConfig, Strict, TransformerModelConfig
from secondlook.encoder.session import MODEL, TOKENIZER, TransformerEvidenceModel
from secondlook.errors import BundleError, DigestError
from secondlook.language import KnownWords
from secondlook.schema import Span
from secondlook.stacked import STACK, StackedEvidenceModel
from secondlook.storage import MANIFEST, whole_folder
from secondlook.triage import Triage

KIND = "secondlook-bundle"
FORMAT = f"{KIND}/4"
_COMMON = frozenset({"codebook.yaml", "calibration.json", "words.json"})
_LINEAR = frozenset({"vocabulary.json", "weights.safetensors"})
_TRANSFORMER = frozenset({MODEL, TOKENIZER})
_BESIDE = frozenset({"metrics.json", "README.md", "plots/*", "evaluation.html"})
_TRIAGE = "triage.json"
_NAMES = _COMMON | _LINEAR | _TRANSFORMER | _BESIDE | {STACK, _TRIAGE, MANIFEST}


class ModeCalibration(Strict):
    """How one mode's pooled log-odds become a probability and a flag."""

    calibration: Calibration
    operating_point: OperatingPoint


class Provenance(Strict):
    """What a bundle was made from: digests are SHA-256, ``commit`` is git's or None outside a checkout."""

    name: str
    corpus: str
    split: str
    codebook: str
    config: str
    commit: str | None
    secondlook: str
    libraries: dict[str, str]


class EvidenceModel(Protocol):
    """What a bundle asks of a model: log-odds for every passage and mode, as plain data on disk.

    One that takes its narratives one by one may also have ``iterate``, which gives what ``score`` does as it goes.
    """

    @property
    def config(self) -> LinearModelConfig | TransformerModelConfig:
        """The choices it was made with."""

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[NDArray[np.float64]]:
        """Log-odds for each narrative. *Shape of each:* ``(passages, modes)``."""

    def to_files(self) -> dict[str, bytes]:
        """The model as named files."""


class Manifest(Strict):
    """The contents of ``manifest.json``."""

    format: str
    model: ModelConfig
    pooling: PoolingConfig
    provenance: Provenance
    files: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A trained model and what turns its scores into flags."""

    codebook: Codebook
    model: EvidenceModel
    words: KnownWords
    pooling: PoolingConfig
    modes: Mapping[str, ModeCalibration]
    provenance: Provenance
    triage: Triage | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest, and so of everything that scores."""
        return hashlib.sha256(_files(self)[MANIFEST]).hexdigest()


def default_bundle() -> Path:
    """The bundle that comes with this installation: in the wheel, or ``models/default`` of a checkout."""
    packaged = Path(__file__).parent / "models" / "default"
    return packaged if packaged.exists() else Path(__file__).parents[2] / "models" / "default"


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle whole or not at all: an earlier one in the same place stays until the new one is complete.

    Raises:
        BundleError: the folder cannot be written (a full disk, say); the earlier bundle is intact.
    """
    try:
        with whole_folder(folder, KIND, _NAMES) as fresh:
            for name, content in _files(bundle).items():
                (fresh / name).write_bytes(content)
    except FileExistsError as cause:
        raise BundleError(f"{cause}; choose another folder for the bundle") from None
    except OSError as cause:
        raise BundleError(f"{folder}: the bundle could not be written ({cause}); the earlier one is intact") from None


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check every byte of it.

    Raises:
        BundleError: not a bundle, another format, a file missing or not fitting the others.
        DigestError: a file's bytes are not those that were saved.
    """
    manifest = _read_manifest(folder)
    files = {name: _read_checked(folder, name, digest) for name, digest in manifest.files.items()}
    try:
        codebook = load_codebook(folder / "codebook.yaml")
        calibrations = json.loads(files["calibration.json"])
        modes = {mode: ModeCalibration.model_validate(calibrations[mode]) for mode in codebook.mode_ids}
        model = model_from_files(files, codebook.mode_ids, manifest.model)
        words = KnownWords.from_bytes(files["words.json"])
        triage = Triage.model_validate_json(files[_TRIAGE]) if _TRIAGE in files else None
        if triage and not {*codebook.mode_ids} == triage.first_pass.keys() == triage.stand_in.keys():
            raise ValueError(f"{_TRIAGE} is of other modes")
    except (KeyError, ValueError) as cause:
        raise BundleError(
            f"{folder}: its files do not fit together ({cause}); train or fetch the bundle again"
        ) from None
    return Bundle(codebook, model, words, manifest.pooling, modes, manifest.provenance, triage)


def model_from_files(
    files: Mapping[str, bytes], modes: Sequence[str], config: LinearModelConfig | TransformerModelConfig
) -> EvidenceModel:
    """The model that ``to_files`` wrote; KeyError or ValueError if the files do not fit together."""
    if isinstance(config, LinearModelConfig):
        from secondlook.baseline import LinearEvidenceModel  # scikit-learn takes a second to load

        return LinearEvidenceModel.from_files(files, modes, config)
    kind = TransformerEvidenceModel if config.linear is None else StackedEvidenceModel
    return kind.from_files(files, modes, config)


def _needed(config: LinearModelConfig | TransformerModelConfig) -> frozenset[str]:
    """The files that a model of this configuration cannot do without."""
    if isinstance(config, LinearModelConfig):
        return _COMMON | _LINEAR
    return _COMMON | _TRANSFORMER | (_LINEAR | {STACK} if config.linear else frozenset())


def _files(bundle: Bundle) -> dict[str, bytes]:
    codebook = yaml.safe_dump(bundle.codebook.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=100)
    calibration = {mode: settings.model_dump() for mode, settings in bundle.modes.items()}
    files = bundle.model.to_files() | {
        "codebook.yaml": codebook.encode(),
        "calibration.json": _json(calibration),
        "words.json": bundle.words.to_bytes(),
    }
    if bundle.triage:
        files[_TRIAGE] = _json(bundle.triage.model_dump())
    manifest = Manifest(
        format=FORMAT,
        model=bundle.model.config,
        pooling=bundle.pooling,
        provenance=bundle.provenance,
        files={name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    )
    return files | {MANIFEST: _json(manifest.model_dump(mode="json"))}


def _json(data: Any) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(
            f"{folder}: is not a bundle: it has no {MANIFEST}; give the folder that training wrote"
        ) from None
    except (OSError, ValueError) as cause:
        raise BundleError(f"{path}: cannot be read ({cause}); train or fetch the bundle again") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{path}: the bundle has the format '{found}' and this version reads '{FORMAT}'; "
            "install the version that made it, or train it again"
        )
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as cause:
        raise BundleError(f"{path}: is not a manifest ({cause.error_count()} fields do not fit)") from None
    if unsafe := [name for name in manifest.files if Path(name).name != name]:
        raise BundleError(f"{path}: names files outside the bundle: {', '.join(unsafe)}")
    if missing := sorted(_needed(manifest.model) - manifest.files.keys()):
        raise BundleError(f"{path}: gives no digest of {', '.join(missing)}; train or fetch the bundle again")
    return manifest


def _read_checked(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{folder / name}: is missing from the bundle; train or fetch it again") from None
    except OSError as cause:
        raise BundleError(f"{folder / name}: cannot be read ({cause})") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise DigestError(f"{folder / name}: was changed since the bundle was saved; train or fetch the bundle again")
    return content
