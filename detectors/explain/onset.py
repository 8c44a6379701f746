"""When it began: the hour from which on answers are best explained as changed.

A detector says since when something speaks for a change. That may be a slip or two, hours before it. So what went wrong
in every hour since then is held against what the same labelers, on the same classes, got wrong before; the change is
taken to begin where the likelihood of "as before until then, and so many times as often since" is largest (D. V.
Hinkley, *Inference about the change-point in a sequence of random variables*, Biometrika 57, 1970; counts as Poisson).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from detectors.explain.cells import NOTHING, Row, Totals, cells_of
from detectors.explain.decompose import compare


def onset(rows: Iterable[Row], *, falls: bool) -> str:
    """The hour in which a rate began to fall, or to rise; empty where hours are not known, or it did not.

    Raises:
        ValueError: as `explain`.

    >>> wrong = {"07": 2, "08": 0, "09": 1, "10": 6, "11": 5}
    >>> rows = [Row("ann", "acme", Totals(400, 380), NOTHING)]
    >>> rows += [Row("ann", "acme", NOTHING, Totals(20, 20 - n), hour=hour) for hour, n in wrong.items()]
    >>> onset(rows, falls=True)
    '10'
    """
    cells = cells_of(rows)
    compare(cells)
    observed: defaultdict[str, float] = defaultdict(float)
    expected: defaultdict[str, float] = defaultdict(float)
    for stratum in cells.strata:
        if stratum.expected is None:
            continue
        usual = 1.0 - stratum.expected.sums.mean if falls else stratum.expected.sums.mean
        for row in stratum.rows:
            if row.hour and row.after.weight:
                observed[row.hour] += row.after.weight - row.after.value if falls else row.after.value
                expected[row.hour] += row.after.weight * usual
    most, began, events, usual_events = 0.0, "", 0.0, 0.0
    for hour in sorted(observed, reverse=True):
        events += observed[hour]
        usual_events += expected[hour]
        if events > usual_events > 0.0:
            nats = events * math.log(events / usual_events) - (events - usual_events)
            if nats > most:
                most, began = nats, hour
    return began


def since(rows: Iterable[Row], hour: str) -> list[Row]:
    """Rows with what was answered in earlier hours as before the change; as they are if the hour is empty."""
    return [
        row._replace(before=_sum(row.before, row.after), after=NOTHING, hour="") if "" < row.hour < hour else row
        for row in rows
    ]


def _sum(one: Totals, two: Totals) -> Totals:
    squares = None if one.squares is None and two.squares is None else (one.squares or 0.0) + (two.squares or 0.0)
    return Totals(one.weight + two.weight, one.value + two.value, squares)
