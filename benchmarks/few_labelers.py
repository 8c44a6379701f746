"""How soon are a few of many labelers found: together, the first of them alone, and by the level of all?

    python -m benchmarks.few_labelers [--runs 15] [--seed 0] [--json]

Forty labelers give five answers a minute, right with .88. After 300 answers each, some fall to .68. Three e-detectors
with the same threshold of a million and learned levels: e-sparse over all of them, e-SR on each labeler (the first
finding counts), and e-SR on all answers pooled. Delays are answers of all forty, medians over runs; infinite for more
than 24,000.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from detectors.change.e_process import EProcess
from detectors.change.sparse import SparseProcess
from detectors.rule_method import LEARNING

LABELERS: Final = 40
LEVEL: Final = 0.88
AFTER: Final = 0.68
THRESHOLD: Final = 1e6
HISTORY: Final = 300 * LABELERS
MOST: Final = 24_000
FALLEN: Final = (1, 2, 4, 8, 20, 40)
WAYS: Final = ("together", "alone", "pooled")


def answers(fallen: int, generator: np.random.Generator) -> Iterator[tuple[int, int, float]]:
    """Time, labeler and value of each answer."""
    count = HISTORY + MOST
    who = generator.integers(0, LABELERS, count)
    levels = np.where((who < fallen) & (np.arange(count) >= HISTORY), AFTER, LEVEL)
    values = (generator.random(count) < levels).astype(float)
    return zip((12_000 * np.arange(count)).tolist(), who.tolist(), values.tolist(), strict=True)


def delays(fallen: int, generator: np.random.Generator) -> dict[str, float]:
    """Answers from the fall to the first finding of each way to look."""
    method = EProcess(THRESHOLD, LEVEL, 0.1, learning=LEARNING)
    together, pooled = SparseProcess(THRESHOLD, LEVEL, 0.1).build(), method.build()
    alone = [method.build() for _ in range(LABELERS)]
    found = dict.fromkeys(WAYS, math.inf)
    for number, (at_ms, who, value) in enumerate(answers(fallen, generator), 1 - HISTORY):
        said = {
            "together": together.update(value, at_ms, labeler_id=str(who)),
            "alone": alone[who].update(value, at_ms),
            "pooled": pooled.update(value, at_ms),
        }
        for way, finding in said.items():
            if finding and number > 0 and math.isinf(found[way]):
                found[way] = number
        if not any(math.isinf(one) for one in found.values()):
            break
    return found


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=15, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def main(runs: int, seed: int, as_json: bool) -> None:
    """Simulate falls of more and more labelers, and print the medians."""
    rows: list[dict[str, float]] = []
    for fallen in FALLEN:
        found = [delays(fallen, np.random.default_rng([seed, fallen, run])) for run in range(runs)]
        rows.append({"fallen": fallen} | {way: float(np.median([one[way] for one in found])) for way in WAYS})
    if as_json:
        click.echo(
            json.dumps([{name: None if value == math.inf else value for name, value in row.items()} for row in rows])
        )
        return
    table = Table(
        "who fell, of 40", *(f"{way}: answers" for way in WAYS), title=f"From {LEVEL:g} to {AFTER:g}, {runs} runs"
    )
    for row in rows:
        table.add_row(f"{row['fallen']:.0f}", *(f"{row[way]:,.0f}" for way in WAYS))
    Console().print(table)


if __name__ == "__main__":
    main()
