"""Forecasts of handling times on public sets, beside simple ones: errors, intervals, beginnings, time.

    python -m benchmarks.handling_time [--data DIR] [--set NAME] [--json]

Annotations pass in time order (file order where there is no clock) through the model that the agents run, in one
configuration for all sets, as in ``labelwatch evaluate handling-time``. River's linear regression is timed on the
features that our model uses, right after it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from detectors.expected_time import ExpectedTimes, Work
from streams.cli.evaluate_times_report import as_object
from streams.evaluate.handling_time import CHUNK, Report, evaluate
from streams.evaluate.work_files import open_source, read_works
from streams.sources.source import SourceError

REPO = Path(__file__).parents[1]
DATA_VARIABLE = "LABELWATCH_DATA"
MAPPING = REPO / "examples" / "mappings" / "active_crowd_toolkit.yaml"
#: Events by which River's regression is timed.
RIVER_EVENTS = 5_000
#: Sets of at least so many events are held to the promise of coverage.
LARGE = 2_000

Reader = Callable[[Path], list[Work]]
Row = dict[str, Any]


def figure_eight(project: str, task_type: str, pattern: str) -> Reader:
    """Exports, all files of a pattern as one project."""

    def read(data: Path) -> list[Work]:
        folder, name = pattern.split("/")
        files = sorted((data / folder).glob(name))
        if not files:
            raise SourceError(f"{data / pattern}: no such file")
        return read_works(open_source("figure-eight", files, None, project, task_type, "unknown")).works

    return read


def active_crowd(name: str) -> Reader:
    """A set of the active crowd toolkit: seconds, but no clock."""

    def read(data: Path) -> list[Work]:
        file = data / "active_crowd_toolkit" / f"{name}.csv.gz"
        return read_works(open_source("csv", [file], MAPPING, name, "relevance", "amt")).works

    return read


SETS: Final[dict[str, Reader]] = {
    "vu_sound": figure_eight("sounds", "keywords", "vu_sound/*.csv.gz"),
    "dutch_descriptions": figure_eight("captions", "caption", "dutch_descriptions/*.csv.gz"),
    **{
        f"video {design}": figure_eight(design, "video", f"person_video/person-video-{design}.csv.gz")
        for design in ("binary-choice", "free-input", "multiple-choice", "ternary-choice")
    },
    "ZenCrowd_us": active_crowd("ZenCrowd_us"),
    "ZenCrowd_in": active_crowd("ZenCrowd_in"),
    "SP_amt": active_crowd("SP_amt"),
}


def river_us(works: Sequence[Work], clock_ns: Callable[[], int] = time.process_time_ns) -> float:
    """CPU microseconds of an event through River's linear regression, on the features of our model."""
    from river.linear_model import LinearRegression  # brings half of SciPy: half a second

    ours, model = ExpectedTimes(), LinearRegression()
    events = []
    for work in works[:RIVER_EVENTS]:
        events.append((ours.features(work), work.seconds or 0.0))
        ours.observe(work)
    means = []
    for start in range(0, len(events), CHUNK):
        chunk = events[start : start + CHUNK]
        began = clock_ns()
        for features, seconds in chunk:
            model.predict_one(features)
            model.learn_one(features, min(seconds, 1.0))  # bounded, so that an unscaled target cannot diverge
        means.append((clock_ns() - began) / len(chunk) / 1_000)
    return statistics.median(means)


def as_row(report: Report, river: float) -> Row:
    """All figures of one set."""
    result, widths, beginnings = report.evaluation, report.widths, report.beginnings
    return {
        **as_object(result),
        "ratios": {name: round(result.mae / one.mae, 5) for name, one in result.baselines.items()},
        "own_quantiles": None
        if widths is None
        else {
            "events": widths.events,
            "width_ours": round(widths.ours, 5),
            "width_own": round(widths.own_quantiles, 5),
            "ratio": round(widths.ours / widths.own_quantiles, 5),
            "coverage_ours": round(widths.coverage_ours, 5),
            "coverage_own": round(widths.coverage_own_quantiles, 5),
        },
        "beginnings": {
            "events": beginnings.events,
            "mae": round(beginnings.ours, 5),
            "mae_global_median": round(beginnings.global_median, 5),
            "ratio": round(beginnings.ours / beginnings.global_median, 5),
        },
        "river_us": round(river, 3),
    }


