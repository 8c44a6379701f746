"""What an e-detector bets on: a few alternatives below the level, from the smallest drop that matters to a collapse.

A bet of size g pays ``(1 - g x) / (1 - g q)`` for a value x in [0, 1] where q is the level in control. Its mean is at
most 1 whenever the mean of x is at least q, whatever the law of x: it is an e-value. For answers (0 or 1) it is the
likelihood ratio of the level ``q (1 - g) / (1 - g q)`` against q, that is odds multiplied by 1 - g.
(J. Shin, A. Ramdas, A. Rinaldo, *E-detectors*, 2022, section 4: bounded random variables.)
"""

from __future__ import annotations

from typing import Final, NamedTuple

from detectors.change.finding import check_config

#: Multiples of the smallest drop, and how much is staked on each. With .4 on the first, a fall from .92 to .80 is found
#: a third of an answer sooner (of 57), and one to .60 nearly half an answer later (of 15).
DROPS: Final = (1.0, 2.0, 4.0)
WEIGHTS: Final = (0.3, 0.35, 0.35)
#: No bet is on less than this share of the level, and none stakes nearly everything on one value.
LOWEST_SHARE: Final = 0.3
LARGEST: Final = 0.98


class Bet(NamedTuple):
    """A size g (0 to 1), and its share of the stake."""

    size: float
    weight: float


def bets_on(level: float, smallest_drop: float, variance: float | None = None) -> tuple[Bet, ...]:
    """Bets on falls from a level, by the smallest drop and more.

    Args:
        level: mean in control, above 0 and below 1.
        smallest_drop: the smallest fall that must be found, in units of the level; below the level.
        variance: of one value in control, where values are not 0 or 1 (those have ``level * (1 - level)``).

    Raises:
        ValueError: a number is out of range.

    >>> for bet in bets_on(0.92, 0.1):
    ...     print(f"{bet.size:.3f} {bet.weight:.2f} {0.92 * (1 - bet.size) / (1 - 0.92 * bet.size):.2f}")
    0.604 0.30 0.82
    0.776 0.35 0.72
    0.906 0.35 0.52
    """
    check_config(0.0 < level < 1.0, f"level must be above 0 and below 1, not {level}")
    check_config(0.0 < smallest_drop < level, f"smallest_drop must be above 0 and below the level, not {smallest_drop}")
    spread = level * (1.0 - level) if variance is None else variance
    check_config(0.0 < spread <= 0.25, f"variance must be above 0 and at most 0.25, not {variance}")
    most = max(smallest_drop, level * (1.0 - LOWEST_SHARE))
    bets: list[Bet] = []
    for multiple, weight in zip(DROPS, WEIGHTS, strict=True):
        drop = min(multiple * smallest_drop, most)
        # for answers the stake of the likelihood ratio, else Kelly's to second order
        growth = drop / spread if variance is None else drop / (spread + drop * drop)
        size = min(growth / (1.0 + growth * level), LARGEST)
        if bets and bets[-1].size == size:
            bets[-1] = Bet(size, bets[-1].weight + weight)
        else:
            bets.append(Bet(size, weight))
    return tuple(bets)
