from __future__ import annotations

from pathlib import Path

import pytest

from secondlook.codebook import load_codebook
from secondlook.errors import CodebookError


def test_the_codebook_of_the_project(project: Path) -> None:
    codebook = load_codebook(project / "labels/codebook.yaml")
    assert len(codebook.mode_ids) == len(set(codebook.mode_ids))
    for mode in codebook.modes:
        assert mode.includes
        assert mode.excludes
        assert {example.holds for example in mode.examples} == {True, False}
    with pytest.raises(KeyError):
        codebook.mode("no_such_mode")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nversion: '1'\nmodes: []", "modes"),
        ("name: a\nversion: '1'\nmodes: [{id: macro, title: t, definition: d}]", "give the mode another id"),
        ("name: a\nversion: '1'\nmodes: [{id: Bad Id, title: t, definition: d}]", r"modes\.0\.id"),
        (
            "name: a\nversion: '1'\nmodes: [{id: a, title: t, definition: d}, {id: a, title: t, definition: d}]",
            "repeated: a",
        ),
        ("name: a\nversion: '1'\nmodes: [{id: a, titel: t, definition: d}]", "did you mean 'title'"),
    ],
)
def test_a_codebook_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_text(text)
    with pytest.raises(CodebookError, match=message):
        load_codebook(path)
