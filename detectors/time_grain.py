"""What times are counted in: intervals end where a time can be."""

from __future__ import annotations

import math
from typing import Final

#: A queue's grain is known after so many pages that fit it; a page that does not counts against so many that do.
GRAIN_KNOWN: Final = 30
MOST_FITS: Final = 100
MISFIT: Final = 20
#: Seconds are told as logarithms and as fractions: their parts of a second are whole but for this.
_NEARLY: Final = 1e-6


class TimeGrain:
    """What a queue's times are counted in: whole seconds, or those divided by the answers of a page, as a rule.

    An interval can then end where times can be, which makes it narrower, and covers the same times.

    >>> grain = TimeGrain()
    >>> for seconds in range(7, 47):
    ...     grain.learn(float(seconds), answers=1)
    >>> grain.inward(3.2, 40.9), grain.inward(5.1, 5.2), TimeGrain().inward(3.2, 40.9)
    ((4.0, 40.0), (6.0, 5.0), (3.2, 40.9))
    """

    __slots__ = ("_fits", "_parts")

    def __init__(self, parts: int = 1, fits: int = 0) -> None:
        self._parts = parts
        """Parts of a second."""
        self._fits = fits
        """Pages that fitted, against those that did not."""

    def learn(self, seconds: float, answers: int) -> None:
        """See the time of one answer, of a page of so many."""
        counted = seconds * self._parts
        if -_NEARLY < counted - round(counted) < _NEARLY:
            if self._fits < MOST_FITS:
                self._fits += 1
        else:
            self._fits -= MISFIT
            if self._fits < 0:
                self._parts, self._fits = answers, 0

    def inward(self, low: float, high: float) -> tuple[float, float]:
        """The first and the last time (seconds) that can be between these; crossed if there is none."""
        if self._fits < GRAIN_KNOWN:
            return low, high
        parts = self._parts
        return math.ceil(low * parts) / parts, math.floor(high * parts) / parts

    def dump(self) -> list[int]:
        """As plain values, in the order of the constructor."""
        return [self._parts, self._fits]
