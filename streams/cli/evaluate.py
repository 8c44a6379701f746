"""``labelwatch evaluate``: the models on recorded data. No broker and no ClickHouse are needed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import click

from streams.cli.out_file import OutFile
from streams.sources.answers import LABEL_KINDS, LabelKind

#: Answers to a false alarm: the budget at which methods are compared.
DEFAULT_ARL = 7_000.0
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TRUTH_HELP = (
    "With --scenario: write the first run's incidents as CSV, as `thresholds backtest --incidents` reads them."
)


@click.group(
    epilog="""\b
Examples:
  labelwatch evaluate truth --labels label.csv --truth truth.csv
  labelwatch evaluate handling-time figure-eight export.csv.gz
  labelwatch evaluate detectors --drop .92:.80
"""
)
def evaluate() -> None:
    """Measure the models on recorded data, offline."""


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


@evaluate.command(
    "handling-time",
    epilog="""\b
SOURCE is what the files are:
  figure-eight   CrowdFlower / Figure Eight / Appen full reports
  csv            delimited files; needs --mapping
  jsonl          labelwatch's own events, or any records with --mapping
\b
Examples:
  labelwatch evaluate handling-time figure-eight batch-*.csv.gz
  labelwatch evaluate handling-time csv --mapping mapping.yaml answers.csv --json
  labelwatch evaluate handling-time jsonl events.jsonl
""",
)
@click.argument("source", type=click.Choice(["figure-eight", "csv", "jsonl"]), metavar="SOURCE")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option("--mapping", type=click.Path(path_type=Path), help="YAML: columns to fields (docs/sources.md).")
@click.option("--project", default="evaluation", help="project_id, where the mapping names none.")
@click.option("--task-type", default="evaluation", help="task_type, where the mapping names none.")
@click.option("--vendor", default="evaluation", help="vendor_id, where neither mapping nor file name one.")
@click.option("--label", metavar="COLUMN", help="figure-eight: the answer column. Default: found.")
@click.option("--label-kind", type=click.Choice(LABEL_KINDS), help="figure-eight: default: told from the answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def handling_time(
    source: str,
    files: tuple[Path, ...],
    mapping: Path | None,
    project: str,
    task_type: str,
    vendor: str,
    label: str | None,
    label_kind: LabelKind | None,
    as_json: bool,
) -> None:
    """Forecasts of handling times beside simple ones: errors, intervals, time.

    Annotations pass in the order of their submit time through the model that the agents run. Each is forecast before
    its time is learned; answers of one page are all forecast before any of them is learned, for every method.
    """
    from streams.cli.evaluate_report import progress_display
    from streams.cli.evaluate_times_report import as_object, as_tables
    from streams.evaluate.handling_time import evaluate as measure
    from streams.evaluate.work_files import open_source, read_works
    from streams.sources.source import SourceError

    if source == "csv" and mapping is None:
        raise click.UsageError("csv needs --mapping: a YAML file that says what the columns mean (docs/sources.md)")
    if source == "figure-eight" and mapping is not None:
        raise click.UsageError("--mapping is for csv and jsonl: the columns of a full report are known")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the reader warns of what is not UTF-8; stdout is for the result
            opened = open_source(
                source, files, mapping, project, task_type, vendor, label_column=label, label_kind=label_kind
            )
            read = read_works(opened)
        with progress_display(2 * len(read.works), shown=not as_json) as progress:
            report = measure(read.works, done=progress.passed)
    except (SourceError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if read.rejected:
        click.echo(f"{len(read.rejected):,} rows rejected, the first: {read.rejected[0]}", err=True)
    if as_json:
        click.echo(json.dumps(as_object(report.evaluation)))
    else:
        as_tables(report)


@evaluate.command(
    epilog="""\b
Examples:
  labelwatch evaluate detectors                       # drops from .92 to .80 and to .60
  labelwatch evaluate detectors --drop .95:.85 --arl 20000
  labelwatch evaluate detectors --null --runs 4000 --json
  labelwatch evaluate detectors --scenario incidents --runs 20
  labelwatch evaluate detectors --scenario calm --thresholds thresholds.yaml --json
