"""A worker as whoever runs it sees it: its pages, its exit codes, and what it does when things around it fail."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from clickhouse_connect.driver.client import Client
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, REVIEWS, TOPICS
from streams.kafka_admin import group_lag
from streams.sources.source import Message
from tests import builders
from tests.integration.deployment import VIEWS, Deployment, WorkerProcess, contents, differences, received, until

pytestmark = pytest.mark.integration

#: Nothing is made durable but by a full checkpoint or the last one.
NEVER = {"LABELWATCH_WORKER__CHECKPOINT_SECONDS": "3600"}
TASKS = 40


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: the crash tests and the transport's run on both."""
    return "embedded"


@dataclass
class Feed:
    """Everything on the topics, which each application of this module reads from the start, and what it comes to."""

    deployment: Deployment
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Messages by topic and outcome."""
    answers: int = 0

    @property
    def total(self) -> int:
        return self.counts.total()

    def of(self, outcome: str) -> int:
        return sum(count for (_, what), count in self.counts.items() if what == outcome)

    def produce(self, answers: int, *, again: int = 0, not_json: int = 0, invalid: int = 0, reviews: int = 0) -> int:
        first = self.answers
        messages = [self._answer(n) for n in range(first, first + answers)]
        messages += [self._answer(n) for n in range(first, first + again)]
        messages += [Message(ANNOTATIONS.name, b"task-0", b"{", 0)] * not_json
        messages += [Message(ANNOTATIONS.name, b"task-1", b"{}", 0)] * invalid
        verdict = json.dumps(builders.review(task_id="task-2")).encode()
        messages += [Message(REVIEWS.name, b"task-2", verdict, 0)] * reviews
        self.answers += answers
        self.counts[(ANNOTATIONS.name, "accepted")] += answers
        self.counts[(ANNOTATIONS.name, "duplicate")] += again
        self.counts[(ANNOTATIONS.name, "dead_letter")] += not_json + invalid
        self.counts[(REVIEWS.name, "accepted")] += reviews
        return self.deployment.produce(messages)

    @staticmethod
    def _answer(number: int) -> Message:
        task = f"task-{number % TASKS}"
        answer = builders.annotation(
            event_id=f"e-{number}", task_id=task, labeler_id=f"l-{number % 7}", at=float(number)
        )
        return Message(ANNOTATIONS.name, task.encode(), json.dumps(answer).encode(), 0)


@pytest.fixture(scope="module")
def feed(deployment: Deployment) -> Feed:
    feed = Feed(deployment)
    feed.produce(400, again=20, not_json=6, invalid=4, reviews=10)
    return feed


class Page:
    """A worker's web page, found by its log."""

    def __init__(self, worker: WorkerProcess) -> None:
        worker.wait_for("web.started")
        line = next(line for line in worker.text().splitlines() if '"web.started"' in line)
        self._url = f"http://127.0.0.1:{json.loads(line)['port']}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            with self._open(f"{self._url}/healthz", timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def metric(self, name: str, *by: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Values of one metric by the named labels' values, those with the given labels only."""
        with self._open(f"{self._url}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {
            tuple(sample.labels[label] for label in by): sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def counts(self) -> dict[tuple[str, ...], float]:
        """Annotations and reviews by topic and outcome; what workers tell each other is not among them."""
        found = self.metric("labelwatch_messages_total", "topic", "outcome")
        return {key: count for key, count in found.items() if key[0] in (ANNOTATIONS.name, REVIEWS.name)}

    def messages(self) -> int:
        """How many that are."""
        return int(sum(self.counts().values()))


class Gate:
    """A TCP proxy before ClickHouse that can be shut: then nothing listens, and open connections are cut."""

    def __init__(self, url: str) -> None:
        self._behind = (urlsplit(url).hostname, urlsplit(url).port)
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._behind)
            except OSError:
                return
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def gate(stack: EmbeddedStack) -> Iterator[Gate]:
    gate = Gate(stack.clickhouse_url)
    yield gate
    gate.shut()


def batches(worker: WorkerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.text().splitlines() if '"event": "score.batch"' in line]


def sums(client: Client) -> tuple[int, ...]:
    """What the figures come to: annotations, duplicates, dead letters."""
    sql = "SELECT sum(annotations), sum(duplicates), (SELECT count() FROM dead_letters_current) FROM quality_daily"
    return tuple(int(number or 0) for number in client.query(sql).result_rows[0])


