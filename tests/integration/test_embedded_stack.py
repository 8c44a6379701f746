"""The embedded stack as a whole: broker, start and stop, restarts, orphans, and the commands."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from click.testing import CliRunner, Result

from deploy.local.daemon import stop_stack
from deploy.local.stack import EmbeddedStack, PortTakenError, StackError, StackRunningError
from deploy.local.stack_state import ProcessId, read_state
from streams.cli.stack import down, status, up

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python reads its schemas by an old function
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import KafkaAdminClient, NewTopic

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).resolve().parents[2]
GROUP_OPTIONS = {
    "auto_offset_reset": "earliest",
    "enable_auto_commit": False,
    "session_timeout_ms": 6000,
    "heartbeat_interval_ms": 1000,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    folder = tmp_path_factory.mktemp("stack")
    with EmbeddedStack(data_dir=folder, kafka_port=0, clickhouse_port=0) as started:
        yield started


def make_topic(bootstrap: str, name: str, partitions: int = 2) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name=name, num_partitions=partitions, replication_factor=1)])
    finally:
        admin.close()


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    try:
        sent = [producer.send(topic, value, key=value) for value in values]
        for future in sent:
            future.get(timeout=20)
    finally:
        producer.close()


def consume(bootstrap: str, topic: str, group: str, expected: int) -> list[bytes]:
    """`expected` values read and committed by a member of `group`."""
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, **GROUP_OPTIONS)
    values: list[bytes] = []
    try:
        deadline = time.monotonic() + 30
        while len(values) < expected and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=300).values():
                values += [record.value for record in records]
        consumer.commit()
    finally:
        consumer.close()
    return values


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# --- broker ---------------------------------------------------------------------------------------------


def test_kafka_python_group_reads_commits_and_resumes(stack: EmbeddedStack) -> None:
    bootstrap = stack.kafka_bootstrap
    make_topic(bootstrap, "one")
    first = [b"%d" % number for number in range(3000)]
    produce(bootstrap, "one", first)
    assert sorted(consume(bootstrap, "one", "readers", 3000)) == sorted(first)
    produce(bootstrap, "one", [b"later"])
    assert consume(bootstrap, "one", "readers", 1) == [b"later"]


async def test_aiokafka_group_reads_commits_and_resumes(stack: EmbeddedStack) -> None:
    bootstrap = stack.kafka_bootstrap
    make_topic(bootstrap, "two")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for number in range(500):
            await producer.send("two", b"%d" % number, key=b"k")
        await producer.flush()
        consumer = AIOKafkaConsumer("two", bootstrap_servers=bootstrap, group_id="areaders", **GROUP_OPTIONS)
        await consumer.start()
        try:
            values: list[bytes] = []
            while len(values) < 500:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    values += [record.value for record in records]
            await consumer.commit()
            (used,) = {partition for partition in consumer.assignment() if await consumer.position(partition)}
        finally:
            await consumer.stop()
        assert values == [b"%d" % number for number in range(500)]
        resumed = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id="areaders", **GROUP_OPTIONS)
        await resumed.start()
        try:
            resumed.assign([used])
            assert await resumed.committed(used) == 500
            await producer.send_and_wait("two", b"later", key=b"k")
            assert (await resumed.getone()).value == b"later"
        finally:
            await resumed.stop()
    finally:
        await producer.stop()


def test_the_end_of_a_partition_is_its_end(stack: EmbeddedStack) -> None:
    """The broker itself would answer with the first offset of the last batch, plus one."""
    bootstrap = stack.kafka_bootstrap
    make_topic(bootstrap, "ends", partitions=1)
    partition = TopicPartition("ends", 0)
    reader = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        assert reader.end_offsets([partition]) == {partition: 0}
        produce(bootstrap, "ends", [b"x"] * 700)
        assert reader.end_offsets([partition]) == {partition: 700}
        assert reader.beginning_offsets([partition]) == {partition: 0}
    finally:
        reader.close()


async def test_aiokafka_produces_idempotently_and_topics_are_not_made_by_chance(stack: EmbeddedStack) -> None:
    bootstrap = stack.kafka_bootstrap
    make_topic(bootstrap, "idempotent")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, request_timeout_ms=1000)
    await producer.start()
    try:
        sent = await producer.send_and_wait("idempotent", b"1")
        assert sent.offset == 0
        with pytest.raises(KafkaError):
            await producer.send_and_wait("misspelt", b"1")
    finally:
        await producer.stop()
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        assert "misspelt" not in admin.list_topics()
    finally:
        admin.close()


# --- restarts and ends ----------------------------------------------------------------------------------


def test_a_restart_keeps_rows_messages_and_offsets(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path, 0, 0) as stack:
        make_topic(stack.kafka_bootstrap, "kept", partitions=1)
        produce(stack.kafka_bootstrap, "kept", [b"a", b"b", b"c"])
        assert len(consume(stack.kafka_bootstrap, "kept", "g", 3)) == 3
        with clickhouse_connect.get_client(dsn=stack.clickhouse_url) as client:
            client.command("CREATE TABLE kept (id UInt64) ENGINE = MergeTree ORDER BY id")
            client.insert("kept", [[1], [2]], column_names=["id"])
        # The second start follows a crash of both, not a clean stop.
        for pid in stack.pids.values():
            os.kill(pid, signal.SIGKILL)
    with EmbeddedStack(tmp_path, 0, 0) as stack:
        produce(stack.kafka_bootstrap, "kept", [b"d"])
        partition = TopicPartition("kept", 0)
        reader = KafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, group_id="g", **GROUP_OPTIONS)
        try:
            reader.assign([partition])
            assert reader.committed(partition) == 3
            records: list[Any] = []
            assert wait_until(lambda: bool(records.extend(reader.poll(300).get(partition, [])) or records))
            assert [(record.offset, record.value) for record in records] == [(3, b"d")]
        finally:
            reader.close()
        with clickhouse_connect.get_client(dsn=stack.clickhouse_url) as client:
            assert client.query("SELECT id FROM kept ORDER BY id").result_columns == [[1, 2]]


OWNER = """
import sys, threading
from pathlib import Path
from deploy.local.stack import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1]), 0, 0)
starter = threading.Thread(target=stack.start)  # the thread that starts the services ends at once
starter.start(); starter.join()
print("up", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_service_outlives_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n" or owner.stdout.readline() == b"up\n"
        state = read_state(tmp_path)
        assert state is not None
        family = [*state.services.values(), *children_of(state.broker.pid)]
        assert len(family) == 3
        assert state.running()
        owner.send_signal(number)
        owner.wait(20)
        assert wait_until(lambda: not any(process.alive() for process in family))
    finally:
        owner.kill()
        owner.communicate()


def test_the_broker_dies_with_its_killed_supervisor(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path, 0, 0) as stack:
        (binary,) = children_of(stack.pids["broker"])
        assert binary.alive()
        os.kill(stack.pids["broker"], signal.SIGKILL)
        assert wait_until(lambda: not binary.alive())
        assert wait_until(lambda: "broker" in stack.ended())


def children_of(pid: int) -> list[ProcessId]:
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in listing.stdout.splitlines()]
    found = [ProcessId.of(int(child)) for child, parent in pairs if int(parent) == pid]
    return [process for process in found if process]