"""
)
@click.option("--null", "null_only", is_flag=True, help="Nothing changes: false alarms only.")
@click.option("--drop", "drops", multiple=True, metavar="FROM:TO", help="Shares of right answers, like .92:.80.")
@click.option(
    "--scenario",
    metavar="FILE",
    help="A simulated week instead: incidents, calm, or a file (docs/scenarios.md).",
)
@click.option("--thresholds", type=_FILE, metavar="FILE", help="With --scenario: the rules. Default: those shipped.")
@click.option("--truth", type=OutFile(), metavar="FILE", help=_TRUTH_HELP)
@click.option(
    "--arl",
    type=click.FloatRange(min=100),
    metavar="N",
    help="The budget: one false alarm in so many answers (default 7,000). Rules of a --scenario have their own.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Streams a method, fewer for slow ones (default 1,000); with --scenario, how many weeks (default 1).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Other streams.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --scenario: weeks at once, some 0.7 GB each (default: one a core).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def detectors(
    null_only: bool,
    drops: tuple[str, ...],
    scenario: str | None,
    thresholds: Path | None,
    truth: Path | None,
    arl: float | None,
    runs: int | None,
    seed: int,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Change detectors at one false-alarm budget: how often they fire for nothing, and how soon they find a drop.

    Answers are simulated, right or wrong, with a known share right. Every method of labelwatch and of River is
    calibrated to the same average run length (ARL): answers from a start to a false alarm while nothing changes.
    Beside them stand River's defaults and rules of thumb, which keep to no budget.

    JSON: a row a method and drop, with method, arl, false_per_1000, delay_p50, delay_p90, missed; delays in answers,
    null where most (or a tenth) of the streams did not find the drop within 1,000 answers; arl null where there was no
    false alarm.

    With --scenario, whole weeks of an operation are simulated, and run through the rules, alerts and explanations that
    the agents run: how many incidents are found, how soon (minutes of event time), whether the right labelers, vendor
    or classes are named first, and how many false alerts a week people get. JSON: a row an incident and a false alert.
    """
    if (null_only + bool(drops) + (scenario is not None)) > 1:
        raise click.UsageError("--null, --drop and --scenario exclude each other")
    if scenario is None and (thresholds or truth or jobs):
        raise click.UsageError("--thresholds, --truth and --jobs need --scenario")
    if scenario is not None and arl is not None:
        raise click.UsageError("--arl is not for --scenario: each rule there has a budget of its own (--thresholds)")
    if scenario is not None:
        _scenario(scenario, thresholds, truth, runs or 1, seed, jobs or os.cpu_count() or 1, as_json=as_json)
        return
    from streams.cli.detectors_report import as_table, methods_bar, print_table
    from streams.evaluate.detectors import Drop
    from streams.evaluate.detectors import evaluate as measure

    try:
        wanted = [Drop.parse(text) for text in drops or (".92:.80", ".92:.60")]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--drop") from None
    if len({drop.level for drop in wanted}) > 1:
        raise click.BadParameter("all drops must be from the same share", param_hint="--drop")
    arl = arl or DEFAULT_ARL
    with methods_bar(shown=not as_json) as started:
        rows = list(measure(wanted, null_only=null_only, arl=arl, runs=runs or 1_000, seed=seed, started=started))
    if as_json:
        click.echo(json.dumps([row.as_object() for of_method in rows for row in of_method]))
    else:
        print_table(as_table(rows, wanted, arl, null_only=null_only))


def _scenario(
    name: str, thresholds: Path | None, truth: Path | None, runs: int, seed: int, jobs: int, *, as_json: bool
) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from rich.console import Console

    from schemas.incident import write_incidents
    from streams.cli.scenario_report import as_tables, runs_bar
    from streams.evaluate.scenario.file import ScenarioFileError, load
    from streams.evaluate.scenario.play import as_rows
    from streams.evaluate.scenario.runs import play_runs
    from streams.thresholds import ThresholdsError, shipped
    from streams.thresholds import load as load_rules

    try:
        scenario = load(name)
        rules = (load_rules(thresholds) if thresholds else shipped()).rules
        with runs_bar(runs, shown=not as_json) as done:
            played = play_runs(scenario, range(seed, seed + runs), rules, at_once=jobs, done=done)
    except (ScenarioFileError, ThresholdsError) as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.ClickException(f"{name}: {error}") from None
    except BrokenProcessPool:
        raise click.ClickException("a run was killed, perhaps for want of memory. Try: --jobs 1") from None
    for problem in dict.fromkeys(f"{rule}: {why}" for one in played for rule, why in one.problems.items()):
        click.echo(f"not watched: {problem}", err=True)
    if truth is not None:
        try:
            with truth.open("w", encoding="utf-8", newline="") as file:
                write_incidents([one.true.incident for one in played[0].found], file)
        except OSError as error:
            raise click.ClickException(f"{truth}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps([row for one in played for row in as_rows(one)]))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(as_tables(played))