def expected_sums(feed: Feed) -> tuple[int, ...]:
    return feed.counts[(ANNOTATIONS.name, "accepted")], feed.of("duplicate"), feed.of("dead_letter")


def test_pages_agree_with_what_was_produced_and_sigterm_makes_it_durable(deployment: Deployment, feed: Feed) -> None:
    client = deployment.database("pages")
    first = deployment.start_worker("pages", "pages", **NEVER)
    page = Page(first)
    until(lambda: page.messages() == feed.total, "everything applied")
    assert page.counts() == {**dict.fromkeys(zeros(), 0.0), **feed.counts}
    assert page.metric("labelwatch_dead_letters_total", "reason") == {("not_json",): 6.0, ("invalid_field",): 4.0}
    assert page.metric("labelwatch_checkpoints_total") == {(): 0.0}
    status, report = page.health()
    assert (status, report["ok"], report["reasons"]) == (200, True, [])
    assert received(client) == 0, "nothing is durable before a checkpoint"

    assert first.stop() == 0, first.text()[-3_000:]
    assert received(client) == feed.total
    assert sums(client) == expected_sums(feed)
    ends = dict(client.query("SELECT (topic, source_partition), last_offset FROM source_progress_current").result_rows)

    second = deployment.start_worker("pages", "pages")
    feed.produce(TASKS)
    until(lambda: received(client) == feed.total, "the new messages scored")
    assert sum(batch["accepted"] for batch in batches(second)) == TASKS
    for batch in batches(second):
        assert batch["first_offset"] > ends[(batch["topic"], batch["partition"])], "nothing is read again"
        assert batch["replayed"] == 0
    page = Page(second)
    until(lambda: page.metric("labelwatch_checkpoints_total")[()] >= 1, "a checkpoint counted")
    until(lambda: rows_written(page)["annotation_scores"] == TASKS, "written rows counted")
    assert rows_written(page).keys() >= {"annotation_scores", "task_confidence", "window_partials", "state"}
    assert "dead_letters" not in rows_written(page)
    assert page.metric("labelwatch_sink_retries_total") == {(): 0.0}
    positions = page.metric("labelwatch_position", "partition", topic=ANNOTATIONS.name)
    assert sum(positions.values()) == feed.total - feed.counts[(REVIEWS.name, "accepted")]
    assert second.stop() == 0, second.text()[-3_000:]
    assert sums(client) == expected_sums(feed)


def zeros() -> list[tuple[str, str]]:
    """Outcomes that a topic may show although nothing came to them."""
    return [(REVIEWS.name, "duplicate"), (REVIEWS.name, "dead_letter")]


def rows_written(page: Page) -> dict[str, int]:
    found = page.metric("labelwatch_rows_written_total", "table").items()
    return {table: int(count) for (table,), count in found if count}


def test_clickhouse_away_pauses_and_loses_nothing(deployment: Deployment, feed: Feed, gate: Gate) -> None:
    client = deployment.database("away")
    few, batch = 100, 50
    worker = deployment.start_worker(
        "away", "away",
        LABELWATCH_CLICKHOUSE__URL=gate.url,
        LABELWATCH_WORKER__CHECKPOINT_EVENTS=str(few),
        LABELWATCH_WORKER__BATCH_MAX_RECORDS=str(batch),
        LABELWATCH_WORKER__RETRY_MAX_SECONDS="0.5",
        LABELWATCH_WORKER__STUCK_AFTER_SECONDS="4",
    )  # fmt: skip
    worker.wait_for("sink.retry", count=3)
    assert f"ClickHouse at {gate.url}, database embedded_away" in worker.text()
    assert batches(worker) == [], "without its state a worker does not begin"
    gate.open()
    until(lambda: received(client) == feed.total, "everything scored once ClickHouse is there")
    page = Page(worker)
    before, tried = page.messages(), page.metric("labelwatch_sink_retries_total")[()]
    assert (before, tried >= 3) == (feed.total, True)

    gate.shut()
    feed.produce(2_000, again=100)
    until(lambda: page.metric("labelwatch_sink_retries_total")[()] >= tried + 5, "it tries again and again")
    until(lambda: page.health()[0] == 503, "its page says that it stands still")
    assert worker.process.poll() is None
    assert received(client) == before, "nothing is written"
    # One checkpoint is stuck; beside it at most another one's worth and the batch that completed it is applied.
    assert page.messages() - before <= 2 * (few + batch), "consumption pauses: memory stays bounded"
    gate.open()
    until(lambda: received(client) == feed.total, "everything scored when ClickHouse is back")
    assert page.messages() == feed.total, "nothing was applied twice"
    until(lambda: page.health()[0] == 200, "its page says that it is well")
    assert worker.stop() == 0, worker.text()[-3_000:]
    assert sums(client) == expected_sums(feed)


