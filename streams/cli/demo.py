"""``labelwatch demo``: a simulated operation through the whole system, on this machine, and what came out."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from rich.console import Console
    from rich.progress import Progress

    from deploy.local.stack import EmbeddedStack
    from streams.settings import ClickHouseSettings, KafkaSettings
    from streams.sources.simulate import Scenario, Simulation

#: A worker that scores nothing for so long has failed, whatever it says.
STALLED_SECONDS = 120.0
_POLL_SECONDS = 0.2
#: The same where the broker is asked, which takes a connection.
_LAG_POLL_SECONDS = 1.0


@click.command(
    epilog="""\b
Examples:
  labelwatch demo
  labelwatch demo --scenario calm --seed 3
  labelwatch demo --scale 0.2                a fifth of the operation, for a quick look
  labelwatch demo --stay                     leave broker and ClickHouse running until Ctrl-C
"""
)
@click.option("--scenario", default="incidents", show_default=True, help="calm, incidents, or a YAML file.")
@click.option("--scale", type=click.FloatRange(0.02, 10.0), default=1.0, show_default=True, help="Size of it.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same operation.")
@click.option("--stay", is_flag=True, help="Keep broker and ClickHouse running until Ctrl-C.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".labelwatch/demo"),
    show_default=True,
    help="Where its data lives. A folder of an earlier demo is emptied first.",
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Save the report as a picture, too.")
def demo(scenario: str, scale: float, seed: int, stay: bool, data_dir: Path, svg: Path | None) -> None:
    """Simulate an annotation operation, score it live, and show quality by hour."""
    from rich.console import Console

    from deploy.local.stack import EmbeddedStack, StackError
    from streams.cli.interrupt import interruptible
    from streams.cli.stack import echo_exports
    from streams.logs import configure_logging
    from streams.settings import LogSettings
    from streams.sources.simulate import Scenario, Simulation
    from streams.sources.source import SourceError

    configure_logging(LogSettings(level="warning"))  # the bars say what happens
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # and who asked the broker, what went wrong
    # Without a terminal there is no width to ask for, and a log is wide enough.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
    report = Console(highlight=False, width=console.width, record=svg is not None)
    began = time.monotonic()
    try:
        simulation = Simulation(Scenario.load(scenario).scaled(scale), seed)
        _start_afresh(data_dir)
        with EmbeddedStack(data_dir, kafka_port=0, clickhouse_port=0) as stack:
            with interruptible() as check_interrupt:
                client = _run(console, stack, simulation, data_dir, check_interrupt)
            _report(report, client, simulation, data_dir, time.monotonic() - began, stays=stay)
            if svg is not None:
                report.save_svg(str(svg), title="labelwatch demo", code_format=_svg_format())
            if stay:
                assert stack.state is not None  # it has started
                console.print(f"\nKafka {stack.kafka_bootstrap}, ClickHouse {stack.clickhouse_url}; Ctrl-C to stop.")
                echo_exports(stack.state)
                with contextlib.suppress(KeyboardInterrupt):
                    while not stack.ended():
                        time.sleep(_POLL_SECONDS)
    except (StackError, SourceError) as error:
        raise click.ClickException(str(error)) from error


def _svg_format() -> str:
    """rich's picture of a terminal, without its web fonts: a page that shows it may not load them."""
    import re

    from rich._export_format import CONSOLE_SVG_FORMAT

    return re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def _start_afresh(data_dir: Path) -> None:
    """Empty the folder of an earlier demo, and never one that is not a demo's or in which a stack runs.

    Raises StackError.
    """
    from deploy.local import data_folder
    from deploy.local.stack_state import StackError

    if data_folder.is_ours(data_dir):
        data_folder.lock(data_dir).close()  # says where the stack is that has it
    if data_dir.is_dir() and any(data_dir.iterdir()) and data_folder.purpose_of(data_dir) != "demo":
        raise StackError(f"{data_dir} holds something else than a demo's data; choose another --data-dir")
    data_folder.empty(data_dir)
    data_folder.claim(data_dir, "demo")


def _run(
    console: Console, stack: EmbeddedStack, simulation: Simulation, data_dir: Path, check_interrupt: Callable[[], None]
) -> Client:
    from deploy.clickhouse.migrate import migrate
    from streams.kafka_admin import create_topics
    from streams.settings import ClickHouseSettings, KafkaSettings
    from streams.sinks.connection import connect

    kafka = KafkaSettings(bootstrap=stack.kafka_bootstrap)
    clickhouse = ClickHouseSettings(url=stack.clickhouse_url)
    client = connect(clickhouse, use_database=False)
    migrate(client)
    create_topics(kafka)
    console.print(f"Kafka at {stack.kafka_bootstrap}, ClickHouse at {stack.clickhouse_url}, data in {data_dir}")
    log = data_dir / "logs" / "worker.log"
    with _worker(kafka, clickhouse, simulation.scenario, log) as worker, _progress(console) as progress:
        sent = _replay(progress, simulation, kafka, check_interrupt)
        _await_scored(progress, client, worker, sent, log, check_interrupt)
        _await_judged(progress, kafka, worker, log, check_interrupt)
    simulation.write_truth(data_dir / "truth.json")
    return client


