"""CPU a message of the batch transport and its peers, on one broker and the same messages.

    python -m benchmarks.transport [--messages 200000] [--runs 3] [--json]

Each contender is its own process that reads the whole topic in a fresh group and only counts. What is measured is
user plus system CPU between its first and last message, so start-up and joining the group are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.messages import annotation_messages
from deploy.clickhouse.migrate import migrate
from deploy.local.broker import broker_binary
from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS
from streams.kafka_admin import create_topics
from streams.settings import ClickHouseSettings, KafkaSettings
from streams.sinks.connection import connect

REPO = Path(__file__).parents[1]
PARTITIONS = 4
#: Stock Faust is some thirty times slower: a tenth of the messages gives the same figure sooner.
STOCK_SHARE = 10
RUN_SECONDS = 120


@dataclass(frozen=True)
class Contender:
    """One way to read a topic: the module that does it and the package it needs."""

    name: str
    module: str
    title: str
    needs: str


CONTENDERS = (
    Contender("raw", "raw", "aiokafka getmany", "aiokafka"),
    Contender("stock", "stock", "Faust, stock", "faust"),
    Contender("quix", "quix", "Quix Streams", "quixstreams"),
    Contender("bytewax", "bytewax_flow", "bytewax", "bytewax"),
    Contender("batch", "batch", "Faust, batch transport", "faust"),
)
SCORE = Contender("score", "score", "SCORE, whole path", "faust")


@dataclass
class Figures:
    """One contender's runs: CPU microseconds a message and messages a second, or why there are none."""

    us: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    skipped: str | None = None

    @property
    def median_us(self) -> float | None:
        return statistics.median(self.us) if self.us else None


@dataclass(frozen=True)
class Score:
    """The whole SCORE path: CPU microseconds an event and events a second."""

    us: float
    events_per_second: float


def measure_score(messages: int) -> Score:
    """One run of the whole worker on an embedded stack of its own: broker, ClickHouse engine, state, checkpoints."""
    with (
        tempfile.TemporaryDirectory(prefix="labelwatch-bench-") as folder,
        EmbeddedStack(Path(folder), kafka_port=0, clickhouse_port=0) as stack,
    ):
        create_topics(KafkaSettings(bootstrap=stack.kafka_bootstrap, partitions=PARTITIONS))
        client = connect(ClickHouseSettings(url=stack.clickhouse_url), use_database=False)
        migrate(client)
        client.close()
        asyncio.run(send(stack.kafka_bootstrap, ANNOTATIONS.name, messages))
        run = measure(SCORE, stack.kafka_bootstrap, ANNOTATIONS.name, messages, "--clickhouse", stack.clickhouse_url)
    return Score(run["us"], run["per_second"])


