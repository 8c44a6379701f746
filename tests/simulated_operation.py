"""A small operation of the simulator for tests: two projects, two vendors, and the incidents that a test asks for."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from streams.sources.simulation.scenario import Scenario, parse_scenario

BASE: dict[str, Any] = {
    "name": "test",
    "duration": "12h",
    "projects": [
        {
            "id": "images",
            "task_type": "image_class",
            "kind": "class",
            "classes": {"cat": 3, "dog": 3, "owl": 2},
            "handling_seconds": 45,
            "gold_share": 0.1,
        },
        {
            "id": "videos",
            "task_type": "video_rating",
            "kind": "rating",
            "classes": {"1": 1, "2": 2, "3": 1},
            "handling_seconds": 60,
        },
    ],
    "vendors": [
        {
            "id": name,
            "time_zone": "UTC",
            "labelers": 8,
            "projects": ["images", "videos"],
            "accuracy": 0.9,
            "shift_starts": [0.5],
            "shift_hours": 10,
        }
        for name in ("north", "south")
    ],
}
START, END = "5h", "8h"


def scenario_with(**incident: Any) -> Scenario:
    data = copy.deepcopy(BASE)
    data["incidents"] = [{"id": "trouble", "start": START, "end": END, **incident}]
    return parse_scenario(yaml.safe_dump(data), "test")