@contextlib.contextmanager
def _worker(
    kafka: KafkaSettings, clickhouse: ClickHouseSettings, scenario: Scenario, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that ends with the block, gracefully if nothing went wrong."""
    subjective = {project.id: {"subjective": True} for project in scenario.projects if project.subjective}
    environment = {
        "LABELWATCH_PROJECTS": json.dumps(subjective),
        "LABELWATCH_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "LABELWATCH_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
        "LABELWATCH_CLICKHOUSE__URL": clickhouse.url,
        "LABELWATCH_LOG__FORMAT": "json",
        "LABELWATCH_WEB__PORT": "0",
    }
    from deploy.local.process_guard import GUARD_VARIABLE, child_environment

    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "worker"],
            env=child_environment(**environment, **{GUARD_VARIABLE: str(os.getpid())}),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>12}"),
        TimeRemainingColumn(),
        console=console,
    )


def _replay(
    progress: Progress, simulation: Simulation, kafka: KafkaSettings, check_interrupt: Callable[[], None]
) -> int:
    from streams.sources.disorder import disorder
    from streams.sources.replay import ReplayReport, replay

    bar = progress.add_task("simulating", total=simulation.estimate(), rate="")

    def show(report: ReplayReport) -> None:
        if not report.interrupted:
            check_interrupt()
        if report.sent % 200 == 0:
            progress.update(bar, completed=report.sent, rate=f"{report.per_second:,.0f}/s")

    # Real input is never clean: some of it arrives twice, some late, some is no event at all.
    report = replay(
        simulation,
        kafka,
        progress=show,
        disturb=lambda messages: disorder(
            messages, seed=simulation.seed, duplicates=0.01, malformed=0.002, shuffle_seconds=30
        ),
    )
    progress.update(bar, total=report.sent, completed=report.sent, rate=f"{report.per_second:,.0f}/s")
    check_interrupt()  # a replay reports on Ctrl-C instead of raising; a demo of what got through shows nothing
    return report.sent


def _await_scored(
    progress: Progress,
    client: Client,
    worker: subprocess.Popen[bytes],
    total: int,
    log: Path,
    check_interrupt: Callable[[], None],
) -> None:
    bar = progress.add_task("scoring", total=total, rate="")
    began = moved_at = time.monotonic()
    done = 0
    while done < total:
        check_interrupt()
        time.sleep(_POLL_SECONDS)
        now = time.monotonic()
        found = int(client.query("SELECT sum(received) FROM source_progress_current").result_rows[0][0] or 0)
        if found > done:
            done, moved_at = found, now
        progress.update(bar, completed=done, rate=f"{done / (now - began):,.0f}/s")
        if worker.poll() is not None or now - moved_at > STALLED_SECONDS:
            raise click.ClickException(f"the worker stopped scoring at {done:,} of {total:,} messages; see {log}")


def _await_judged(
    progress: Progress,
    kafka: KafkaSettings,
    worker: subprocess.Popen[bytes],
    log: Path,
    check_interrupt: Callable[[], None],
) -> None:
    """Wait until all that was learned of labelers has come together, and rules have judged everything: what they read
    is sent before its messages count as scored."""
    from schemas.topics import ALERTS, LABELER_EVIDENCE, MEASUREMENTS
    from streams.kafka_admin import group_lag
    from streams.settings import WorkerSettings

    bar = progress.add_task("judging", total=None, rate="")
    moved_at, least = time.monotonic(), None
    topics = [LABELER_EVIDENCE.name, MEASUREMENTS.name, ALERTS.name]
    while left := sum(group_lag(kafka, WorkerSettings().app_id, topics).values()):
        check_interrupt()
        now = time.monotonic()
        if least is None or left < least:
            least, moved_at = left, now
        if worker.poll() is not None or now - moved_at > STALLED_SECONDS:
            raise click.ClickException(f"the worker stopped with {left:,} messages to be judged left; see {log}")
        time.sleep(_LAG_POLL_SECONDS)
    progress.update(bar, total=1, completed=1)


def _report(
    console: Console, client: Client, simulation: Simulation, data_dir: Path, seconds: float, *, stays: bool
) -> None:
    from streams.cli.demo_alerts import alerts_table
    from streams.cli.demo_report import counts, hours_table, incidents_table, labelers_table

    truth = simulation.truth()
    console.print()
    console.print(hours_table(client, console.width))
    console.print(incidents_table(truth))
    console.print(alerts_table(client))
    console.print()
    console.print(labelers_table(client, truth, console.width))
    console.print(counts(client, seconds))
    console.print("\n[bold]Where to look next[/bold]")
    for line in next_steps(str(data_dir), console.width, stays=stays):
        console.print(line, soft_wrap=True, markup=False)


def next_steps(data_dir: str, width: int, *, stays: bool) -> list[str]:
    """What to run after the demo, and why. ``stays``: broker and ClickHouse still run."""
    folder = shlex.quote(data_dir)
    restart = (f"labelwatch up --detach --data-dir {folder}", "start broker and ClickHouse on this data again")
    steps = (
        *(() if stays else (restart,)),
        ('labelwatch query "SELECT * FROM quality_by_hour ORDER BY hour LIMIT 20"', "what BI sees"),
        ('labelwatch query "SELECT * FROM labeler_leaderboard LIMIT 20"', "how far labelers can be trusted"),
        ("labelwatch alerts list --state all", "whom rules would have woken"),
        ("labelwatch dlq list", "what was refused, and why"),
        (str(Path(data_dir) / "truth.json"), "who was bad, from when, and the true labels"),
        ("docs/data-dictionary.md", "every table and view"),
    )
    left = max(len(command) for command, _ in steps)
    if all(left + 3 + len(what) <= width - 2 for _, what in steps):
        return [f"  {command:<{left}} {what}" for command, what in steps]
    return [line for command, what in steps for line in (f"  {what}:", f"    {command}")]
