"""Whatever comes, nothing is raised, every file is accounted for, and the reason says what it was."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("docx", reason="the extra 'documents' is not installed")

from secondlook.readers import read_cases
from secondlook.readers.checks import printable
from secondlook.schema import Case, Reject


def test_every_hostile_input_is_a_case_or_a_reject_that_says_why(tmp_path: Path, project: Path) -> None:
    make = runpy.run_path(str(project / "tests/hostile/make.py"))["make"]
    expected: dict[Path, Any] = make(tmp_path / "inbox")
    assert len(expected) >= 60
    items = list(read_cases([tmp_path / "inbox"]))
    wrong = {}
    for path, outcome in expected.items():
        name = printable(path.as_posix())
        own = [item for item in items if item.file == name or item.file.startswith(f"{name}/")]
        if not _came(outcome, own):
            wrong[path.name] = [item.reason if isinstance(item, Reject) else item.narrative[:200] for item in own]
    assert not wrong
    assert any("\r" in path.name for path in expected)
    assert all(item.file.isprintable() for item in items)


def _came(outcome: Any, items: Sequence[Case | Reject]) -> bool:
    """Whether a file gave the narrative, or was rejected for the reason, that ``make.py`` says."""
    if isinstance(outcome, str):
        return any(outcome in item.reason for item in items if isinstance(item, Reject))
    return any(outcome.narrative in (None, item.narrative) for item in items if isinstance(item, Case))
