"""How well a model does, with intervals: resamples of whole groups, never of single narratives.

Narratives of one source case or one minimal pair are not independent; a bootstrap that draws them
one by one would claim too narrow intervals (Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from secondlook.metrics.curves import budget_points, precision_recall_points, reliability_points
from secondlook.metrics.narratives import evaluate_modes, macro_average_precision
from secondlook.metrics.pairs import evaluate_pairs, whole_pairs
from secondlook.metrics.predictions import Predictions
from secondlook.metrics.slices import evaluate_slices

__all__ = [
    "Predictions",
    "budget_points",
    "evaluate_modes",
    "evaluate_pairs",
    "evaluate_slices",
    "macro_average_precision",
    "precision_recall_points",
    "reliability_points",
    "whole_pairs",
]
