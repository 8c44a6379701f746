"""Truth inference on seven public sets, beside batch methods: accuracy, calibration, labeler ranking, time.

    python -m benchmarks.truth [--data DIR] [--seeds 5] [--set NAME] [--skip-glad] [--json]

Each set passes in a random order for each seed through the model that the agents run, as in ``labelwatch evaluate
truth``, and the figures are means over the seeds. Batch methods hardly depend on the order, and run once, in that of
the file. The time is measured beside River's linear regression on ten features, in turns, so that a slow moment of
the machine meets both.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streams.cli.evaluate_report import GET_BASELINES, number
from streams.evaluate.baselines import crowd_kit_is_here
from streams.evaluate.dataset import Dataset, GivenLabel, first_labels
from streams.evaluate.forecast import calibration_error, outcomes
from streams.evaluate.label_files import INVENTED_START_MS, INVENTED_STEP_MS, read_dataset
from streams.evaluate.metrics import chance_ece
from streams.evaluate.models import new_models
from streams.evaluate.truth import CHUNK, Opinions, Stage, evaluate, run_baselines, run_passes
from streams.settings import Settings
from streams.sources.source import SourceError
from streams.sources.text_files import parse_number, read_table

REPO = Path(__file__).parents[1]
DATA_VARIABLE = "LABELWATCH_DATA"
GOLDS = 200
RIVER_EVENTS = 5_000
RIVER_FEATURES = 10

Row = dict[str, float | None]


def active_crowd(name: str) -> Callable[[Path], Dataset]:
    """A set of the active crowd toolkit: worker,task,label,gold,seconds without a header."""

    def read(data: Path) -> Dataset:
        path = data / "active_crowd_toolkit" / f"{name}.csv.gz"
        table = read_table(path, columns=("worker", "task", "label", "gold", "seconds"))
        labels: list[GivenLabel] = []
        truth: dict[str, str] = {}
        for row in table.rows:
            worker, task, label, gold, seconds = row.cells
            truth[task] = gold
            at_ms = INVENTED_START_MS + len(labels) * INVENTED_STEP_MS
            labels.append(GivenLabel(task, worker, label, at_ms, parse_number(seconds)))
        return Dataset(first_labels(labels), truth)

    return read


def truth_inference(name: str) -> Callable[[Path], Dataset]:
    """A set of two files, as ``labelwatch evaluate truth`` takes them."""

    def read(data: Path) -> Dataset:
        folder = data / "truth_inference" / name
        return read_dataset(folder / "label.csv", folder / "truth.csv").dataset

    return read


SETS: Final = {
    "ZenCrowd_us": active_crowd("ZenCrowd_us"),
    "ZenCrowd_in": active_crowd("ZenCrowd_in"),
    "SP_amt": active_crowd("SP_amt"),
    "product": truth_inference("product"),
    "rte": truth_inference("rte"),
    "dog": truth_inference("dog"),
    "face": truth_inference("face"),
}


def river_us(seed: int, clock_ns: Callable[[], int] = time.process_time_ns) -> float:
    """CPU microseconds of an event through a linear regression: predict, then learn."""
    from river.linear_model import LinearRegression  # brings half of SciPy: half a second

    draw = random.Random(seed)
    names = [f"x{number}" for number in range(RIVER_FEATURES)]
    events = [({name: draw.random() for name in names}, draw.random()) for _ in range(RIVER_EVENTS)]
    model = LinearRegression()
    means = []
    for start in range(0, len(events), CHUNK):
        spent = 0  # read around each event, as for ours
        for features, target in events[start : start + CHUNK]:
            began = clock_ns()
            model.predict_one(features)
            model.learn_one(features, target)
            spent += clock_ns() - began
        means.append(spent / CHUNK / 1_000)
    return statistics.median(means)


def measure(data: Dataset, baselines: Opinions, seed: int) -> Row:
    """All figures of one set in the order of one seed."""
    shuffled = data.shuffled(seed)
    passes = run_passes(shuffled, lambda: new_models(Settings()), GOLDS, seed)
    result = evaluate(shuffled, passes, baselines)

    def chance(stage: Stage) -> float | None:
        confidences, _ = outcomes(stage.calibrated, data.truth, passes.rest)
        return chance_ece(confidences, np.random.default_rng(seed))

    early = passes.informed.streaming
    row: Row = {name: score.accuracy for name, score in result.baselines.items()}
    row |= {
        "accuracy_streaming": result.accuracy_streaming,
        "accuracy_final": result.accuracy_final,
        "ece_raw": result.ece_raw,
        "ece_calibrated": result.ece_calibrated,
        "ece_chance": chance(passes.informed.final),
    }
    row |= {
        "ece_raw_streaming": calibration_error(early.raw, data.truth, passes.rest),
        "ece_calibrated_streaming": calibration_error(early.calibrated, data.truth, passes.rest),
        "ece_chance_streaming": chance(early),
    }
    row |= {"spearman": result.spearman, "auc_worst_fifth": result.auc_worst_fifth}
    for name, score in result.baselines.items():
        row |= {f"ece_{name}": score.ece, f"spearman_{name}": score.spearman}
    times = {"us_per_label": result.us_per_label, "us_per_forecast": passes.blind.us_per_forecast}
    return row | times | {"river_us": river_us(seed)}


def mean_of(rows: list[Row]) -> Row:
    """Mean of every figure over the rows that have it."""
    means: Row = {}
    for name in rows[0]:
        known = [value for row in rows if (value := row[name]) is not None]
        means[name] = statistics.fmean(known) if known else None
    return means


@dataclass(frozen=True)
class Step:
    """Something about to be computed, for the progress bar."""

    what: str


def run(data: dict[str, Dataset], seeds: int, *, with_glad: bool) -> Iterator[Step | tuple[str, Row]]:
    """Every set in turn: what it is at, and then its figures."""
    for name, dataset in data.items():
        yield Step(f"{name}: batch methods")
        baselines = run_baselines(dataset, with_glad=with_glad)
        rows = []
        for seed in range(seeds):
            yield Step(f"{name}: order {seed + 1} of {seeds}")
            rows.append(measure(dataset, baselines, seed))
        yield name, mean_of(rows)


#: Figure to the heading of its column.
COLUMNS: Final = {
    "majority": "MV",
    "dawid_skene": "DS",
    "one_coin": "1-coin",
    "glad": "GLAD",
    "accuracy_streaming": "ours\nstream",
    "accuracy_final": "ours\nfinal",
    "ece_raw": "ECE\nraw",
    "ece_calibrated": "ECE\ncalibr.",
    "ece_chance": "ECE\nchance",
    "ece_dawid_skene": "ECE\nDS",
    "spearman": "rank\nours",
    "spearman_dawid_skene": "rank\nDS",
    "spearman_one_coin": "rank\n1-coin",
    "us_per_label": "us a\nlabel",
}


def as_table(rows: dict[str, Row], means: Row, seeds: int) -> Table:
    """The figures for people."""
    table = Table(
        title=f"Truth inference, means over {seeds} random orders",
        caption="accuracy of majority vote, batch methods and ours; expected calibration error on the tasks whose "
        f"truth was never revealed ({GOLDS} golds, at most half of a set), before and after calibration, and what "
        "perfect forecasts would show; Spearman correlation of estimated and true accuracy of labelers; CPU time. "
        f"River's linear regression on {RIVER_FEATURES} features: {means['river_us']:.1f} us an event.",
        caption_justify="left",
    )
    table.add_column("set")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        table.add_row(name, *_cells(row))
    table.add_section()
    table.add_row("mean", *_cells(means))
    return table


def _cells(row: Row) -> list[str]:
    cells = []
    for name in COLUMNS:
        value = row.get(name)
        is_time = name == "us_per_label" and value is not None
        cells.append(f"{value:.1f}" if is_time else number(value).replace("0.", ".", 1))
    return cells


def _read(folder: Path, names: tuple[str, ...]) -> dict[str, Dataset]:
    if not folder.is_dir():
        raise click.ClickException(
            f"{folder}: no such folder. Name the one with the data: --data DIR, or {DATA_VARIABLE}"
        )
    try:
        return {name: SETS[name](folder) for name in names or SETS}
    except SourceError as error:
        raise click.ClickException(str(error)) from None


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--data", type=click.Path(path_type=Path), help=f"Folder of the sets; also {DATA_VARIABLE}.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Random orders of each set.")
@click.option("--set", "names", multiple=True, type=click.Choice(list(SETS)), help="Only this set; repeatable.")
@click.option("--skip-glad", is_flag=True, help="Leave out GLAD, which takes most of the time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(data: Path | None, seeds: int, names: tuple[str, ...], skip_glad: bool, as_json: bool) -> None:
    folder = data or Path(os.environ.get(DATA_VARIABLE) or REPO.parent / "shared" / "data")
    read = _read(folder, names)
    rows: dict[str, Row] = {}
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("", total=len(read) * (seeds + 1))
        for one in run(read, seeds, with_glad=not skip_glad):
            if isinstance(one, Step):
                progress.update(task, advance=1, description=one.what)
            else:
                rows[one[0]] = one[1]
    means = mean_of(list(rows.values()))
    if as_json:
        sizes = {name: {"items": len(d.tasks), "labels": len(d.labels)} for name, d in read.items()}
        listed = [{"set": name, **sizes[name], **_rounded(row)} for name, row in rows.items()]
        click.echo(json.dumps({"seeds": seeds, "golds": GOLDS, "rows": listed, "means": _rounded(means)}))
        return
    Console(width=None if sys.stdout.isatty() else 130).print(as_table(rows, means, seeds))
    if not crowd_kit_is_here():
        click.echo(GET_BASELINES, err=True)


def _rounded(row: Row) -> Row:
    return {name: None if value is None else round(value, 5) for name, value in row.items()}


if __name__ == "__main__":
    main()
