"""Change detectors at one false-alarm budget, beside River's and rules of thumb: false alarms, delays, time.

    python -m benchmarks.detection [--runs 4000] [--seed 0] [--json]

The table of ``labelwatch evaluate detectors``, with more streams, and the CPU time of an answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import click
import numpy as np

from detectors.change.finding import Method
from streams.cli.detectors_report import as_table, methods_bar, print_table
from streams.evaluate.detectors import ARL, Drop, Entry, Row, entries, measure

DROPS = [Drop(0.92, 0.80), Drop(0.92, 0.60)]
TIMED = 20_000
TIMED_WINDOWS = 500


def microseconds(entry: Entry, clock_ns: Callable[[], int] = time.process_time_ns) -> float:
    """CPU time of a value, one stream alone; the median of ten stretches."""
    count = TIMED if entry.window == 1 else TIMED_WINDOWS
    values = (np.random.default_rng(1).random(count) < DROPS[0].level).astype(float).tolist()
    means = []
    for stretch in np.array_split(np.arange(count), 10):
        means.append(_spent(entry.method, [values[number] for number in stretch], clock_ns))
    return float(np.median(means))


def _spent(method: Method, values: list[float], clock_ns: Callable[[], int]) -> float:
    detector = method.build()
    began = clock_ns()
    for number, value in enumerate(values):
        detector.update(value, number)
    return (clock_ns() - began) / len(values) / 1_000


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=4_000, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def main(runs: int, seed: int, as_json: bool) -> None:
    """Measure every method, and print one table."""
    rows: list[list[Row]] = []
    times: dict[str, float] = {}
    with methods_bar(shown=not as_json) as started:
        started("calibrating")
        tested = entries(ARL, DROPS, seed)
        measured = measure(tested, ARL, DROPS, null_only=False, runs=runs, seed=seed)
        for entry in tested:
            started(entry.title)
            rows.append(next(measured))
            times[entry.name] = microseconds(entry)
    if as_json:
        flat = [row.as_object() | {"us": round(times[row.method], 2)} for of_method in rows for row in of_method]
        click.echo(json.dumps(flat))
        return
    print_table(as_table(rows, DROPS, ARL, null_only=False, times=times))


if __name__ == "__main__":
    main()