def means_of(rows: Sequence[Row]) -> Row:
    """Mean ratios over the sets, and of the intervals over the large ones."""
    large = [row for row in rows if row["events"] >= LARGE]
    return {
        "ratios": {name: round(statistics.fmean(row["ratios"][name] for row in rows), 5) for name in rows[0]["ratios"]},
        "beginnings_ratio": round(statistics.fmean(row["beginnings"]["ratio"] for row in rows), 5),
        "width_ratio": round(statistics.fmean(row["own_quantiles"]["ratio"] for row in large), 5) if large else None,
        "us_per_event": round(statistics.fmean(row["us_per_event"] for row in rows), 3),
        "river_us": round(statistics.fmean(row["river_us"] for row in rows), 3),
    }


HEADINGS: Final = (
    "set", "events", "MAE\nours", "MAE\nmedian", "MAE own\nmean", "MAE own\nmedian", "MAE\nEWMA", "/ own\nmean",
    "/ EWMA", "first 5\n/ median", "cover\n50 %", "cover\n90 %", "500 in a row", "width", "width\n/ own", "cover\nown",
    "us", "us\nRiver",
)  # fmt: skip


def as_table(rows: dict[str, Row], means: Row) -> Table:
    """The figures for people."""
    table = Table(
        title="Handling times, prequential",
        caption="MAE: mean absolute error, seconds. / : ours divided by it. first 5: of each labeler. width: of the "
        "90 % interval, log-seconds; own: the labeler's own 5 % to 95 % quantiles after 30 annotations, over the same "
        "events, and how much those cover. us: CPU time an event to forecast, hold against and learn; River: its "
        "linear regression alone, on our features.",
        caption_justify="left",
    )
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "set" else "right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *_cells(row))
    table.add_section()
    ratios, width = means["ratios"], means["width_ratio"]
    table.add_row(
        *("mean", "", "", "", "", "", "", f"{ratios['own_mean']:.3f}", f"{ratios['shrunk_log_ewma']:.3f}"),
        *(f"{means['beginnings_ratio']:.3f}", "", "", "", "", "-" if width is None else f"{width:.3f}", ""),
        *(f"{means['us_per_event']:.0f}", f"{means['river_us']:.0f}"),
    )
    return table


def _cells(row: Row) -> list[str]:
    maes = [row["mae"], *(one["mae"] for one in row["baselines"].values())]
    own = row["own_quantiles"]
    return [
        f"{row['events']:,}",
        *(f"{mae:.2f}" for mae in maes),
        f"{row['ratios']['own_mean']:.3f}",
        f"{row['ratios']['shrunk_log_ewma']:.3f}",
        f"{row['beginnings']['ratio']:.3f}",
        f"{row['coverage_50']:.3f}",
        f"{row['coverage_90']:.3f}",
        f"{row['coverage_90_block_min']:.3f}-{row['coverage_90_block_max']:.3f}",
        f"{row['width_90_log']:.2f}",
        "-" if own is None else f"{own['ratio']:.3f}",
        "-" if own is None else f"{own['coverage_own']:.3f}",
        f"{row['us_per_event']:.0f}",
        f"{row['river_us']:.0f}",
    ]


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--data", type=click.Path(path_type=Path), help=f"Folder of the sets; also {DATA_VARIABLE}.")
@click.option("--set", "names", multiple=True, type=click.Choice(list(SETS)), help="Only this set; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(data: Path | None, names: tuple[str, ...], as_json: bool) -> None:
    folder = data or Path(os.environ.get(DATA_VARIABLE) or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        raise click.ClickException(
            f"{folder}: no such folder. Name the one with the data: --data DIR, or {DATA_VARIABLE}"
        )
    rows: dict[str, Row] = {}
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("", total=len(names or SETS))
        for name in names or SETS:
            progress.update(task, description=name)
            try:
                works = SETS[name](folder)
            except SourceError as error:
                raise click.ClickException(str(error)) from None
            rows[name] = as_row(evaluate(works), river_us(works))
            progress.advance(task)
    means = means_of(list(rows.values()))
    if as_json:
        click.echo(json.dumps({"rows": [{"set": name, **row} for name, row in rows.items()], "means": means}))
        return
    Console(width=None if sys.stdout.isatty() else 180).print(as_table(rows, means))


if __name__ == "__main__":
    main()
