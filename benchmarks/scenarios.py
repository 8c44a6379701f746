"""Whole weeks through the shipped rules: incidents found, how soon, who was named, false alerts a week, time an answer.

    python -m benchmarks.scenarios [--runs 20] [--seed 0] [--json] [incidents calm | FILE ...]

The tables of ``labelwatch evaluate detectors --scenario`` for every scenario, and the CPU time of all of it.
"""

from __future__ import annotations

import json
import time

import click
from rich.console import Console

from streams.cli.scenario_report import as_tables, runs_bar
from streams.evaluate.scenario.file import load
from streams.evaluate.scenario.play import as_rows, play
from streams.thresholds import shipped


@click.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def main(names: tuple[str, ...], runs: int, seed: int, as_json: bool) -> None:
    """Play every scenario, and print its tables."""
    rows = []
    rules = shipped().rules
    for name in names or ("incidents", "calm"):
        scenario = load(name)
        began = time.process_time()
        with runs_bar(runs, shown=not as_json) as done:
            played = []
            for run in range(runs):
                played.append(play(scenario, seed + run, rules, lambda share, run=run: done(run, share)))  # type: ignore[misc]  # mypy takes no defaults
        microseconds = 1e6 * (time.process_time() - began) / sum(one.answers for one in played)
        if as_json:
            rows += [{"scenario": scenario.name, **row} for one in played for row in as_rows(one)]
        else:
            console = Console()
            console.print(f"\n[bold]{scenario.name}[/bold]", as_tables(played), sep="\n")
            console.print(f"{microseconds:.0f} us of CPU an answer, simulation and explanations included")
    if as_json:
        click.echo(json.dumps(rows))


if __name__ == "__main__":
    main()
