"""The codebook: the set of failure modes, read from ``labels/codebook.yaml``.

Nothing in the package knows how many modes there are, nor their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from secondlook.config import Strict, load_yaml, parse
from secondlook.errors import CodebookError


class Example(Strict):
    """A worked example: a short text, whether the mode holds, and why."""

    text: str
    holds: bool
    why: str


RESERVED = frozenset({"macro", "all"})


class Mode(Strict):
    """One failure mode.

    ``severity`` weighs it in the priority of a case. ``evidence: optional`` admits positives without
    spans. ``cues`` are the obvious words, which the corpus audit counts and no model reads.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    title: str
    definition: str
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    severity: Annotated[float, Field(gt=0)] = 1.0
    evidence: Literal["required", "optional"] = "required"
    cues: tuple[str, ...] = ()


class Codebook(Strict):
    """A named, versioned set of modes."""

    name: str
    version: str
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)]

    @property
    def mode_ids(self) -> tuple[str, ...]:
        """The modes' ids, in the codebook's order."""
        return tuple(mode.id for mode in self.modes)

    @field_validator("modes")
    @classmethod
    def _no_mode_is_a_summary(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        if taken := [mode.id for mode in modes if mode.id in RESERVED]:
            raise ValueError(f"'{taken[0]}' is what tables call their summaries; give the mode another id")
        return modes

    def mode(self, mode_id: str) -> Mode:
        """The mode with this id; KeyError if there is none."""
        for mode in self.modes:
            if mode.id == mode_id:
                return mode
        raise KeyError(mode_id)


def load_codebook(path: Path) -> Codebook:
    """Read and check a codebook.

    Raises:
        CodebookError: names the file, the key and what would fit.
    """
    codebook = parse(path, load_yaml(path, CodebookError) or {}, Codebook, CodebookError)
    ids = codebook.mode_ids
    repeated = sorted({mode for mode in ids if ids.count(mode) > 1})
    if repeated:
        raise CodebookError(f"{path}: mode ids must differ; repeated: {', '.join(repeated)}")
    return codebook
