from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondlook.cli.common import check_engine
from secondlook.errors import ConfigError, RunError
from secondlook.scale.places import check_empty, upload


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "pages").mkdir(parents=True)
    for name in ("manifest.json", "queue.parquet", "pages/list-001.html"):
        (folder / name).write_text(json.dumps(name))
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_copied_to_an_address(run: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/bucket/runs/x"
    check_empty(address, replace=False)
    upload(run, address)
    assert _files(tmp_path / "bucket/runs/x") == _files(run)


def test_only_a_run_is_replaced_and_only_if_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    there = tmp_path / "bucket/x"
    address = f"file://{there}"
    upload(run, address)
    (run / "pages/list-001.html").unlink()
    with pytest.raises(RunError, match="holds something"):
        check_empty(address, replace=False)
    check_empty(address, replace=True)
    upload(run, address)
    assert _files(there) == _files(run)
    (there / "manifest.json").unlink()  # as a copy that was stopped leaves it
    check_empty(address, replace=True)
    (there / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="holds something"):
        check_empty(address, replace=True)


def test_an_address_that_cannot_be_opened_is_said(run: Path) -> None:
    with pytest.raises(RunError, match="is no address that can be opened"):
        upload(run, "nothing://bucket/x")


def test_an_address_needs_its_engine() -> None:
    with pytest.raises(ConfigError, match="add --engine ray"):
        check_engine(on_ray=False, address="auto")
