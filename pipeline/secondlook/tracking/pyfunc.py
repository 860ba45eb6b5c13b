"""The model as MLflow serves it: logged from this code, so that loading it unpickles nothing.

Input: a frame with a ``narrative`` column. Output: ``priority`` and, for each mode, ``p_<mode>`` from
``low_<mode>`` to ``high_<mode>``, ``flag_<mode>`` and ``evidence_<mode>``, the sentences with the largest
shares (a list). A narrative that the model cannot judge has empty fields and a ``reason``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from secondlook.bundle import load_bundle
from secondlook.scorer import Scorer
from secondlook.text import split_passages


class SecondLookModel(PythonModel):
    """Scores narratives with the bundle logged beside it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle and check its digests."""
        self.scorer = Scorer(load_bundle(Path(context.artifacts["bundle"])))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score a frame of narratives; returns a frame with a row for each."""
        return pd.DataFrame([self._row(text) for text in model_input["narrative"]])

    def _row(self, narrative: Any) -> dict[str, Any]:
        modes = self.scorer.bundle.codebook.mode_ids
        reason = self._reason(narrative)
        if reason:
            empty = {f"{field}_{mode}": None for mode in modes for field in ("p", "low", "high", "flag", "evidence")}
            return {"priority": None, **empty, "reason": reason}
        outcome = self.scorer.score([narrative])[0]
        row: dict[str, Any] = {"priority": outcome.priority}
        for mode in modes:
            row[f"p_{mode}"] = outcome.scores[mode]
            row[f"low_{mode}"], row[f"high_{mode}"] = outcome.intervals[mode]
            row[f"flag_{mode}"] = outcome.flags[mode]
            spans = [evidence.span for evidence in outcome.evidence if evidence.mode == mode]
            row[f"evidence_{mode}"] = [narrative[start:end] for start, end in spans]
        return {**row, "reason": None}

    def _reason(self, narrative: Any) -> str | None:
        """Why there is no score."""
        if not isinstance(narrative, str):
            return "the narrative is not text"
        return self.scorer.unreadable(narrative) if split_passages(narrative) else "the narrative is empty"


set_model(SecondLookModel())
