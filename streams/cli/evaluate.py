"""``labelwatch evaluate``: the models on data whose truth is known. No broker and no ClickHouse are needed."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(
    epilog="""\b
Examples:
  labelwatch evaluate truth --labels label.csv --truth truth.csv
"""
)
def evaluate() -> None:
    """Measure the models on data whose truth is known, offline."""


@evaluate.command(
    epilog="""\b
Files are CSV with a header, plain or gzip:
  labels   item,worker,label[,seconds][,time]   in order of arrival; time like 2026-01-05T09:00:00Z
  truth    item,truth                           for all items or some of them
\b
Examples:
  labelwatch evaluate truth --labels label.csv --truth truth.csv
  labelwatch evaluate truth --labels label.csv.gz --truth truth.csv --seed 3 --json
"""
)
@click.option("--labels", "labels_file", required=True, type=_FILE, metavar="FILE", help="What labelers answered.")
@click.option("--truth", "truth_file", required=True, type=_FILE, metavar="FILE", help="What is true.")
@click.option("--seed", type=int, metavar="N", help="Shuffle the labels, and draw other golds. Default: file order.")
@click.option(
    "--golds",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    metavar="N",
    help="Truths that calibration may learn from, at most half of them.",
)
@click.option("--skip-glad", is_flag=True, help="Leave out GLAD, which takes a minute for 25,000 labels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def truth(labels_file: Path, truth_file: Path, seed: int | None, golds: int, skip_glad: bool, as_json: bool) -> None:
    """Consensus, confidence and reliability beside majority vote and batch Dawid-Skene, one-coin and GLAD.

    Labels pass one at a time through the model that the agents run. Accuracy, the ranking of labelers and the time per
    label are measured without any truth revealed, as for the methods beside it. ECE (10 bins) is measured in another
    pass: some golds are revealed, each once its task has all its labels, and only tasks never revealed count.

    The first label of a worker on an item counts, for every method. Majority ties go to the label that sorts first.
    """
    from streams.cli.evaluate_report import as_object, as_tables, progress_display
    from streams.evaluate.label_files import read_dataset
    from streams.evaluate.models import new_models
    from streams.evaluate.truth import evaluate as measure
    from streams.evaluate.truth import run_baselines, run_passes
    from streams.settings import load_settings
    from streams.sources.source import SourceError

    settings = load_settings()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the reader warns of what is not UTF-8; stdout is for the result
            read = read_dataset(labels_file, truth_file)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    data = read.dataset if seed is None else read.dataset.shuffled(seed)
    with progress_display(2 * len(data.labels), shown=not as_json) as progress:
        passes = run_passes(data, lambda: new_models(settings), golds, seed or 0, done=progress.passed)
        baselines = run_baselines(data, with_glad=not skip_glad, name=progress.started)
    result = measure(data, passes, baselines)
    if as_json:
        click.echo(json.dumps(as_object(result)))
    else:
        as_tables(result, passes, data, read.repeated)
