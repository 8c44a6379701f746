"""Why a metric changed, by arithmetic: who contributed how much, what the simplest cause is. See docs/explain.md."""

from detectors.explain.cause import Verdict
from detectors.explain.cells import DIMENSIONS, Dimension, Row, Totals
from detectors.explain.chance import Spread
from detectors.explain.counterfactual import Without, without
from detectors.explain.decompose import PairShare
from detectors.explain.explanation import Cause, Contribution, Explanation, Named, Summary, explain

__all__ = [
    "DIMENSIONS",
    "Cause",
    "Contribution",
    "Dimension",
    "Explanation",
    "Named",
    "PairShare",
    "Row",
    "Spread",
    "Summary",
    "Totals",
    "Verdict",
    "Without",
    "explain",
    "without",
]
