"""The batch transport on a real broker: workers are processes, so they can be stopped and killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

pytestmark = pytest.mark.integration

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value of ``condition``, polled until the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"not within {seconds:.0f} s: {what}")


class Worker:
    """One worker process and what it has logged so far."""

    def __init__(self, log: Path, config: dict[str, Any]) -> None:
        self.log = log
        self.errors = log.with_suffix(".err")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("transport_worker.py")), json.dumps(config)],
                cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=errors, stderr=errors,
            )  # fmt: skip

    def lines(self, event: str) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        whole = self.log.read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == event]

    def batches(self, partition: int | None = None) -> list[dict[str, Any]]:
        return [b for b in self.lines("batch") if partition is None or b["partition"] == partition]

    def owned(self) -> list[list[Any]]:
        assigned = self.lines("assigned")
        return assigned[-1]["tps"] if assigned else []

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.exit_code()

    def exit_code(self) -> int:
        try:
            return self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the worker did not end: {self.errors.read_text()[-2000:]}")


class Cluster:
    """Topics, messages, offsets and workers of one test."""

    def __init__(self, broker: str, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.group = f"g-{uuid.uuid4().hex[:8]}"
        self.workers: list[Worker] = []

    async def topic(self, partitions: int) -> str:
        name = f"t-{uuid.uuid4().hex[:8]}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1)])
        finally:
            await admin.close()
        return name

    async def send(self, topic: str, counts: dict[int, int], size: int = 20) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, linger_ms=5)
        await producer.start()
        try:
            for partition, count in counts.items():
                for number in range(count):
                    await producer.send(topic, b"x" * size, key=f"{partition}-{number}".encode(), partition=partition)
            await producer.flush()
        finally:
            await producer.stop()

    async def committed(self, topic: str, partition: int = 0) -> int | None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.broker, group_id=self.group, enable_auto_commit=False)
        await consumer.start()
        try:
            offset: int | None = await consumer.committed(TopicPartition(topic, partition))
            return offset
        finally:
            await consumer.stop()

    async def until_committed(self, topic: str, offset: int, partition: int = 0) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (now := await self.committed(topic, partition)) != offset:
            assert time.monotonic() < deadline, f"{topic}[{partition}] is at {now}, not {offset}"
            await asyncio.sleep(0.2)

    def worker(self, *topics: str, **config: Any) -> Worker:
        name = f"worker{len(self.workers)}"
        log = self.folder / f"{name}.jsonl"
        defaults = {"broker": self.broker, "group": self.group, "topics": topics, "log": str(log)}
        worker = Worker(log, {**defaults, "datadir": str(self.folder / name), **config})
        self.workers.append(worker)
        return worker


@pytest.fixture
async def cluster(broker: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(broker, tmp_path)
    yield cluster
    for worker in cluster.workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


def offsets(batches: list[dict[str, Any]]) -> list[int]:
    return [offset for batch in batches for offset in range(batch["first"], batch["last"] + 1)]


async def test_batches_are_whole_ordered_and_committed_one_past_the_last(cluster: Cluster) -> None:
    topic = await cluster.topic(2)
    await cluster.send(topic, {0: 250, 1: 99})
    worker = cluster.worker(topic, keys=True)
    until(lambda: len(offsets(worker.batches())) == 349, "everything delivered")

    assert offsets(worker.batches(0)) == list(range(250))
    assert offsets(worker.batches(1)) == list(range(99))
    assert max(batch["n"] for batch in worker.batches()) <= 100
    assert [key for b in worker.batches(0) for key in b["keys"]] == [f"0-{n}" for n in range(250)]
    await cluster.until_committed(topic, 250, partition=0)
    await cluster.until_committed(topic, 99, partition=1)
    assert worker.stop() == 0


async def test_a_restart_continues_after_the_committed_offset(cluster: Cluster) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 200})
    first = cluster.worker(topic, commit_interval=600)  # only the commit at stop can move the group
    until(lambda: len(offsets(first.batches())) == 200, "everything delivered")
    first.stop()
    assert await cluster.committed(topic) == 200

    await cluster.send(topic, {0: 50})
    second = cluster.worker(topic)
    until(second.batches, "the rest delivered")
    assert second.batches()[0]["first"] == 200


@pytest.mark.parametrize("wait_empty", [False, True])
async def test_reading_alone_acknowledges_nothing(cluster: Cluster, wait_empty: bool) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 300})
    first = cluster.worker(topic, acknowledge="never", wait_empty=wait_empty)
    until(lambda: len(offsets(first.batches())) == 300, "everything delivered")
    first.stop()
    assert await cluster.committed(topic) is None

    second = cluster.worker(topic, acknowledge="never")
    until(lambda: len(offsets(second.batches())) == 300, "everything delivered again")
    assert second.batches()[0]["first"] == 0


async def test_an_exception_in_an_agent_loses_nothing_and_ends_the_worker(cluster: Cluster) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 500})
    failing = cluster.worker(topic, fail_at=250)
    assert failing.exit_code() != 0
    failed = failing.batches()[-1]
    assert failed["first"] <= 250 <= failed["last"], "nothing was read after the failed batch"
    assert await cluster.committed(topic) in (None, *(b["first"] for b in failing.batches()))

    healthy = cluster.worker(topic)
    until(lambda: healthy.batches() and healthy.batches()[-1]["last"] == 499, "the rest delivered")
    assert set(offsets(healthy.batches())) >= set(range(failed["first"], 500))
    await cluster.until_committed(topic, 500)


async def test_a_partition_resumes_at_the_stored_position(cluster: Cluster) -> None:
    topic = await cluster.topic(3)
    await cluster.send(topic, {0: 300, 1: 300, 2: 300})
    seed = cluster.worker(topic, acknowledge_until=199, batch_max_records=50)
    for partition in range(3):
        await cluster.until_committed(topic, 200, partition)
    seed.stop()

    # 0: stored ahead of the group; 1: stored behind the group; 2: nothing stored
    worker = cluster.worker(topic, stored={"0": 260, "1": 120}, acknowledge="never")
    until(lambda: len({batch["partition"] for batch in worker.batches()}) == 3, "all partitions delivered")
    first = {partition: worker.batches(partition)[0]["first"] for partition in range(3)}
    assert first == {0: 260, 1: 120, 2: 200}
    provided = worker.lines("provider")[0]["tps"]
    assert provided == [[topic, 0], [topic, 1], [topic, 2]]
    await cluster.until_committed(topic, 260, partition=0)  # a stored position vouches for what is before it
    assert await cluster.committed(topic, 1) == 200, "what the group has committed never goes back"


async def test_a_stored_position_at_the_end_waits_for_new_records(cluster: Cluster) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 40})
    worker = cluster.worker(topic, stored={"0": 40})
    await cluster.until_committed(topic, 40)
    await cluster.send(topic, {0: 5})
    until(worker.batches, "the new records delivered")
    assert worker.batches()[0]["first"] == 40


@pytest.mark.parametrize(("stored", "message"), [("fail", "state store is away"), ({"0": 41}, "stored position 41 of")])
async def test_a_worker_that_cannot_resume_ends(cluster: Cluster, stored: Any, message: str) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 40})
    worker = cluster.worker(topic, stored=stored)
    assert worker.exit_code() != 0
    assert message in worker.errors.read_text()
    assert worker.batches() == []
    assert await cluster.committed(topic) is None


async def test_a_killed_workers_partitions_move_and_resume_at_the_committed_offset(cluster: Cluster) -> None:
    topic = await cluster.topic(4)
    await cluster.send(topic, dict.fromkeys(range(4), 400))
    workers = [cluster.worker(topic, acknowledge_until=299, batch_max_records=50) for _ in range(2)]
    until(lambda: [len(worker.owned()) for worker in workers] == [2, 2], "two partitions each")
    for partition in range(4):
        await cluster.until_committed(topic, 300, partition)
    killed, other = workers
    taken = [partition for _, partition in killed.owned()]
    killed.stop(signal.SIGKILL)
    before = len(other.batches())

    until(lambda: len(other.owned()) == 4, "the survivor owns everything")
    for partition in taken:
        batches = until(
            lambda partition=partition: [b for b in other.batches()[before:] if b["partition"] == partition],
            f"partition {partition} delivered to the survivor",
        )
        assert batches[0]["first"] == 300


async def test_what_is_acknowledged_while_revoking_is_committed(cluster: Cluster) -> None:
    topic = await cluster.topic(2)
    await cluster.send(topic, {0: 100, 1: 100})
    first = cluster.worker(topic, acknowledge="on_revoke", commit_interval=600)
    until(lambda: len(offsets(first.batches())) == 200, "everything delivered")
    assert await cluster.committed(topic) is None

    second = cluster.worker(topic, acknowledge="never")
    until(lambda: len(second.owned()) == 1 and len(first.owned()) == 1, "one partition each")
    assert [line["accepted"] for line in first.lines("late")][:2] == [True, True]
    for partition in range(2):
        await cluster.until_committed(topic, 100, partition)
    await cluster.send(topic, {0: 10, 1: 10})
    until(second.batches, "the second worker reads")
    assert second.batches()[0]["first"] == 100


async def test_a_stopping_worker_can_acknowledge_and_commit_a_last_time(cluster: Cluster) -> None:
    topic = await cluster.topic(1)
    await cluster.send(topic, {0: 100})
    worker = cluster.worker(topic, acknowledge="on_shutdown", commit_interval=600)
    until(lambda: len(offsets(worker.batches())) == 100, "everything delivered")
    assert await cluster.committed(topic) is None
    assert worker.stop() == 0
    assert [line["committed"] for line in worker.lines("late")] == [True]
    assert await cluster.committed(topic) == 100


async def test_equal_partitions_of_two_topics_are_on_one_worker(cluster: Cluster) -> None:
    # Three partitions: round robin over both topics would split every pair between two workers.
    topics = [await cluster.topic(3), await cluster.topic(3)]
    workers = [cluster.worker(*topics) for _ in range(2)]
    until(lambda: sorted(len(worker.owned()) for worker in workers) == [2, 4], "one and two pairs of partitions")
    for worker in workers:
        of = {topic: {p for t, p in worker.owned() if t == topic} for topic in topics}
        assert of[topics[0]] == of[topics[1]]


async def test_a_slow_agent_holds_fetching_back_and_every_partition_progresses(cluster: Cluster) -> None:
    topic = await cluster.topic(4)
    await cluster.send(topic, dict.fromkeys(range(4), 12_000), size=2_000)  # 96 MB of values
    worker = cluster.worker(topic, delay_seconds=0.02)
    until(lambda: len(offsets(worker.batches())) >= 24_000, "half of the backlog delivered")
    shares = [len(offsets(worker.batches(partition))) for partition in range(4)]
    assert min(shares) > 2_000, "every partition progresses while there is a backlog"
    until(lambda: len(offsets(worker.batches())) == 48_000, "the backlog delivered")

    batches = worker.batches()
    for partition in range(4):
        assert offsets(worker.batches(partition)) == list(range(12_000))
    assert max(batch["buffered"] for batch in batches) <= 16
    assert max(batch["buffered"] for batch in batches) >= 12, "the agent was slow enough for pressure"
    grown_kb = max(batch["resident_kb"] for batch in batches) - batches[0]["resident_kb"]
    assert grown_kb < 48_000, "less than half of the backlog was ever in memory"
    for partition in range(4):
        await cluster.until_committed(topic, 12_000, partition)


async def test_batch_and_plain_topics_live_in_one_application(cluster: Cluster) -> None:
    topic, plain = await cluster.topic(1), await cluster.topic(1)
    await cluster.send(topic, {0: 120})
    await cluster.send(plain, {0: 30})
    worker = cluster.worker(topic, plain_topic=plain)
    until(lambda: len(offsets(worker.batches())) == 120 and len(worker.lines("plain")) == 30, "both delivered")
    assert [line["offset"] for line in worker.lines("plain")] == list(range(30))
    await cluster.until_committed(topic, 120)
    await cluster.until_committed(plain, 30)


async def test_no_record_is_missed_while_workers_come_and_go(cluster: Cluster) -> None:
    topic = await cluster.topic(4)
    await cluster.send(topic, dict.fromkeys(range(4), 500))
    cluster.worker(topic, delay_seconds=0.02, batch_max_records=20)
    for how in (signal.SIGKILL, signal.SIGTERM):
        guest = cluster.worker(topic, delay_seconds=0.02, batch_max_records=20)
        until(guest.owned, "the guest owns partitions")
        await cluster.send(topic, dict.fromkeys(range(4), 500))
        until(guest.batches, "the guest reads")
        guest.stop(how)  # in the middle: it had a second's work
    for partition in range(4):
        await cluster.until_committed(topic, 1_500, partition)
    seen: dict[int, set[int]] = defaultdict(set)
    for worker in cluster.workers:
        for batch in worker.batches():
            seen[batch["partition"]].update(offsets([batch]))
    assert seen == {partition: set(range(1_500)) for partition in range(4)}
