"""``labelwatch replay``: annotations from files, or invented ones, onto Kafka."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.sources.answers import LABEL_KINDS, LabelKind
from streams.sources.replay import Disturb, ReplayReport
from streams.sources.source import Message, Source, SourceError

if TYPE_CHECKING:
    from streams.sources.mapping import Mapping

FILES = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)


@dataclass(frozen=True, slots=True)
class _Options:
    speed: float | None
    limit: int | None
    dry_run: bool
    strict: bool
    rejects: Path | None
    bootstrap: str | None
    compression: str | None


class _Speed(click.ParamType):
    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """max: None. Anything else: a number above 0."""
        if value is None or value == "max":
            return None
        try:
            speed = float(value)
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is neither max nor a number above 0, such as 60 (an hour in a minute)", param, ctx)
        return speed


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of every replay, and hands them over as one."""

    @click.option("--speed", type=_Speed(), default="max", metavar="max|N", help="N times as fast as it happened.")
    @click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Send N messages at most.")
    @click.option("--dry-run", is_flag=True, help="Only read, and say what would be sent. Needs no broker.")
    @click.option("--strict", is_flag=True, help="Exit with 1 if any row was rejected.")
    @click.option(
        "--rejects", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Rejected rows as CSV."
    )
    @click.option("--bootstrap", metavar="HOST:PORT", help="Kafka broker, in place of the settings' one.")
    @click.option("--compression", type=click.Choice(["none", "gzip"]), default="none", show_default=True)
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        speed: float | None,
        limit: int | None,
        dry_run: bool,
        strict: bool,
        rejects: Path | None,
        bootstrap: str | None,
        compression: str,
        **kwargs: Any,
    ) -> None:
        codec = None if compression == "none" else compression
        command(*args, options=_Options(speed, limit, dry_run, strict, rejects, bootstrap, codec), **kwargs)

    return wrapped


def _defaults(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what a mapping may leave open."""
    for option in (
        click.option("--vendor", help="vendor_id, where the mapping names none."),
        click.option("--task-type", help="task_type, where the mapping names none."),
        click.option("--project", help="project_id, where the mapping names none."),
    ):
        command = option(command)
    return command


def _refuse_conflicts(
    mapping: Mapping | None, where: Path | None, project: str | None, task_type: str | None, vendor: str | None
) -> None:
    """The mapping wins over the options, so that an option which would change nothing must not pass silently."""
    options = (("--project", "project_id", project), ("--task-type", "task_type", task_type))
    for option, name, given in (*options, ("--vendor", "vendor_id", vendor)):
        if given is None:
            continue
        if mapping is None:
            raise click.UsageError(f"{option} needs --mapping: labelwatch's own events each name their {name}")
        named = mapping.constants.get(name)
        if named is not None and str(named) != given:
            raise click.UsageError(f"{option} {given}: {where} already says {name}: {named}. Leave one of them out")
        if name in mapping.fields:
            raise click.UsageError(
                f"{option} {given}: {where} already takes {name} from column {mapping.fields[name]}. "
                "Leave one of them out"
            )


@click.group(
    epilog="""\b
Examples:
  labelwatch replay figure-eight export.csv.gz --project captions --task-type image_caption
  labelwatch replay figure-eight batch-*.csv.gz --project sounds --task-type keywords --speed 3600
  labelwatch replay csv --mapping mapping.yaml answers.csv --project relevance --dry-run
  labelwatch replay jsonl events.jsonl             labelwatch's own events, one a line
  labelwatch replay simulate --scenario incidents --seed 7 --truth truth.json
""",
)
def replay() -> None:
    """Send annotations from files, or simulated ones, to Kafka in event-time order."""


@replay.command(
    "figure-eight",
    epilog="""\b
Examples:
  labelwatch replay figure-eight export.csv.gz --project captions --task-type image_caption
  labelwatch replay figure-eight a.csv b.csv --project p --task-type t --label keywords --label-kind text
  labelwatch replay figure-eight export.csv --project p --task-type t --dry-run --rejects rejected.csv
""",
)
@FILES
@click.option("--project", required=True, help="project_id of all annotations.")
@click.option("--task-type", required=True, help="task_type of all annotations.")
@click.option("--vendor", help="vendor_id where a row has no _channel.")
@click.option("--label", metavar="COLUMN", help="The answer column. Default: the one that differs within a unit.")
@click.option("--label-kind", type=click.Choice(LABEL_KINDS), help="Default: told from the answers, per file.")
@click.option("--feature", "features", multiple=True, metavar="COLUMN", help="Task column to send; repeatable.")
@click.option("--exclude", multiple=True, metavar="COLUMN", help="Neither answer nor feature; repeatable.")
@_common
def figure_eight(
    files: tuple[Path, ...],
    project: str,
    task_type: str,
    vendor: str | None,
    label: str | None,
    label_kind: LabelKind | None,
    features: tuple[str, ...],
    exclude: tuple[str, ...],
    options: _Options,
) -> None:
    """CrowdFlower / Figure Eight / Appen full reports, CSV or gzip."""
    from streams.sources.figure_eight import FigureEight

    source = FigureEight(
        files,
        project,
        task_type,
        vendor_id=vendor,
        label_column=label,
        label_kind=label_kind,
        features=features,
        exclude=exclude,
    )
    _run(source, options)


@replay.command(
    "csv",
    epilog="""\b
Examples:
  labelwatch replay csv --mapping examples/mappings/answers_with_times.yaml answers.csv
  labelwatch replay csv --mapping examples/mappings/active_crowd_toolkit.yaml ZenCrowd_us.csv.gz \\
      --project zencrowd --task-type entity_relevance --vendor amt --limit 1000
""",
)
@FILES
@click.option("--mapping", required=True, type=click.Path(path_type=Path), help="YAML: columns to fields.")
@_defaults
@_common
def csv(
    files: tuple[Path, ...],
    mapping: Path,
    project: str | None,
    task_type: str | None,
    vendor: str | None,
    options: _Options,
) -> None:
    """Delimited files, plain or gzip, as a mapping file describes them (docs/sources.md)."""
    from streams.sources.delimited import Delimited
    from streams.sources.mapping import load_mapping

    try:
        read = load_mapping(mapping)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    _refuse_conflicts(read, mapping, project, task_type, vendor)
    _run(Delimited(files, read, project_id=project, task_type=task_type, vendor_id=vendor), options)


@replay.command(
    "jsonl",
    epilog="""\b
Examples:
  labelwatch replay jsonl events.jsonl.gz
  labelwatch replay jsonl --mapping examples/mappings/reviews.yaml verdicts.jsonl
""",
)
@FILES
@click.option("--mapping", type=click.Path(path_type=Path), help="YAML: keys to fields. Default: our own events.")
@_defaults
@_common
def jsonl(
    files: tuple[Path, ...],
    mapping: Path | None,
    project: str | None,
    task_type: str | None,
    vendor: str | None,
    options: _Options,
) -> None:
    """JSON Lines, plain or gzip: labelwatch's own events, or any records with a mapping file."""
    from streams.sources.json_lines import JsonLines
    from streams.sources.mapping import load_mapping

    try:
        read = None if mapping is None else load_mapping(mapping)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    _refuse_conflicts(read, mapping, project, task_type, vendor)
    _run(JsonLines(files, read, project_id=project, task_type=task_type, vendor_id=vendor), options)


@replay.command(
    epilog="""\b
Examples:
  labelwatch replay simulate --scenario calm --seed 1 --speed 600
  labelwatch replay simulate --scenario incidents --seed 7 --truth truth.json
  labelwatch replay simulate --scenario incidents --duplicates 0.05 --malformed 0.05 --shuffle-seconds 60
""",
)
@click.option("--scenario", default="calm", show_default=True, metavar="calm|incidents|PATH", help="Or a YAML file.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same events.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Times as many labelers.")
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), help="Write what really happened, as JSON.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.0, help="Share of messages sent again.")
@click.option("--malformed", type=click.FloatRange(0, 1), default=0.0, help="Share of unusable messages beside them.")
@click.option("--shuffle-seconds", type=click.FloatRange(0), default=0.0, help="Delay each by up to so long.")
@_common
def simulate(
    scenario: str,
    seed: int,
    scale: float,
    truth: Path | None,
    duplicates: float,
    malformed: float,
    shuffle_seconds: float,
    options: _Options,
) -> None:
    """An invented annotation operation, with incidents, and faults on its way if wanted."""
    from streams.sources.disorder import Disorder, disorder
    from streams.sources.simulate import Scenario, Simulation

    try:
        loaded = Scenario.load(scenario)
        simulation = Simulation(loaded if scale == 1 else loaded.scaled(scale), seed)
        if truth is not None:
            simulation.write_truth(truth)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    disturb: Disturb | None = None
    disordered: list[Disorder] = []
    if duplicates or malformed or shuffle_seconds:

        def disturb(messages: Iterable[Message]) -> Iterable[Message]:
            disordered.append(
                disorder(
                    messages, seed=seed, duplicates=duplicates, malformed=malformed, shuffle_seconds=shuffle_seconds
                )
            )
            return disordered[-1]

    _run(simulation, options, disturb)
    for one in disordered:
        click.echo(f"of these {one.counts.duplicates:,} duplicates and {one.counts.malformed:,} malformed")


