"""Metrics that one cause moves together: where a broad alert makes a narrower one needless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from schemas.thresholds import MetricName

Family = Literal["quality", "time", "stream", "silence"]
"""``silence`` is of alerts that no values come, whatever the metric."""

#: Every metric's family; a test holds it to the registry.
FAMILIES: Final[Mapping[MetricName, Family]] = {
    "gold_accuracy": "quality",
    "consensus_agreement": "quality",
    "krippendorff_alpha": "quality",
    "mean_confidence": "quality",
    "calibration_error": "quality",
    "reviewer_reject_rate": "quality",
    "label_distance_own": "quality",
    "label_distance_peers": "quality",
    "repeated_answer_share": "quality",
    "constant_answer_share": "quality",
    "aht_seconds": "time",
    "forecast_error": "time",
    "interval_coverage_90": "time",
    "too_fast_share": "time",
    "too_slow_share": "time",
    "invalid_share": "stream",
    "late_share": "stream",
    "volume": "stream",
    "stall_seconds": "stream",
    "lag_seconds": "stream",
}
