"""Forecasts of labeler-hours and of the finishing date, back-tested on real sets that have a clock.

    python -m benchmarks.capacity [--data DIR] [--cut SHARE ...] [--since-days 28] [--seeds 20] [--json]

Each set is cut at 30, 50 and 70 % (or --cut) of its annotations and of its time, and the rest is forecast from what
came before; how many annotations are missing is known. Beside it: mean and rate of the history, as if annotations were
independent.
Cuts of one set overlap, so that six sets are fewer than thirty-six forecasts. An invented team with office hours shows
what the same forecast is worth where people do not come in campaigns.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from detectors.capacity import Stint
from detectors.capacity_plan import Interval
from detectors.expected_time import ExpectedTimes
from schemas.events import AnnotationEvent
from streams.evaluate.capacity import CUTS, Coverage, Cut, Outcome, backtest, coverage, steady_workforce, works_of
from streams.sources.figure_eight import FigureEight
from streams.sources.source import SourceError
from streams.timed_work import timed_work

REPO = Path(__file__).parents[1]
DATA_VARIABLE = "LABELWATCH_DATA"
VIDEOS: Final = ("binary-choice", "free-input", "multiple-choice", "ternary-choice")
#: Set to the folder of its files and a part of their names.
SETS: Final = {
    "dutch_descriptions": ("dutch_descriptions", ""),
    "vu_sound": ("vu_sound", ""),
    **{f"video {name}": ("person_video", name) for name in VIDEOS},
}
GROUPS: Final = {
    "crowds over months": ("dutch_descriptions", "vu_sound"),
    "crowds over hours": tuple(f"video {name}" for name in VIDEOS),
    "all real sets": tuple(SETS),
    "invented team": ("invented team",),
}


def read(data: Path, name: str) -> list[Stint]:
    """The work of one set, each annotation with what the model of handling times expected of it.

    Raises:
        SourceError: a file is missing or not readable.
    """
    folder, part = SETS[name]
    files = sorted(path for path in (data / folder).glob("*.csv.gz") if part in path.name)
    if not files:
        raise SourceError(f"{data / folder}: no *.csv.gz with {part!r} in its name")
    model = ExpectedTimes()
    events = (event for event in FigureEight(files, name, "work") if isinstance(event, AnnotationEvent))
    return works_of(events, lambda event: model.observe(timed_work(event)).expected.seconds)


Cuts = dict[str, list[Cut]]
Questions: Final[dict[str, Callable[[Cut], Outcome]]] = {
    "labeler-hours": lambda cut: cut.hours,
    "finishing date": lambda cut: cut.days,
}


def figures(cuts: Cuts) -> Iterator[tuple[str, str, str, Coverage]]:
    """Group, question, method and its figures."""
    for group, names in GROUPS.items():
        some = [cut for name in names for cut in cuts.get(name, [])]
        for question, outcome in Questions.items() if some else ():
            found = [outcome(cut) for cut in some]
            yield group, question, "labelwatch", coverage([(one.actual, one.ours) for one in found])
            yield group, question, "mean and rate", coverage([(one.actual, one.naive) for one in found])


def as_tables(cuts: Cuts) -> Iterator[Table]:
    """What the forecasts are worth, and each of them."""
    table = Table(title="Forecasts of the rest of the work", title_justify="left")
    for heading in ("sets", "of", "by", "forecasts", "in 50 %", "in 90 %", "above", "90 %: high/low", "median off by"):
        table.add_column(heading, justify="left" if heading in ("sets", "of", "by") else "right")
    for group, question, method, one in figures(cuts):
        shares = (f"{share:.0%}" for share in (one.coverage_50, one.coverage_90, one.late_90))
        table.add_row(group, question, method, str(one.forecasts), *shares, f"{one.ratio_90:.2f}", f"{one.error:.2f}")
    yield table
    table = Table(title="Each forecast: actual, then 5, 50 and 95 % of the forecast", title_justify="left")
    for heading in ("set", "cut", "annotations left", "labeler-hours", "forecast", "days", "forecast"):
        table.add_column(heading, justify="left" if heading in ("set", "cut") else "right")
    for name in SETS:
        for cut in cuts.get(name, []):
            at = f"{cut.share:.0%} of {cut.by}"
            table.add_row(name, at, f"{cut.remaining:,}", *_cells(cut.hours), *_cells(cut.days))
    yield table


def _cells(outcome: Outcome) -> tuple[str, str]:
    mark = "" if outcome.ours.covers_90(outcome.actual) else "! "
    return f"{mark}{outcome.actual:.4g}", _three(outcome.ours)


def _three(known: Interval) -> str:
    return " ".join(f"{value:.3g}" for value in (known.low_90, known.median, known.high_90))


def as_object(cuts: Cuts) -> dict[str, Any]:
    """The figures by group, question and method, and each forecast of the real sets."""
    summary: dict[str, Any] = {}
    for group, question, method, one in figures(cuts):
        summary.setdefault(group, {}).setdefault(question, {})[method] = asdict(one)
    forecasts = [{"set": name, **asdict(cut)} for name in SETS for cut in cuts.get(name, [])]
    for forecast in forecasts:
        for question in ("hours", "days"):
            outcome = forecast[question]
            outcome |= {method: list(outcome[method]) for method in ("ours", "naive")}
    return {"coverage": summary, "forecasts": forecasts}


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--data", type=click.Path(path_type=Path), help=f"Folder of the sets; also {DATA_VARIABLE}.")
@click.option(
    "--cut",
    "shares",
    multiple=True,
    default=CUTS,
    show_default=True,
    type=click.FloatRange(0.05, 0.95),
    help="Share of annotations, and of time, after which is forecast; repeatable.",
)
@click.option("--since-days", default=28.0, show_default=True, help="History before a cut that counts.")
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(min=0), help="Invented teams.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(data: Path | None, shares: tuple[float, ...], since_days: float, seeds: int, as_json: bool) -> None:
    folder = data or Path(os.environ.get(DATA_VARIABLE) or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        raise click.ClickException(
            f"{folder}: no such folder. Name the one with the data: --data DIR, or {DATA_VARIABLE}"
        )
    cuts: Cuts = {}
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("", total=len(SETS) + seeds)
        for name in SETS:
            progress.update(task, advance=1, description=name)
            try:
                cuts[name] = list(backtest(read(folder, name), 0, since_days, shares))
            except SourceError as error:
                raise click.ClickException(str(error)) from None
        for seed in range(seeds):
            progress.update(task, advance=1, description="invented team")
            team = steady_workforce(np.random.default_rng(seed))
            cuts.setdefault("invented team", []).extend(backtest(team, seed, since_days, shares))
    if as_json:
        click.echo(json.dumps(as_object(cuts)))
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in as_tables(cuts):
        console.print(table)


if __name__ == "__main__":
    main()
