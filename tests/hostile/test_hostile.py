"""Whatever comes, nothing is raised, every file is accounted for, and the reason says what it was."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("docx", reason="the extra 'documents' is not installed")

from secondlook.readers import read_cases
from secondlook.schema import Case, Reject


def test_every_hostile_input_is_a_case_or_a_reject_that_says_why(tmp_path: Path, project: Path) -> None:
    make = runpy.run_path(str(project / "tests/hostile/make.py"))["make"]
    expected: dict[Path, str] = make(tmp_path / "inbox")
    assert len(expected) >= 60
    items = list(read_cases([tmp_path / "inbox"]))
    wrong = {}
    for path, outcome in expected.items():
        own = [item for item in items if item.file == path.as_posix() or item.file.startswith(f"{path.as_posix()}/")]
        reasons = [item.reason for item in own if isinstance(item, Reject)]
        found = any(outcome in reason for reason in reasons) if outcome else any(isinstance(i, Case) for i in own)
        if not found:
            wrong[path.name] = reasons
    assert not wrong
    assert all(item.file.isprintable() for item in items)