def test_a_zombie_writes_nothing_more_and_ends(deployment: Deployment, feed: Feed) -> None:
    """The zombie believes every answer to be wrong: whatever it wrote would be seen."""
    reference, taken = deployment.database("reference"), deployment.database("taken")
    alone = deployment.start_worker("reference", "reference")
    zombie = deployment.start_worker(
        "taken", "taken", **NEVER,
        LABELWATCH_PROJECTS=json.dumps({"animals": {"labels": ["no such class"]}}),
        LABELWATCH_PIPELINE__BREAKER_BAD_SHARE="1",
    )  # fmt: skip
    page = Page(zombie)
    until(lambda: page.messages() == feed.total, "the zombie applied everything, and wrote nothing")
    refused = page.metric("labelwatch_dead_letters_total", reason="unknown_label")[()]
    judged = ((ANNOTATIONS.name, "accepted"), (ANNOTATIONS.name, "duplicate"), (REVIEWS.name, "accepted"))
    assert refused == sum(feed.counts[one] for one in judged)
    assert received(taken) == 0

    zombie.process.send_signal(signal.SIGSTOP)
    try:
        heir = deployment.start_worker("taken", "taken")
        until(lambda: received(taken) == feed.total, "another worker took over")
    finally:
        zombie.process.send_signal(signal.SIGCONT)
    assert zombie.process.wait(timeout=60) == 1
    assert "FencedError" in zombie.text()
    feed.produce(300, again=30, not_json=3)
    for client, worker in ((taken, heir), (reference, alone)):
        until(lambda client=client: received(client) == feed.total, "everything scored")
        assert worker.stop() == 0, worker.text()[-3_000:]
    expected = contents(reference)
    assert all(expected[name] for name in VIEWS)
    assert differences(contents(taken), expected) == {}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack without topics, whose input may be spoilt."""
    with EmbeddedStack(tmp_path_factory.mktemp("bare"), kafka_port=0, clickhouse_port=0) as stack:
        deployment = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, tmp_path_factory.mktemp("bare-workers"))
        yield deployment
        deployment.close()


def ended(worker: WorkerProcess) -> tuple[int, str]:
    """Exit code and log of a worker that ends by itself."""
    try:
        return worker.process.wait(timeout=60), worker.text()
    except subprocess.TimeoutExpired:
        pytest.fail(f"the worker did not end:\n{worker.text()[-3_000:]}")


def free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_no_broker(bare: Deployment) -> None:
    nowhere = free_address()
    code, log = ended(bare.start_worker("labelwatch", "a", LABELWATCH_KAFKA__BOOTSTRAP=nowhere))
    assert code == 1
    assert f"no Kafka broker answers ({nowhere}" in log
    assert "labelwatch up" in log
    assert "Traceback" not in log


def test_no_topics_then_no_tables_then_mostly_bad_input(bare: Deployment) -> None:
    code, log = ended(bare.start_worker("labelwatch", "a"))
    assert code == 1
    assert f"topics missing: {', '.join(topic.name for topic in TOPICS)}; run `labelwatch topics create`" in log
    assert bare.bootstrap in log
    assert "Traceback" not in log

    bare.create_topics()
    code, log = ended(bare.start_worker("labelwatch", "a"))
    assert code == 1
    assert bare.clickhouse_url in log
    assert "labelwatch migrate" in log

    client = bare.database("labelwatch")
    feed = Feed(bare)
    feed.produce(40)
    bare.produce([Message(ANNOTATIONS.name, b"task-3", b"<xml/>", 0)] * 120)
    worker = bare.start_worker("labelwatch", "a", **NEVER, LABELWATCH_PIPELINE__BREAKER_MIN_MESSAGES="100")
    code, log = ended(worker)
    assert code == 1
    assert "BreakerOpenError" in log
    assert re.search(r"120 of the last 1[0-5]\d messages are bad", log)
    assert received(client) == 0
    assert contents(client)["dead_letters"] == []
    lag = group_lag(bare.kafka, "a", [ANNOTATIONS.name])
    assert sum(lag.values()) == feed.total + 120, "nothing is acknowledged"