def measure(contender: Contender, broker: str, topic: str, messages: int, *more: str) -> dict[str, float]:
    """One run of one contender in its own process.

    Raises click.ClickException with the end of its output where it fails or takes longer than RUN_SECONDS.
    """
    command = [
        sys.executable, "-m", f"benchmarks.peers.{contender.module}", "--broker", broker, "--topic", topic,
        "--group", f"bench-{contender.name}-{uuid.uuid4().hex[:8]}", "--messages", str(messages), *more,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise click.ClickException(f"{contender.title} did not finish within {RUN_SECONDS} s") from None
    for line in reversed(done.stdout.splitlines()):
        _, brace, rest = line.partition("{")  # Faust writes terminal codes before it
        if brace:
            result: dict[str, float] = json.loads(brace + rest)
            return result
    raise click.ClickException(f"{contender.title} exited with {done.returncode}:\n{done.stderr[-2000:]}")


@contextlib.contextmanager
def embedded_broker() -> Iterator[str]:
    """host:port of an in-memory broker that ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"tcp://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(broker_binary()), "broker", "--silent", "--listener-url", url, "--advertised-listener-url", url,
         "--storage-engine", "memory://tansu/"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise click.ClickException(f"the broker does not listen on 127.0.0.1:{port} after {seconds:.0f} s")


async def fill(broker: str, topic: str, messages: int) -> None:
    """Make ``topic`` and send it ``messages`` annotations."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    await send(broker, topic, messages)


async def send(broker: str, topic: str, messages: int) -> None:
    """Send ``messages`` annotations to a topic that exists."""
    # 1 MB batches: brokers answer a fetch with whole batches, and many small ones would measure their overhead.
    producer = AIOKafkaProducer(bootstrap_servers=broker, linger_ms=20, max_batch_size=1_000_000)
    await producer.start()
    try:
        for key, value in annotation_messages(messages):
            await producer.send(topic, value, key=key)
        await producer.flush()
    finally:
        await producer.stop()


def run_all(broker: str, messages: int, runs: int, console: Console) -> tuple[dict[str, Figures], Score]:
    """All contenders in turns, so that a busy moment of the machine does not hit one of them alone."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    figures = {contender.name: Figures() for contender in CONTENDERS}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("sending messages", total=1 + runs * len(CONTENDERS))
        asyncio.run(fill(broker, topic, messages))
        for _ in range(runs):
            for contender in CONTENDERS:
                progress.update(task, advance=1, description=contender.title)
                result = figures[contender.name]
                if importlib.util.find_spec(contender.needs) is None:
                    result.skipped = f"{contender.needs} is not installed: pip install 'labelwatch[bench]'"
                    continue
                wanted = messages // STOCK_SHARE if contender.name == "stock" else messages
                run = measure(contender, broker, topic, wanted)
                result.us.append(run["us"])
                result.per_second.append(run["per_second"])
        progress.update(task, description=SCORE.title)
        scores = [measure_score(messages) for _ in range(runs)]
    return figures, Score(
        statistics.median(score.us for score in scores), statistics.median(score.events_per_second for score in scores)
    )


def report(figures: dict[str, Figures], score: Score) -> dict[str, float | None]:
    """The figures under the names that other programs read; null where there is none."""
    return {
        **{f"{contender.name}_us": _rounded(figures[contender.name].median_us) for contender in CONTENDERS},
        "score_us": _rounded(score.us),
        "events_per_second": _rounded(score.events_per_second),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def as_table(figures: dict[str, Figures], score: Score) -> Table:
    """The figures for people."""
    ours = figures["batch"].median_us
    table = Table(title="CPU a message, whole process, counting only (median of runs)")
    for heading in ("contender", "us a message", "messages/s", "runs, us", "against ours"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for contender in CONTENDERS:
        result = figures[contender.name]
        if result.skipped or result.median_us is None:
            table.add_row(contender.title, "-", "-", result.skipped or "-", "-")
            continue
        table.add_row(
            contender.title,
            f"{result.median_us:.2f}",
            f"{statistics.median(result.per_second):,.0f}",
            " ".join(f"{us:.2f}" for us in result.us),
            f"{result.median_us / ours:.2f} x" if ours else "-",
        )
    table.add_section()
    against = f"{score.us / ours:.2f} x" if ours else "-"
    table.add_row(SCORE.title, f"{score.us:.2f}", f"{score.events_per_second:,.0f}", "", against)
    return table


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--messages", default=200_000, show_default=True, type=click.IntRange(min=10_000))
@click.option("--runs", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--broker", default=None, help="host:port of a broker to use; else an embedded one")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of a table")
def main(messages: int, runs: int, broker: str | None, as_json: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the broker on the way out
    console = Console(stderr=True)
    with contextlib.nullcontext(broker) if broker else embedded_broker() as address:
        figures, score = run_all(address, messages, runs, console)
    if as_json:
        click.echo(json.dumps(report(figures, score)))
    else:
        Console(width=None if sys.stdout.isatty() else 110).print(as_table(figures, score))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")  # of the contenders' dependencies
    main()
