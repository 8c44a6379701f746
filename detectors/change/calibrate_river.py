"""How the parameters in `river_table` were found: minutes of simulation, so not at start-up.

Streams of answers in control pass through the adapters, with false alarms counted over many times the ARL; the
parameter is searched by bisection on the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from detectors.change.finding import Method
from detectors.change.river_adapters import Adwin, Kswin, PageHinkleyMethod

#: False alarms to count for one parameter, at the ARL aimed at: a standard error of 8 %.
ALARMS: Final = 150
#: The ARL aimed at is so much longer, for the error of the simulation.
MARGIN: Final = 1.1
STEPS: Final = 7


def false_alarms(method: Method, answers: list[float]) -> int:
    """How often a detector fires on one long stream."""
    detector = method.build()
    return sum(detector.update(value, number) is not None for number, value in enumerate(answers))


def search(
    make: Callable[[float], Method], low: float, high: float, arl: float, level: float, generator: np.random.Generator
) -> float | None:
    """The parameter, between the bounds on a logarithmic scale, that just keeps to the ARL; the ARL grows with it.

    None where not even ``high`` keeps to it.
    """
    answers = (generator.random(int(ALARMS * MARGIN * arl)) < level).astype(float).tolist()
    if false_alarms(make(high), answers) > ALARMS:
        return None
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if false_alarms(make(middle), answers) > ALARMS else (low, middle)
    return high


def adwin(arl: float, level: float, generator: np.random.Generator) -> float | None:
    """ADWIN's delta."""
    found = search(lambda inverse: Adwin(1.0 / inverse), 1.0, 1_000.0, arl, level, generator)
    return found and 1.0 / found


def page_hinkley(arl: float, level: float, generator: np.random.Generator) -> float | None:
    """Page-Hinkley's threshold, at the default delta."""
    return search(PageHinkleyMethod, 1.0, 50.0, arl, level, generator)


def kswin(arls: list[float], generator: np.random.Generator, windows: int) -> list[float]:
    """KSWIN's alpha for each ARL in windows, the same for every continuous law.

    One path of p-values serves all: after a finding, KSWIN needs a whole window before it looks again.
    """
    method = Kswin(alpha=1e-12)
    detector = method.build()
    path: list[tuple[float, bool]] = []
    recent: list[float] = []
    for number, value in enumerate(generator.standard_normal(windows).tolist()):
        detector.update(value, number)
        recent = [*recent, value][-method.window :]
        if len(recent) == method.window:
            old, new = recent[: -method.latest], recent[-method.latest :]
            path.append((detector.statistic, sum(new) / len(new) < sum(old) / len(old)))
    return [_kswin_alpha(arl * MARGIN, path, method.window) for arl in arls]


def _kswin_alpha(arl: float, path: list[tuple[float, bool]], window: int) -> float:
    low, high = 1e-9, 0.5
    for _ in range(40):
        middle = math.sqrt(low * high)
        alarms, at = 0, 0
        while at < len(path):
            p_value, is_bad = path[at]
            alarms += p_value <= middle and is_bad
            at += window if p_value <= middle else 1
        low, high = (low, middle) if alarms * arl > len(path) else (middle, high)
    return low
