"""Parameters of River's detectors for an average run length: found by `calibrate_river` (seed 1), kept as data.

For answers (0 or 1) they depend on the level in control: the next lower one of the table is taken, which is on the safe
side, as answers vary more there. Between ARLs they are interpolated on logarithmic scales. For up, mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from detectors.change.finding import Direction, check_config
from detectors.change.river_adapters import Adwin, Kswin, PageHinkleyMethod

ARLS: Final = (500.0, 2_000.0, 8_000.0)
#: ADWIN's delta by level and ARL, checked at every value. It hardly ever fires: .947 is the highest that was tried.
ADWIN_DELTAS: Final = {
    0.7: (0.947, 0.685, 0.274),
    0.8: (0.947, 0.685, 0.246),
    0.85: (0.947, 0.764, 0.305),
    0.9: (0.947, 0.806, 0.322),
    0.92: (0.947, 0.898, 0.4),
    0.95: (0.947, 0.947, 0.47),
    0.98: (0.947, 0.947, 0.723),
}
#: Page-Hinkley's threshold by level and ARL, at a delta of .05.
PAGE_HINKLEY_THRESHOLDS: Final = {
    0.7: (5.89, 8.49, 11.5),
    0.8: (4.75, 7.29, 9.6),
    0.85: (4.34, 6.26, 8.24),
    0.9: (3.5, 4.9, 6.45),
    0.92: (3.1, 4.34, 5.71),
    0.95: (2.28, 3.4, 4.34),
    0.98: (1.63, 2.15, 2.74),
}
#: KSWIN's alpha by ARL in windows, for a window of 60 and the latest 20 of them.
WINDOW_ARLS: Final = (100.0, 300.0, 1_000.0)
KSWIN_ALPHAS: Final = (0.5, 0.0335, 0.00397)


def covers(arl: float, level: float) -> bool:
    """Whether the table has an ARL in answers and a level in control (of what is good)."""
    return ARLS[0] <= arl <= ARLS[-1] and level >= min(ADWIN_DELTAS)


def covers_windows(arl: float) -> bool:
    """Whether the table has an ARL in windows."""
    return WINDOW_ARLS[0] <= arl <= WINDOW_ARLS[-1]


def adwin(arl: float, level: float, direction: Direction = "down") -> Adwin:
    """ADWIN for an ARL in answers.

    Raises:
        ValueError: the table does not go so far.

    >>> round(adwin(6_700, 0.92).delta, 3)
    0.444
    """
    return Adwin(float(np.exp(_between(ADWIN_DELTAS, arl, level, direction, log=True))), direction)


def page_hinkley(arl: float, level: float, direction: Direction = "down") -> PageHinkleyMethod:
    """Page-Hinkley for an ARL in answers.

    Raises:
        ValueError: the table does not go so far.

    >>> round(page_hinkley(6_700, 0.93).threshold, 2)
    5.53
    """
    return PageHinkleyMethod(_between(PAGE_HINKLEY_THRESHOLDS, arl, level, direction), direction=direction)


def kswin(arl: float, direction: Direction = "down") -> Kswin:
    """KSWIN for an ARL in windows, whose values may have any continuous law; with ties it fires less.

    Raises:
        ValueError: the table does not go so far.

    >>> round(kswin(335).alpha, 4)
    0.0276
    """
    check_config(covers_windows(arl), f"calibrated for {WINDOW_ARLS[0]:g} to {WINDOW_ARLS[-1]:g} windows, not {arl:g}")
    return Kswin(float(np.exp(np.interp(np.log(arl), np.log(WINDOW_ARLS), np.log(KSWIN_ALPHAS)))), direction=direction)


def _between(
    table: Mapping[float, tuple[float, ...]], arl: float, level: float, direction: Direction, *, log: bool = False
) -> float:
    good = level if direction == "down" else 1.0 - level
    span = f"{ARLS[0]:g} to {ARLS[-1]:g} answers at levels of {min(table):g} and more"
    check_config(covers(arl, good), f"calibrated for {span}, not {arl:g} at {good:g}; an e-detector has no such limit")
    values = table[max(known for known in table if known <= good + 1e-9)]
    return float(np.interp(np.log(arl), np.log(ARLS), np.log(values) if log else values))
