"""How much more than independent answers those of a scope vary while all is well, and what that does to detectors.

    python -m benchmarks.spreads [--data DIR] [--json]

Detectors take answers as they come, but those of a page are done at one pace, and a tired hour is slow throughout. So
on each public set with handling times the flags of forecasts pass in their true order, by labeler where rules watch
labelers. *Ratio*: variance of the share in blocks (50 flags of a set, 20 of a labeler) over that of independent ones.
*Alarms*: of the shipped rule's detector with the registry's spread, and with none, at one false alarm in a million
values; the sets have no incidents that anybody wrote down, but crowds change in them, too.

Gold: right answers of a set whose labelers' answers stand together, in the file's order and in random order. There is
no clock, and so no alarms are counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import truth
from benchmarks.handling_time import DATA_VARIABLE, REPO, SETS
from detectors.change.e_process import EProcess
from detectors.expected_time import Timing, Work
from detectors.metrics_registry import METRICS
from schemas.thresholds import MetricName
from streams.evaluate.handling_time import run_model
from streams.sources.source import SourceError

ARL: Final = 1_000_000.0
POOLED_BLOCK: Final = 50
LABELER_BLOCK: Final = 20
#: Sets in whose files four answers of five are followed by one of the same labeler.
LABELERS_TOGETHER: Final = ("ZenCrowd_us", "ZenCrowd_in")
#: Smallest drops of the shipped rules; too slow is taken as too fast is.
DROPS: Final[dict[MetricName, float]] = {"interval_coverage_90": 0.1, "too_fast_share": 0.3, "too_slow_share": 0.3}


@dataclass(frozen=True)
class Row:
    """One metric on one set."""

    metric: str
    set: str
    streams: int
    """The whole set is one; so is each labeler."""
    values: int
    ratio: float | None
    """None where nobody gave two blocks."""
    alarms: int | None = None
    alarms_without_spread: int | None = None


def flags_of(metric: MetricName, works: Sequence[Work], timings: Sequence[Timing]) -> list[list[bool]]:
    """The metric's values in order; of each labeler apart but for coverage."""
    streams: dict[str, list[bool]] = defaultdict(list)
    for work, timing in zip(works, timings, strict=True):
        if timing.p_value is None:
            continue
        if metric == "interval_coverage_90":
            streams[""].append(timing.is_in_90 is True)
        else:
            is_flagged = timing.is_too_fast if metric == "too_fast_share" else timing.is_too_slow
            streams[work.labeler_id].append(is_flagged is True)
    return list(streams.values())


def variance_ratio(streams: Sequence[Sequence[bool]], block: int) -> float | None:
    """Mean over streams, by their values, of the variance of blocks' shares over that of independent values.

    >>> rng = np.random.default_rng(1)
    >>> independent = [list(rng.random(20_000) < 0.9)]
    >>> in_pairs = [[one for one in independent[0] for _ in range(2)]]
    >>> round(variance_ratio(independent, 50), 1), round(variance_ratio(in_pairs, 50), 1)
    (1.0, 2.0)
    """
    ratios, weights = [], []
    for stream in streams:
        blocks = np.array(stream[: len(stream) // block * block], dtype=float).reshape(-1, block).mean(axis=1)
        share = blocks.mean() if len(blocks) else 0.0
        if len(blocks) >= 2 and 0.0 < share < 1.0:
            ratios.append(blocks.var(ddof=1) / (share * (1.0 - share) / block))
            weights.append(len(stream))
    return float(np.average(ratios, weights=weights)) if ratios else None


def alarms(metric: MetricName, streams: Sequence[Sequence[bool]], spread: float) -> int:
    """Findings of the detectors that a shipped rule would run."""
    what = METRICS[metric]
    assert what.level is not None, "shares have one"
    assert what.bad != "both", "shares have a bad side"
    assert what.is_promised, "or its level would have to be learned"
    method = EProcess(ARL**spread, what.level, DROPS[metric], what.bad)
    found = 0
    for stream in streams:
        detector = method.build()
        found += sum(detector.update(float(value), at) is not None for at, value in enumerate(stream))
    return found


def rows(data: Path, *, quiet: bool) -> list[Row]:
    """Every metric on every set."""
    made = []
    for name, read in track(SETS.items(), "sets", disable=quiet, console=Console(stderr=True)):
        works = read(data)
        timings, _ = run_model(works)
        for metric in DROPS:
            streams = flags_of(metric, works, timings)
            block = POOLED_BLOCK if metric == "interval_coverage_90" else LABELER_BLOCK
            ratio = variance_ratio(streams, block)
            counts = [alarms(metric, streams, spread) for spread in (METRICS[metric].spread, 1.0)]
            values = sum(map(len, streams))
            made.append(Row(metric, name, len(streams), values, ratio and round(ratio, 2), *counts))
    return [*gold_rows(data), *sorted(made, key=lambda row: row.metric)]


def gold_rows(data: Path) -> list[Row]:
    """How much the share of right answers of all labelers varies because now these and now those are at work."""
    made = []
    for name in LABELERS_TOGETHER:
        found = truth.SETS[name](data)
        right = [given.label == found.truth[given.task_id] for given in found.labels if given.task_id in found.truth]
        shuffled = list(np.random.default_rng(0).permutation(right))
        for order, stream in (("file order", right), ("random order", shuffled)):
            ratio = variance_ratio([stream], POOLED_BLOCK)
            made.append(Row("gold_accuracy", f"{name}, {order}", 1, len(stream), ratio and round(ratio, 2)))
    return made


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(path_type=Path), help=f"Folder of the sets. Default: {DATA_VARIABLE}, else beside."
)
@click.option("--json", "as_json", is_flag=True, help="A list of rows.")
def main(data: Path | None, as_json: bool) -> None:
    """Print the figures."""
    folder = data or Path(os.environ.get(DATA_VARIABLE, REPO.parent / "shared" / "data"))
    try:
        made = rows(folder, quiet=as_json)
    except SourceError as error:
        sys.exit(f"{error}\nThe sets are looked for in --data, {DATA_VARIABLE} or ../shared/data.")
    if as_json:
        click.echo(json.dumps([asdict(row) for row in made]))
        return
    table = Table("metric", "set", "streams", "values", "ratio", "alarms", "without spread")
    for row in made:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(
            row.metric, row.set, f"{row.streams:,}", f"{row.values:,}", ratio,
            *("-" if count is None else str(count) for count in (row.alarms, row.alarms_without_spread)),
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
