"""Change detectors at one false-alarm budget, beside River's and rules of thumb: false alarms, delays, time.

    python -m benchmarks.detection [--runs 4000] [--seed 0] [--json]

The table of ``labelwatch evaluate detectors``, with more streams, and the CPU time of an answer.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import click
import numpy as np

from streams.cli.detectors_report import as_table, methods_bar, print_table
from streams.evaluate.detectors import ARL, Drop, Entry, Row, entries, measure

DROPS = [Drop(0.92, 0.80), Drop(0.92, 0.60)]


def microseconds(entry: Entry, clock_ns: Callable[[], int] = time.process_time_ns) -> float:
    """CPU time of a value to one detector that has seen some; the median of ten stretches."""
    warm, count = (1_000, 20_000) if entry.window == 1 else (60, 300)
    values = (np.random.default_rng(1).random(warm + count) < DROPS[0].level).astype(float).tolist()
    detector = entry.method.build()
    at_ms, means = 0, []
    for stretch in [
        values[:warm],
        *(values[start : start + count // 10] for start in range(warm, warm + count, count // 10)),
    ]:
        began = clock_ns()
        for value in stretch:
            at_ms += 1
            detector.update(value, at_ms)
        means.append((clock_ns() - began) / len(stretch) / 1_000)
    return statistics.median(means[1:])


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
