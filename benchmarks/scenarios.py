"""Whole weeks through the shipped rules: incidents found, how soon, who was named, false alerts a week, time an answer.

    python -m benchmarks.scenarios [--runs 20] [--seed 0] [--jobs N] [--json] [incidents calm | FILE ...]

The tables of ``labelwatch evaluate detectors --scenario`` for every scenario, and the CPU time of all of it.
"""

from __future__ import annotations

import json
import os
import resource

import click
from rich.console import Console

from streams.cli.scenario_report import as_tables, runs_bar
from streams.evaluate.scenario.file import load
from streams.evaluate.scenario.play import as_rows
from streams.evaluate.scenario.runs import play_runs
from streams.thresholds import shipped


@click.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Weeks at once (default: one a core).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def main(names: tuple[str, ...], runs: int, seed: int, jobs: int | None, as_json: bool) -> None:
    """Play every scenario, and print its tables."""
    rows = []
    rules, at_once = shipped().rules, jobs or os.cpu_count() or 1
    for name in names or ("incidents", "calm"):
        scenario = load(name)
        began = _cpu_seconds()
        with runs_bar(runs, shown=not as_json) as done:
            played = play_runs(scenario, range(seed, seed + runs), rules, at_once=at_once, done=done)
        microseconds = 1e6 * (_cpu_seconds() - began) / sum(one.answers for one in played)
        if as_json:
            rows += [{"scenario": scenario.name, **row} for one in played for row in as_rows(one)]
        else:
            console = Console()
            console.print(f"\n[bold]{scenario.name}[/bold]", as_tables(played), sep="\n")
            console.print(f"{microseconds:.0f} us of CPU an answer, simulation and explanations included")
    if as_json:
        click.echo(json.dumps(rows))


def _cpu_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
