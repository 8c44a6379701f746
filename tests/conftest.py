"""Settings of the whole suite: hypothesis without deadlines, and with fixed examples in CI."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

gc.disable()  # until all is collected: what is imported and collected stays, and looking through it takes seconds
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does, before NumPy is imported

_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

# Shared machines stall: a deadline would test the machine. Examples are few because the suite is run all day.
settings.register_profile("local", deadline=None, max_examples=50, suppress_health_check=_QUIET)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("local"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "local"))


def pytest_collection_finish() -> None:
    """From here on garbage is looked for in what tests make, not among the tests themselves."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of the environment the tests run in; returns the monkeypatch to set some with."""
    for name in list(os.environ):
        if name.upper().startswith("LABELWATCH_"):
            monkeypatch.delenv(name)
    return monkeypatch
