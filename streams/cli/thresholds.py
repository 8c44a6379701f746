"""``labelwatch thresholds``: rules, looked at before they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.dlq_output import printable
from streams.cli.thresholds_backtest import backtest

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.threshold_check import RuleReport
    from streams.thresholds import LoadedThresholds
    from streams.volumes import Volumes

_FILE = click.Path(path_type=Path)


@click.group(
    epilog="""\b
Examples:
  labelwatch thresholds check thresholds.yaml
  labelwatch thresholds check thresholds.yaml --json
"""
)
def thresholds() -> None:
    """Look at rules before they wake anybody."""


thresholds.add_command(backtest)


@thresholds.command(
    epilog="""\b
Exit codes: 0 the file can be used (though at these volumes some rules may not run: the last lines say so), 1 it is
refused (file:line:column: field: reason), 2 wrong usage.
\b
A volumes file is JSON, one object a segment, with counts of a day (or of "hours": 2); what is left out is 0:
  {"segments": [{"project_id": "x", "task_type": "box", "vendor_id": "v", "labelers": 40,
                 "answers": 9000, "golds": 900, "golds_right": 830}]}
\b
Examples:
  labelwatch thresholds check thresholds.yaml
  labelwatch thresholds check deploy/thresholds.yaml --offline
  labelwatch thresholds check thresholds.yaml --volumes tomorrow.json
  labelwatch thresholds check thresholds.yaml --json | jq '.rules[] | {name, delay_seconds}'
"""
)
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--volumes", "volumes_file", type=_FILE, metavar="FILE", help="Take volumes from a file (see below).")
@click.option("--offline", is_flag=True, help="Do not ask ClickHouse; take assumed volumes.")
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool, volumes_file: Path | None, offline: bool) -> None:
    """Say whether a file of rules can be used, and what each rule will mean.

    For each rule: how soon it is expected to see the smallest drop that it must find, and how often it may be wrong. At
    the volumes of the latest 24 hours in ClickHouse; where it cannot be reached or has nothing, at assumed ones.
    Delays are medians, simulated with a fixed seed.
    """
    from streams.settings import load_settings
    from streams.threshold_check import unknown_projects
    from streams.thresholds import ThresholdsError, load
    from streams.yaml_document import Problem

    if offline and volumes_file:
        raise click.UsageError("--offline and --volumes exclude each other")
    settings = load_settings()
    volumes, note = _volumes(settings, volumes_file, offline=offline)
    try:
        loaded = load(file)
        unknown, warnings = [], []
        for rule, line in zip(loaded.rules, loaded.scope_lines, strict=True):
            for is_error, reason in unknown_projects(rule, volumes, set(settings.projects)):
                if is_error:
                    unknown.append(Problem(line, 1, f"{rule.name}.scope", reason))
                else:
                    warnings.append((rule.name, reason))
        if unknown:
            raise ThresholdsError(loaded.source, tuple(unknown))
    except ThresholdsError as error:
        _show_refusal(error, as_json=as_json)
        ctx.exit(1)
    reports = _reports(loaded, volumes, settings.pipeline.out_of_order_seconds, shown=not as_json)
    for report in reports:
        report.warnings += [reason for name, reason in warnings if name == report.name]
    if as_json:
        click.echo(json.dumps(_as_object(loaded, volumes, reports)))
    else:
        _show(loaded, volumes, note, reports)


def _reports(loaded: LoadedThresholds, volumes: Volumes, late_seconds: float, *, shown: bool) -> list[RuleReport]:
    """What each rule will mean; a bar on stderr, where that is a terminal, names the rule that is simulated."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from streams.threshold_check import check_rule

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    reports = []
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("rules", total=len(loaded.rules))
        for rule, line in zip(loaded.rules, loaded.lines, strict=True):
            bar.update(task, description=rule.name)
            reports.append(check_rule(rule, line, volumes, late_seconds=late_seconds))
            bar.advance(task)
    return reports


def _volumes(settings: Settings, file: Path | None, *, offline: bool) -> tuple[Volumes, str]:
    """Volumes, and why they are not those of ClickHouse where they should have been."""
    from streams.sinks.session import ClickHouseUnusableError, session
    from streams.volumes import VolumesError, assumed_volumes, read_volumes, stored_volumes

    if file:
        try:
            return read_volumes(file), ""
        except VolumesError as error:
            raise click.BadParameter(printable(str(error)), param_hint="--volumes") from None
    if offline:
        return assumed_volumes(), ""
    try:
        with session(settings.clickhouse) as client:
            stored = stored_volumes(client)
    except ClickHouseUnusableError as error:
        return assumed_volumes(), str(error)
    return (stored, "") if stored else (assumed_volumes(), "ClickHouse has no windows yet")


def _show_refusal(error: Exception, *, as_json: bool) -> None:
    from streams.thresholds import ThresholdsError

    assert isinstance(error, ThresholdsError)
    if as_json:
        problems = [problem._asdict() for problem in error.problems]
        click.echo(json.dumps({"ok": False, "file": error.source, "problems": problems}))
        return
    for line in error.lines():
        click.echo(printable(line), err=True)
    click.echo("Refused: a worker would keep the rules it has.", err=True)


def _as_object(loaded: LoadedThresholds, volumes: Volumes, reports: list[RuleReport]) -> dict[str, object]:
    return {
        "ok": True,
        "file": loaded.source,
        "sha256": loaded.sha256,
        "volumes": {"source": volumes.source, "is_real": volumes.is_real, "segments": len(volumes.segments)},
        "false_alarms_per_week": sum(report.false_alarms_per_week or 0.0 for report in reports),
        "rules": [report.as_object() for report in reports],
    }


def _show(loaded: LoadedThresholds, volumes: Volumes, note: str, reports: list[RuleReport]) -> None:
    from streams.thresholds import END_MARK

    if volumes.is_real:
        click.echo(f"At the volumes of {printable(volumes.source)}:")
    else:
        why = f" ({printable(note)})" if note else ""
        click.echo(f"At ASSUMED volumes, not yours{why}: 5 segments, 40 labelers and 9,000 answers a day each.")
    for report in reports:
        click.echo(f"\n{report.name} (line {report.line}): {printable(report.scope)}, {report.method}")
        for sentence in report.words:
            click.echo(f"  {printable(sentence)}")
        for warning in report.warnings:
            click.secho(f"  warning: {printable(warning)}", fg="yellow")
    total = sum(report.false_alarms_per_week or 0.0 for report in reports)
    rules = f"{len(reports)} rule{'' if len(reports) == 1 else 's'}"
    together = f"false alarms a week together: {total:.2g}"
    resting = [report.name for report in reports if not report.will_run]
    if resting:
        which = (
            f"{len(reports) - len(resting)} of {rules} will run at these {'' if volumes.is_real else 'ASSUMED '}volumes"
        )
        click.echo(f"\n{loaded.source} can be used, but only {which}, {together}.")
        click.secho(f"Will not run: {', '.join(resting)}.", fg="yellow")
    else:
        click.echo(f"\n{loaded.source} can be used: {rules}, {together}.")
    if not loaded.is_ended:
        click.echo(f"Its last line is not `{END_MARK}`: with it, a half-written file is never taken for a whole one.")
