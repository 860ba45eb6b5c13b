"""Second Look: a second look at how a case was handled.

>>> from secondlook import Scorer, load_bundle, default_bundle
>>> scorer = Scorer(load_bundle(default_bundle()))
>>> outcome = scorer.score(["She told the sergeant in confidence. He rang her husband that night."])[0]
>>> sorted(outcome.scores) == sorted(scorer.bundle.codebook.mode_ids)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secondlook.bundle import Bundle, default_bundle, load_bundle
    from secondlook.config import ScoreConfig
    from secondlook.errors import SecondLookError
    from secondlook.schema import Case, Evidence, Reject, Span
    from secondlook.scorer import Outcome, Scorer

__all__ = [
    "Bundle",
    "Case",
    "Evidence",
    "Outcome",
    "Reject",
    "ScoreConfig",
    "Scorer",
    "SecondLookError",
    "Span",
    "default_bundle",
    "load_bundle",
]

_HOME = {
    "Bundle": "bundle",
    "default_bundle": "bundle",
    "load_bundle": "bundle",
    "ScoreConfig": "config",
    "SecondLookError": "errors",
    "Case": "schema",
    "Evidence": "schema",
    "Reject": "schema",
    "Span": "schema",
    "Outcome": "scorer",
    "Scorer": "scorer",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use: ``secondlook --help`` must not wait for scikit-learn."""
    if name not in _HOME:
        raise AttributeError(f"module 'secondlook' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"secondlook.{_HOME[name]}"), name)
