"""All state of a model of handling times: what is dumped whole, and its memories."""

from __future__ import annotations

import json

from detectors.expected_time import ExpectedTimes
from detectors.labeler_speed import SpeedKey


def dumped(model: ExpectedTimes) -> str:
    """Everything that a restart needs, as JSON."""
    memories = {kind: memory.dump() for kind, memory in model.memories.items()}
    return json.dumps([model.dump(), memories], allow_nan=False)


def restored(payload: str) -> ExpectedTimes:
    """The inverse."""
    model = ExpectedTimes()
    state, memories = json.loads(payload)
    model.load(state)
    model.memories["speed"].load((SpeedKey(*key), plain) for key, plain in memories["speed"])
    model.memories["task_time"].load((key, plain) for key, plain in memories["task_time"])
    return model
