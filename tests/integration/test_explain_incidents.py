"""Simulated incidents are explained by what the simulator did."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from benchmarks.explanation import Outcome, run
from streams.sources.simulation.scenario import Scenario, parse_scenario

pytestmark = pytest.mark.integration

BASE: dict[str, Any] = {
    "name": "explained",
    "duration": "9h",
    "projects": [
        {
            "id": "images",
            "task_type": "image_class",
            "kind": "class",
            "classes": {"cat": 3, "dog": 3, "owl": 2},
            "handling_seconds": 45,
            "gold_share": 0.1,
        }
    ],
    "vendors": [
        {
            "id": name,
            "time_zone": "UTC",
            "labelers": 8,
            "projects": ["images"],
            "accuracy": 0.9,
            "shift_starts": [0.5],
            "shift_hours": 8,
        }
        for name in ("north", "south")
    ],
}


def scenario_with(**incident: Any) -> Scenario:
    data = copy.deepcopy(BASE)
    data["incidents"] = [{"id": "trouble", "start": "5h", "end": "8h", **incident}]
    return parse_scenario(yaml.safe_dump(data), "test")


def outcomes(**incident: Any) -> list[Outcome]:
    return run(scenario_with(**incident), seed=5, gold=False)


@pytest.mark.parametrize(
    ("incident", "verdict", "labelers"),
    [
        ({"type": "spammer_wave", "target": {"project": "images", "labelers": 3}}, "labelers", 3),
        (
            {"type": "spammer_wave", "target": {"project": "images", "vendor": "north", "labelers": 3, "new": True}},
            "labelers",
            3,
        ),
        ({"type": "speeding_bots", "target": {"project": "images", "labelers": 2}}, "labelers", 2),
        ({"type": "guideline_change", "target": {"project": "images"}, "classes": ["cat", "dog"]}, "class_pair", 0),
        (
            {"type": "guideline_change", "target": {"project": "images", "vendor": "south"}, "classes": ["cat", "dog"]},
            "class_pair",
            0,
        ),
        (
            {"type": "missing_class", "target": {"project": "images"}, "classes": ["owl"], "instead": "cat"},
            "class_pair",
            0,
        ),
        ({"type": "vendor_degradation", "target": {"vendor": "south"}, "strength": 0.2}, "vendor", 0),
        ({"type": "handling_time_drift", "target": {"project": "images"}}, "everyone", 0),
    ],
)
def test_the_cause_is_named(incident: dict[str, Any], verdict: str, labelers: int) -> None:
    trouble, quiet = outcomes(**incident)
    assert (trouble.verdict, trouble.right_first) == (verdict, True)
    assert (trouble.named, trouble.false_named) == (labelers, 0)
    assert trouble.share > 0.6
    assert (quiet.what, quiet.right_first, quiet.named) == ("(quiet)", True, 0)
