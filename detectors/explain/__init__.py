"""Why a metric changed, by arithmetic: who contributed how much, what the simplest cause is. See docs/explain.md."""

from detectors.explain.cause import Verdict
from detectors.explain.cells import DIMENSIONS, Dimension, Row, Totals
from detectors.explain.chance import Spread
from detectors.explain.counterfactual import Without, without
from detectors.explain.decompose import PairShare
from detectors.explain.explanation import TOO_EARLY, Cause, Contribution, Explanation, Named, Summary, explain
from detectors.explain.onset import onset, since
from detectors.explain.place import Meanwhile, Others, Place, by_place, is_shared

__all__ = [
    "DIMENSIONS",
    "TOO_EARLY",
    "Cause",
    "Contribution",
    "Dimension",
    "Explanation",
    "Meanwhile",
    "Named",
    "Others",
    "PairShare",
    "Place",
    "Row",
    "Spread",
    "Summary",
    "Totals",
    "Verdict",
    "Without",
    "by_place",
    "explain",
    "is_shared",
    "onset",
    "since",
    "without",
]
