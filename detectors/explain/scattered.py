"""Some labelers, or all of them: what speaks for "some of them changed, nobody knows which"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.explain.chance import Tally, tally_sum

SOME: Final = np.arange(1, 11) / 20
"""Shares of the labelers that "some" may be: a half at most."""
MOST: Final = np.arange(11, 20) / 20
"""More than half of them, as those who follow a new guideline."""
_RATIOS: Final = np.geomspace(1.2, 50.0, 25)
"""By how much more often those may err."""
_MOST_NATS: Final = 500.0
"""That a float's exponential can hold."""
_TIMES: Final = np.geomspace(0.5, 20.0, 25)
"""Of means: how many times the change of all theirs may be."""


def scattered_nats(tallies: Iterable[Tally], shares: npt.NDArray[np.float64] = SOME) -> float:
    """What speaks for "some labelers, each on their own", though nobody knows which: nats of a mixture.

    Each changed with one chance, and then as much as the others who did, or did not change. Which share of them it is
    is not known: the likelihood is the mean over them (up to a half). Where that is as likely as a change of all alike,
    it is too early to say that it was all; to say so costs no more, since each has one change to choose.

    >>> def tally(wrong):
    ...     found = Tally()
    ...     found.add_events(80, 1_000, wrong, 20)
    ...     return found
    >>> alike, two = [tally(6)] * 10, [tally(14)] * 2 + [tally(1.6)] * 8
    >>> [round(scattered_nats(one) - tally_sum(one).nats, 1) for one in (alike, two)]
    [-8.5, 15.6]
    """
    told = [tally for tally in tallies if tally.information > 0]
    if not told:
        return 0.0
    observed, expected, events, variance, information = (
        np.array([getattr(tally, name) for tally in told])
        for name in ("observed", "expected", "events", "variance", "information")
    )
    if events.any():
        ratio = _RATIOS[:, None]
        of_all = np.maximum(events, 1e-9)
        nats = observed * np.log(ratio) - events * np.log(1.0 + (ratio - 1.0) * expected / of_all)
    else:
        moved = _TIMES[:, None] * tally_sum(told).change * information
        nats = (moved * (observed - expected) - moved * moved / 2) / np.maximum(variance, 1e-9)
    some = shares[:, None, None]
    best = np.log1p(some * np.expm1(np.minimum(nats, _MOST_NATS))).sum(axis=2).max(axis=1)
    return float(np.logaddexp.reduce(best)) - math.log(len(shares))
