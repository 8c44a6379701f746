"""Change detectors on simulated answers: false alarms while nothing changes, and how soon a drop is found.

Every method is set up for one budget, an average run length (ARL) in answers. Those with numpy code run as many streams
as asked for, the others fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.change import calibrate, river_table
from detectors.change.baselines import Always, LastUnder
from detectors.change.finding import Method
from detectors.change.fleet import Flags, Fleet, Floats, fleet_of, has_numpy, run_lengths
from detectors.change.river_adapters import Adwin, PageHinkleyMethod
from detectors.rule_method import LEARNING

#: One false alarm in so many answers: .143 in 1,000.
ARL: Final = 7_000
SMALLEST_DROP: Final = 0.1
#: Answers in control before a drop, enough to learn a level and to fill 60 windows; and up to how many more, so that no
#: block meets it at its start.
BEFORE: Final = 1_200
SPREAD: Final = 100
#: Who has not found a drop after so many answers has missed it.
HORIZON: Final = 1_000
#: Answers in a window, for methods that take windows only.
WINDOW: Final = 20
BLOCK: Final = 50
#: Streams of a method without numpy code; and of one that takes a third of a millisecond a value.
RUNS_ONE_BY_ONE: Final = 100
RUNS_SLOW: Final = 40
#: ARLs after which streams that never fire are left alone.
PATIENCE: Final = 20.0
PATIENCE_ONE_BY_ONE: Final = 3.0


@dataclass(frozen=True)
class Drop:
    """A fall from one share of right answers to another."""

    level: float
    after: float

    def __str__(self) -> str:
        return f"{self.level:g}:{self.after:g}".replace("0.", ".")

    @classmethod
    def parse(cls, text: str) -> Drop:
        """Read ``.92:.80``.

        Raises:
            ValueError: it is not that.

        >>> Drop.parse(".92:.80")
        Drop(level=0.92, after=0.8)
        """
        try:
            level, after = map(float, text.split(":"))
        except ValueError:
            raise ValueError(f"{text!r} is not like .92:.80") from None
        if not 0.0 < after < level < 1.0:
            raise ValueError(f"{text!r} is no drop: two shares between 0 and 1 are needed, the lower one last")
        return cls(level, after)


@dataclass(frozen=True)
class Entry:
    """A method under test: its name for programs, what people read, and how many answers it takes at a time."""

    name: str
    title: str
    method: Method
    window: int = 1

    def runs(self, wanted: int) -> int:
        """How many streams there is time for."""
        if has_numpy(self.method):
            return wanted
        return min(wanted, RUNS_ONE_BY_ONE if self.window == 1 else RUNS_SLOW)

    def fleet(self, streams: int) -> Fleet:
        """So many streams, at their beginning."""
        fleet = fleet_of(self.method, streams)
        return fleet if self.window == 1 else _WindowFleet(self.method, streams, self.window)


class _WindowFleet:
    """Gives detectors the share of right answers of each window."""

    def __init__(self, method: Method, streams: int, window: int) -> None:
        self._detectors = [method.build() for _ in range(streams)]
        self._window = window
        self._right = np.zeros(streams)
        self._seen = 0

    def step(self, right: Flags) -> Flags:
        self._right += right
        self._seen += 1
        fired = np.zeros(len(right), dtype=np.bool_)
        if self._seen % self._window == 0:
            shares = (self._right / self._window).tolist()
            pairs = zip(self._detectors, shares, strict=True)
            fired = np.array([one.update(share, self._seen) is not None for one, share in pairs], dtype=np.bool_)
            self._right[:] = 0.0
        return fired

    def keep(self, kept: Flags) -> None:
        self._detectors = [one for one, is_kept in zip(self._detectors, kept, strict=True) if is_kept]
        self._right = self._right[kept]


@dataclass
class Row:
    """The figures of a method; of delays, those over all runs, where who missed took for ever."""

    method: str
    title: str
    runs: int
    arl: float | None = None
    """Answers per false alarm; None if there was none."""
    false_per_1000: float = 0.0
    drop: str | None = None
    delay_p50: float | None = None
    delay_p90: float | None = None
    missed: float | None = None
    watched: float = field(default=0.0, repr=False)
    """Answers in control that were watched for false alarms, in all."""

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        figures = {
            "method": self.method,
            "arl": self.arl and round(self.arl, 1),
            "false_per_1000": round(self.false_per_1000, 4),
            "delay_p50": self.delay_p50,
            "delay_p90": self.delay_p90,
            "missed": self.missed,
        }
        return figures | {"drop": self.drop, "runs": self.runs}


def entries(arl: float, drops: list[Drop], seed: int) -> list[Entry]:
    """Every method at one budget, and the rules and defaults that know of none.

    The level in control is that of the drops; all of them start from the same.
    """
    level = drops[0].level

    def generator() -> np.random.Generator:
        return np.random.default_rng([seed, 1])

    smallest = min(SMALLEST_DROP, level / 2.0)
    fleet_mean = level - 0.02  # who is watched is a little better than the fleet, which is all that is known
    found = [
        Entry("e_sr", "e-SR", calibrate.e_process(arl, level, generator(), smallest_drop=smallest)),
        Entry(
            "e_sr_guaranteed",
            "e-SR, guaranteed",
            calibrate.e_process(arl, level, generator(), smallest_drop=smallest, mode="guaranteed"),
        ),
        Entry(
            "e_sr_learned",
            "e-SR, level learned",
            calibrate.e_process(arl, fleet_mean, generator(), smallest_drop=smallest, learning=LEARNING),
        ),
        Entry("e_cusum", "e-CUSUM", calibrate.e_cusum(arl, level, generator(), smallest_drop=smallest)),
    ]
    for drop in drops:
        name = f"cusum_{drop.after:g}".replace("0.", "")
        title = f"CUSUM that knows {drop.after:.2f}".replace("0.", ".")
        found.append(Entry(name, title, calibrate.bernoulli_cusum(arl, level, drop.after)))
    if limit := calibrate.fixed_threshold(arl, level, BLOCK):
        found.append(Entry("fixed_threshold", f"blocks of {BLOCK} under {limit.limit:.2f}", limit))
    if river_table.covers(arl, level):
        found += [
            Entry("adwin", "ADWIN, calibrated", river_table.adwin(arl, level)),
            Entry("page_hinkley", "Page-Hinkley, calibrated", river_table.page_hinkley(arl, level)),
        ]
    if river_table.covers_windows(arl / WINDOW):
        kswin = river_table.kswin(arl / WINDOW)
        found.append(Entry("kswin", f"KSWIN, calibrated, windows of {WINDOW}", kswin, WINDOW))
    return [
        *found,
        Entry("adwin_default", "ADWIN, River's defaults", Adwin(delta=0.002, clock=32)),
        Entry("page_hinkley_default", "Page-Hinkley, River's defaults", PageHinkleyMethod(threshold=50.0, delta=0.005)),
        Entry("last_ten", "last 10 under 70 %", LastUnder(10, 0.7)),
        Entry("always", "always, every 100", Always(100)),
    ]


def measure(
    tested: list[Entry], arl: float, drops: list[Drop], *, null_only: bool, runs: int, seed: int
) -> Iterator[list[Row]]:
    """The rows of one method after the other: one a drop, or one alone without delays."""
    for number, entry in enumerate(tested):
        streams = entry.runs(runs)
        row = Row(entry.name, entry.title, streams)
        _false_alarms(row, entry, arl, drops[0].level, np.random.default_rng([seed, 2, number]))
        if null_only:
            yield [row]
            continue
        rows = []
        for drop in drops:
            one = Row(row.method, row.title, row.runs, row.arl, row.false_per_1000, str(drop), watched=row.watched)
            _delays(one, entry, drop, np.random.default_rng([seed, 3, number]))
            rows.append(one)
        yield rows


def _false_alarms(row: Row, entry: Entry, arl: float, level: float, generator: np.random.Generator) -> None:
    """Streams until they fire; those that were given up count with the answers that they were watched for."""
    patience = PATIENCE if has_numpy(entry.method) else PATIENCE_ONE_BY_ONE
    at_most = int(patience * arl)
    lengths = run_lengths(entry.fleet(row.runs), np.full(row.runs, level), generator, at_most=at_most)
    alarms = int(np.isfinite(lengths).sum())
    row.watched = float(np.minimum(lengths, at_most).sum())
    if alarms:
        row.arl = row.watched / alarms
        row.false_per_1000 = 1_000.0 / row.arl


def _delays(row: Row, entry: Entry, drop: Drop, generator: np.random.Generator) -> None:
    """Answers from the drop to the next finding, whatever was found before."""
    before = BEFORE + generator.integers(0, SPREAD, row.runs)
    at_most = BEFORE + SPREAD + HORIZON
    fleet, levels = entry.fleet(row.runs), np.full(row.runs, drop.level)
    lengths = run_lengths(fleet, levels, generator, at_most=at_most, change=(before, drop.after))
    delays = np.sort(lengths - before)
    delays[delays > HORIZON] = math.inf
    row.missed = round(float(np.isinf(delays).mean()), 4)
    row.delay_p50, row.delay_p90 = _quantile(delays, 0.5), _quantile(delays, 0.9)


def _quantile(ordered: Floats, share: float) -> float | None:
    """The value that at least this share is not above; None for infinity."""
    value = float(ordered[max(math.ceil(share * len(ordered)) - 1, 0)])
    return value if math.isfinite(value) else None


Progress = Callable[[str], None]


def evaluate(
    drops: list[Drop], *, null_only: bool, arl: float, runs: int, seed: int, started: Progress
) -> Iterator[list[Row]]:
    """`measure` every one of the `entries`, and say which is running."""
    started("calibrating")
    tested = entries(arl, drops, seed)
    rows = measure(tested, arl, drops, null_only=null_only, runs=runs, seed=seed)
    for entry in tested:
        started(entry.title)
        yield next(rows)
