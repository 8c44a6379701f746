"""Apache Kafka itself: clients work, data survives a restart, nothing survives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.kafka import server
from deploy.kafka.classpath import KafkaServerError, kafka_version
from deploy.kafka.command import main
from deploy.kafka.server import ApacheKafka, PortTakenError, available, read_state, stop_recorded
from deploy.local.stack_state import ProcessId

with warnings.catch_warnings():
    # kafka-python 3.0 reads its schemas through importlib functions that 3.11 deprecated and 3.13 brought back.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

_REASON = available()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),
    pytest.mark.skipif(_REASON is not None, reason=f"Apache Kafka cannot run here: {_REASON}"),
]
_REPO = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with ApacheKafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {_DEADLINE_SECONDS:.0f} s: {what}"
        time.sleep(0.05)


def _create_topic(bootstrap: str, name: str, partitions: int = 2) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
    finally:
        admin.close()


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        for future in [producer.send(topic, value, key=value) for value in values]:
            future.get(timeout=30)
    finally:
        producer.close()


def _consume(bootstrap: str, topic: str, group: str, count: int) -> tuple[list[bytes], int]:
    """The next `count` values of a group, and the sum of its offsets after it committed them."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        values: list[bytes] = []
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while len(values) < count:
            assert time.monotonic() < deadline, f"only {len(values)} of {count} records of {topic}"
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
        consumer.commit()
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        return values, sum(consumer.committed(partition) or 0 for partition in partitions)
    finally:
        consumer.close()


def test_a_group_reads_what_was_produced_and_commits_it(broker: ApacheKafka) -> None:
    values = [b"%d" % number for number in range(100)]
    _create_topic(broker.bootstrap, "round-trip")
    _produce(broker.bootstrap, "round-trip", values)

    received, committed = _consume(broker.bootstrap, "round-trip", "readers", len(values))

    assert sorted(received) == sorted(values)
    assert committed == len(values)


def test_a_topic_is_never_made_by_using_it(broker: ApacheKafka) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, max_block_ms=2_000)
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        with pytest.raises(Exception, match=r"(?i)metadata|topic|unknown"):
            producer.send("mistyped", b"x").get(timeout=5)
        assert "mistyped" not in [t["name"] if isinstance(t, dict) else t for t in admin.list_topics()]
    finally:
        admin.close()
        producer.close(timeout=5)


def test_a_second_broker_on_the_same_folder_is_refused(broker: ApacheKafka) -> None:
    with pytest.raises(KafkaServerError, match=f"process {broker.pid}.*already runs"):
        ApacheKafka(broker.data_dir).start()

    assert read_state(broker.data_dir) is not None


def test_a_given_port_that_is_taken_is_refused_at_once(broker: ApacheKafka, tmp_path: Path) -> None:
    other = ApacheKafka(tmp_path, broker.port)

    with pytest.raises(PortTakenError, match=f"another program listens at {broker.bootstrap}"):
        other.start()

    assert other.pid is None
    assert not (tmp_path / "log").exists()


def test_a_free_port_that_was_lost_meanwhile_is_replaced(
    broker: ApacheKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [server._free_ports(), (broker.port, server._free_ports()[0])]
    monkeypatch.setattr(server, "_free_ports", others.pop)

    with ApacheKafka(tmp_path) as other:  # the broker at the lost port answers, and must not be taken for this one
        assert others == []
        assert other.port != broker.port


def test_a_broker_that_cannot_run_shows_its_log(tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path, heap_mb=1)

    with pytest.raises(KafkaServerError, match=rf"(?s)exit code \d+ before it answered.*{kafka.log_path}.*heap"):
        kafka.start()

    assert kafka.pid is None
    assert read_state(tmp_path) is None


def test_a_restart_keeps_records_and_commits(tmp_path: Path) -> None:
    kafka = ApacheKafka(tmp_path / "data")
    with kafka:
        first_port = kafka.port
        _create_topic(kafka.bootstrap, "kept")
        _produce(kafka.bootstrap, "kept", [b"a", b"b", b"c"])
        assert _consume(kafka.bootstrap, "kept", "readers", 3)[1] == 3
    assert kafka.pid is None
    with kafka:
        assert kafka.port == first_port
        _produce(kafka.bootstrap, "kept", [b"d"])
        assert _consume(kafka.bootstrap, "kept", "readers", 1) == ([b"d"], 4)
        assert sorted(_consume(kafka.bootstrap, "kept", "newcomers", 4)[0]) == [b"a", b"b", b"c", b"d"]


def test_killing_the_parent_leaves_no_broker_and_the_folder_usable(tmp_path: Path) -> None:
    # Started in a thread that ends at once: the broker must live as long as the process, not as that thread.
    script = (
        "import sys, threading; from pathlib import Path; from deploy.kafka.server import ApacheKafka\n"
        "kafka = ApacheKafka(Path(sys.argv[1])); thread = threading.Thread(target=kafka.start)\n"
        "thread.start(); thread.join(); print('ready' if kafka.pid else '', flush=True); kafka.pid and sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=_REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        try:
            assert any("ready" in line for line in parent.stdout)  # ends with the output, if it fails
            state = read_state(tmp_path)
            assert state is not None
            assert state.process.alive()
        finally:
            parent.kill()
    _until(lambda: not state.process.alive(), "the broker is gone")
    assert read_state(tmp_path) is None
    with ApacheKafka(tmp_path) as again:
        assert again.pid is not None


def test_the_command_starts_reports_and_stops_a_broker_that_outlives_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    command = [sys.executable, "-m", "deploy.kafka.server"]
    try:
        subprocess.run([*command, "up", "--port", "0", "--data-dir", folder], cwd=_REPO, check=True, timeout=120)
        state = read_state(Path(folder))
        assert state is not None

        report = CliRunner().invoke(main, ["status", "--data-dir", folder])
        assert (report.exit_code, state.bootstrap in report.output) == (0, True)
        _create_topic(state.bootstrap, "through-the-command")

        second = CliRunner().invoke(main, ["up", "--port", "0", "--data-dir", folder])
        assert second.exit_code == 1
        assert "already runs" in second.output
    finally:
        stopped = CliRunner().invoke(main, ["down", "--data-dir", folder])
    assert stopped.output == "stopped\n"
    assert not state.process.alive()
    assert CliRunner().invoke(main, ["status", "--data-dir", folder]).exit_code == 1


def test_a_recorded_process_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    server._write_state(tmp_path, server.BrokerState(ProcessId(me.pid, "0"), 9092, kafka_version()))

    assert stop_recorded(tmp_path) is False
    assert not (tmp_path / server.STATE_FILE).exists()
