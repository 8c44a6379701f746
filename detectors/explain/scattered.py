"""Some labelers, or most of them: how likely each share of them is to have changed, nobody knows which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.explain.chance import Tally, tally_sum

_Key = TypeVar("_Key")

SOME: Final = np.arange(1, 11) / 20
"""Shares of the labelers that "some" may be: a half at most."""
MOST: Final = np.append(np.arange(11, 20) / 20, 0.99)
"""More than half of them, up to nearly all."""
SURE: Final = 0.8
"""Chance from which on a labeler is held to be one of those who changed."""
_RATIOS: Final = np.geomspace(1.4, 64.0, 34)
"""By how many times as often those err: a little more often everybody does, by the hour of the day."""
_TIMES: Final = np.geomspace(0.5, 20.0, 25)
"""Of means: how many times the change of all theirs may be."""
_MOST_NATS: Final = 500.0
"""That a float's exponential can hold."""


def share_nats(tallies: Iterable[Tally], shares: npt.NDArray[np.float64]) -> float:
    """What speaks for "such a share of the labelers changed, nobody knows which": nats of a mixture.

    Each changed with one chance, and then as much as the others who did, or did not change. Of how much the best is
    taken, and the mean over the shares.

    >>> def tally(wrong):
    ...     found = Tally()
    ...     found.add_events(80, 1_000, wrong, 20)
    ...     return found
    >>> alike, two = [tally(6)] * 10, [tally(14)] * 2 + [tally(1.6)] * 8
    >>> [round(share_nats(one, MOST) - share_nats(one, SOME), 1) for one in (alike, two)]
    [7.0, -3.8]
    """
    told = [tally for tally in tallies if tally.information > 0]
    if not told:
        return 0.0
    of_share = _mixed(_nats(told), shares).sum(axis=2).max(axis=1)
    return float(np.logaddexp.reduce(of_share)) - math.log(len(shares))


def surely_changed(tallies: Mapping[_Key, Tally]) -> list[_Key]:
    """Who of some labelers, a half at most, are so: `SURE` of each, whatever share it is and however much they changed.

    >>> def tally(wrong):
    ...     found = Tally()
    ...     found.add_events(80, 1_000, wrong, 20)
    ...     return found
    >>> surely_changed({"ann": tally(2), "bob": tally(14), "cy": tally(1), "di": tally(4), "eve": tally(9)})
    ['bob', 'eve']
    """
    told = {key: tally for key, tally in tallies.items() if tally.information > 0}
    if not told:
        return []
    nats = _nats(list(told.values()))
    mixed = _mixed(nats, SOME)
    weight = mixed.sum(axis=2)
    weight = np.exp(weight - weight.max())
    chance = SOME[:, None, None] * np.exp(nats - mixed)
    believed = (weight[:, :, None] * chance).sum(axis=(0, 1)) / weight.sum()
    return [key for key, one in zip(told, believed.tolist(), strict=True) if one >= SURE]


def _nats(tallies: list[Tally]) -> npt.NDArray[np.float64]:
    """What speaks for a change of each labeler, by how much it is (first axis)."""
    observed, expected, events, variance, information = (
        np.array([getattr(tally, name) for tally in tallies])
        for name in ("observed", "expected", "events", "variance", "information")
    )
    if events.any():
        ratio = _RATIOS[:, None]
        of_all = np.maximum(events, 1e-9)
        nats = observed * np.log(ratio) - events * np.log(1.0 + (ratio - 1.0) * expected / of_all)
    else:
        moved = _TIMES[:, None] * tally_sum(tallies).change * information
        nats = (moved * (observed - expected) - moved * moved / 2) / np.maximum(variance, 1e-9)
    capped: npt.NDArray[np.float64] = np.minimum(nats, _MOST_NATS)
    return capped


def _mixed(nats: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same if only a share of them changed: by share, how much, and labeler."""
    mixed: npt.NDArray[np.float64] = np.log1p(shares[:, None, None] * np.expm1(nats))
    return mixed
