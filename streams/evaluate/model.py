"""The consensus model as the agents build it, under their settings."""

from __future__ import annotations

from streams.evaluate.truth import Model


def new_model() -> Model:
    """An empty model."""
    from detectors.beliefs import Beliefs

    return Beliefs()
