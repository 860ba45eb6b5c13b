"""The model as MLflow serves it: logged from this code, so that loading it unpickles nothing.

Input: a frame with a ``narrative`` column. Output: what :meth:`secondlook.scorer.Scorer.frame` says of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from secondlook.scorer import Scorer


class SecondLookModel(PythonModel):
    """Scores narratives with the bundle logged beside it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle and check its digests."""
        self.scorer = Scorer.load(Path(context.artifacts["bundle"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score a frame of narratives; returns a frame with a row for each."""
        found = self.scorer.frame(model_input["narrative"]).astype(object)
        return found.where(found.notna(), None)  # JSON knows null, and no NaN


set_model(SecondLookModel())