# --- what can go wrong at the start ---------------------------------------------------------------------


@pytest.mark.parametrize(("position", "option"), [(0, "--kafka-port"), (1, "--clickhouse-port")])
def test_a_taken_port_is_named_with_its_option(tmp_path: Path, position: int, option: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = [0, 0]
        ports[position] = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {ports[position]} .*{option}"):
            EmbeddedStack(tmp_path, *ports).start()


def test_a_second_start_names_the_running_stack(stack: EmbeddedStack) -> None:
    with pytest.raises(StackRunningError, match=stack.kafka_bootstrap) as caught:
        EmbeddedStack(stack.data_dir, 0, 0).start()
    assert caught.value.state == stack.state
    assert stack.ended() == {}


def test_a_service_that_cannot_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_TANSU_BIN", "/nowhere/tansu")
    stack = EmbeddedStack(tmp_path, 0, 0)
    with pytest.raises(StackError, match=r"(?s)broker ended with exit code 1.*broker\.log.*/nowhere/tansu"):
        stack.start()
    assert stack.ended() == {}
    assert read_state(tmp_path) is None


def test_one_engine_owns_a_folder(stack: EmbeddedStack) -> None:
    command = [sys.executable, "-m", "deploy.local.clickhouse_server", "--port", "0", "--data"]
    done = subprocess.run(
        [*command, str(stack.data_dir / "clickhouse")], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "in use by another process" in done.stderr


# --- commands -------------------------------------------------------------------------------------------


def run(command: Any, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_up_status_down(tmp_path: Path) -> None:
    folder = tmp_path / "lw"
    where = ("--data-dir", str(folder))
    assert run(status, *where).exit_code == 3
    started = run(up, *where, "--detach", "--kafka-port", "0", "--clickhouse-port", "0")
    try:
        assert started.exit_code == 0, started.output
        shown = run(status, *where, "--json")
        assert shown.exit_code == 0
        facts = json.loads(shown.output)
        assert facts["running"] is True
        assert facts["kafka_bootstrap"] in started.output
        assert run(status, *where).exit_code == 0
        again = run(up, *where)
        assert again.exit_code == 0
        assert "Already running" in again.output
        with clickhouse_connect.get_client(dsn=facts["clickhouse_url"]) as client:
            assert client.command("SELECT 1") == 1
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            failed = run(up, "--data-dir", str(tmp_path / "b"), "--detach", "--kafka-port", port)
        assert failed.exit_code == 1
        assert "--kafka-port" in failed.output
        state = read_state(folder)
        assert state is not None
        assert run(down, *where).exit_code == 0
        assert not any(process.alive() for process in [state.owner, *state.services.values()])
    finally:
        stop_stack(folder)
    assert run(status, *where).exit_code == 3
    (folder / "mine.txt").write_text("kept", encoding="utf-8")
    assert run(down, *where, "--wipe").exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_up_in_front_stops_at_ctrl_c(tmp_path: Path) -> None:
    code = "from streams.cli.stack import up; up()"
    front = subprocess.Popen(
        [
            sys.executable, "-c", code, "--data-dir", str(tmp_path),
            "--kafka-port", "0", "--clickhouse-port", "0",
        ],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )  # fmt: skip
    try:
        assert front.stdout is not None
        lines = iter(front.stdout.readline, "")
        assert any("Ctrl-C" in line for line in lines)
        state = read_state(tmp_path)
        assert state is not None
        front.send_signal(signal.SIGINT)
        assert front.wait(20) == 0
        assert "Stopped." in front.stdout.read()
        assert not any(process.alive() for process in state.services.values())
        assert read_state(tmp_path) is None
    finally:
        front.kill()
        front.communicate()
