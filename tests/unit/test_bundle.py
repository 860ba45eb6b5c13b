from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from secondlook.bundle import load_bundle, save_bundle
from secondlook.config import TrainConfig
from secondlook.errors import BundleError, DigestError
from secondlook.prepare import load_prepared


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_a_bundle_scores_as_it_did_before_it_was_saved(tiny_config: TrainConfig, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_config.bundle)
    save_bundle(bundle, tmp_path / "again")
    again = load_bundle(tmp_path / "again")
    part = load_prepared(tiny_config.data).part("test")
    before = bundle.model.score(part.narratives, part.passages)
    after = again.model.score(part.narratives, part.passages)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert bundle.digest == again.digest


def test_no_file_of_a_bundle_can_hold_code(tiny_bundle: Path) -> None:
    names = {path.name for path in tiny_bundle.iterdir()} - {"metrics.json", "README.md", "plots", "evaluation.html"}
    common = {"manifest.json", "codebook.yaml", "calibration.json", "words.json"}
    assert names == common | {"vocabulary.json", "weights.safetensors"}


def test_any_changed_byte_is_noticed(copy: Path) -> None:
    recorded = json.loads((copy / "manifest.json").read_text())["files"]
    for name in recorded:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DigestError, match=name):
            load_bundle(copy)
        (copy / name).write_bytes(content)
    load_bundle(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors: is missing"):
        load_bundle(copy)


def _change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "secondlook-bundle/9"}, "format 'secondlook-bundle/9'"),
        ({"files": {"../x": "0" * 64}}, "outside the bundle"),
        ({"files": {}}, "gives no digest of calibration"),
        ({"pooling": {"kind": "other"}}, "is not a manifest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy: Path, changes: dict[str, object], message: str) -> None:
    _change_manifest(copy, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


@pytest.mark.parametrize("content", ["", "[]", "nonsense", "null"])
def test_a_broken_manifest_is_refused(copy: Path, content: str) -> None:
    (copy / "manifest.json").write_text(content)
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        load_bundle(tmp_path)


def test_saving_never_replaces_anything_but_a_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BundleError, match="other files"):
        save_bundle(load_bundle(tiny_bundle), tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_earlier_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(copy)
    written: list[Path] = []

    def full_disk(self: Path, data: bytes) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(self)
        return len(data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(BundleError, match="No space left"):
        save_bundle(bundle, copy)
    monkeypatch.undo()
    assert load_bundle(copy).digest == bundle.digest
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
