"""Labelers whose handling times are drawn from a known law, for tests of forecasts."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from detectors.expected_time import Work

STEP_MS = 7_000
START_MS = 1_767_600_000_000


class Slowdown(NamedTuple):
    """From an event on (counted over all projects), a project's times are so many times as long."""

    project_id: str
    at_event: int
    factor: float


def simulated(
    seed: int,
    events: int,
    *,
    projects: int = 3,
    labelers: int = 24,
    differ: float = 0.4,
    noise: float = 0.4,
    slowdown: Slowdown | None = None,
    task_types: int = 1,
) -> Iterator[Work]:
    """Log-normal times: a level per project, a speed per labeler, an effect per task, and noise."""
    draw = random.Random(seed)
    speeds = {f"labeler-{n}": draw.gauss(0.0, differ) for n in range(labelers)}
    levels = {f"project-{n}": math.log(draw.uniform(15.0, 60.0)) for n in range(projects)}
    efforts: dict[str, float] = {}
    names, queues = list(speeds), list(levels)
    for at in range(events):
        project, labeler = draw.choice(queues), draw.choice(names)
        task = f"{project}-task-{at // 40}-{draw.randrange(8)}"
        effort = efforts.setdefault(task, draw.gauss(0.0, 0.2))
        log_seconds = levels[project] + speeds[labeler] + effort + draw.gauss(0.0, noise)
        if slowdown is not None and project == slowdown.project_id and at >= slowdown.at_event:
            log_seconds += math.log(slowdown.factor)
        seconds = round(math.exp(log_seconds), 3)
        submitted_ms = START_MS + at * STEP_MS
        yield Work(
            labeler_id=labeler,
            project_id=project,
            task_type=f"type-{queues.index(project) % task_types}",
            vendor_id=f"vendor-{names.index(labeler) % 3}",
            task_id=task,
            started_ms=submitted_ms - int(seconds * 1_000),
            submitted_ms=submitted_ms,
            seconds=seconds,
            features={"length": 10 + at % 7},
        )
