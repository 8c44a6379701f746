"""The models as the agents build them, under the settings in force."""

from __future__ import annotations

from typing import NamedTuple

from detectors.beliefs import Beliefs
from detectors.expected_time import ExpectedTimes
from detectors.forgetting import HalfLives
from streams.settings import Settings


class Models(NamedTuple):
    """What one source partition learns with."""

    beliefs: Beliefs
    expected_times: ExpectedTimes


def new_models(settings: Settings) -> Models:
    """Models that have seen nothing."""
    ours = settings.reliability
    half_lives = HalfLives(annotations=ours.half_life_annotations, days=ours.half_life_days)
    return Models(Beliefs(half_lives, ours.max_classes), ExpectedTimes())
