"""Every experiment that the log names can still be started: what it imports is there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def test_it_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(path.parent))
    try:
        runpy.run_path(str(path), run_name=f"experiment_{path.stem}")
    except ModuleNotFoundError as missing:
        if (missing.name or "secondlook").partition(".")[0] in ("secondlook", *(path.stem for path in EXPERIMENTS)):
            raise
        pytest.skip(f"{missing.name} is not installed")
