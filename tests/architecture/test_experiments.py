"""Every experiment that the log names can still be started: what it imports is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def test_it_finds_what_it_imports(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(path.parent))
    before = set(sys.modules)
    specification = importlib.util.spec_from_file_location(f"experiment_{path.parent.name}_{path.stem}", path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    try:
        monkeypatch.setitem(sys.modules, specification.name, module)
        specification.loader.exec_module(module)
    except ModuleNotFoundError as missing:
        if (missing.name or "secondlook").partition(".")[0] in ("secondlook", *(path.stem for path in EXPERIMENTS)):
            raise
        pytest.skip(f"{missing.name} is not installed")
    finally:
        for name in set(sys.modules) - before:
            if (ROOT / "experiments") in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
                del sys.modules[name]