def _run(source: Source, options: _Options, disturb: Disturb | None = None) -> None:
    """Replay and report. Exit codes: 0 done, 1 failed (or every row rejected; any row, if strict), 130 interrupted."""
    from streams.cli.replay_report import RejectsFile, echo_summary, progress_display
    from streams.kafka_admin import BrokerError
    from streams.settings import load_settings
    from streams.sources.producer import DrySender, KafkaSender
    from streams.sources.replay import pump

    kafka = load_settings().kafka
    if options.bootstrap:
        kafka = kafka.model_copy(update={"bootstrap": options.bootstrap})
    dry = DrySender()
    rejects: RejectsFile | None = None
    seen = ReplayReport()
    try:
        total = source.estimate()
        if total is not None and options.limit is not None:
            total = min(total, options.limit)
        if options.rejects is not None:
            rejects = RejectsFile(options.rejects)
        with progress_display(total) as display:

            def progress(report: ReplayReport) -> None:
                nonlocal seen
                seen = report
                display(report)

            arguments: dict[str, Any] = {
                "limit": options.limit,
                "disturb": disturb,
                "progress": progress,
                "on_rejected": rejects.add if rejects is not None else None,
            }
            if options.dry_run:
                report = pump(source, dry, **arguments)
            else:
                with KafkaSender(kafka, compression=options.compression) as sender:
                    report = pump(source, sender, speed=options.speed, **arguments)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    except BrokerError as error:
        done = f" ({seen.sent:,} messages had arrived)" if seen.sent else ""
        raise click.ClickException(f"{error}{done}") from None
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        raise click.ClickException(f"{error.filename or options.rejects}: {error.strerror}") from None
    finally:
        if rejects is not None:
            rejects.close()
    for message in dry.first:
        click.echo(f"{message.topic} key={message.key.decode(errors='replace')}")
        click.echo(f"  {message.value.decode(errors='replace')}")
    echo_summary(report, dry_run=options.dry_run)
    if report.interrupted:
        sys.exit(130)
    nothing_usable = not report.sent and options.limit != 0
    if report.rejected and (options.strict or nothing_usable):
        sys.exit(1)
