"""What we ask of the broker besides messages: topics as the registry declares them, and lag.

Connection options live here once, as kafka-python wants them, for the admin client, producers and consumers alike.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from schemas.topics import TOPICS, Topic
from streams.settings import KafkaSettings

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, TopicPartition

#: kafka-python waits 30 s for a broker that is not there; a person at a terminal should not.
_BOOTSTRAP_TIMEOUT_MS: Final = 8_000
_CONNECT_TIMEOUT_SECONDS: Final = 3.0
_FETCH_SECONDS: Final = 10.0
_FETCH_POLL_MS: Final = 100
_UNKNOWN_TOPIC: Final = 3
_ALREADY_EXISTS: Final = 36
_REMEDY: Final = "Start the embedded one with `labelwatch up`, or set LABELWATCH_KAFKA__BOOTSTRAP"

T = TypeVar("T")
Outcome = Literal["created", "exists", "differs", "missing"]


class BrokerError(Exception):
    """The broker cannot be used; the message says which address was tried, and what to do."""


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """A registered topic against the broker's. ``partitions`` is what is there, or would be created."""

    topic: Topic
    outcome: Outcome
    wanted_partitions: int
    partitions: int
    replication: int

    @property
    def advice(self) -> str:
        """What to do about a topic that differs; '' otherwise."""
        if self.outcome != "differs":
            return ""
        name, there, wanted = self.topic.name, self.partitions, self.wanted_partitions
        if self.topic.copartition is not None:
            # More partitions would move keys, and a topic made anew has lower offsets than what is stored.
            return (
                f"{name} has {there} partitions, not {wanted}. "
                f"Either keep it: set LABELWATCH_KAFKA__PARTITIONS={there}; or start over with {wanted}: new "
                "topics, a new worker.app_id and a new clickhouse.database, as docs/runbooks/start-over.md says"
            )
        keep = "keep it: nothing breaks, reading is only less parallel than declared"
        grow = "add partitions" if wanted > there else ""
        drop = f"delete the topic with its messages, then run `labelwatch topics create` (gives it {wanted})"
        choices = "; or ".join(choice for choice in (keep, grow, drop) if choice)
        return f"{name} has {there} partitions, not {wanted}. Either {choices}"


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Connection options for any kafka-python client.

    The dictionary holds the password: never log it.

    >>> client_options(KafkaSettings(bootstrap="a:9092, b:9092"))["bootstrap_servers"]
    ['a:9092', 'b:9092']
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in settings.bootstrap.split(",") if address.strip()],
        "client_id": "labelwatch",
        "security_protocol": settings.security_protocol,
        "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS,
    }
    if settings.ssl_cafile is not None:
        options["ssl_cafile"] = str(settings.ssl_cafile)
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.password(),
        }
    return options


def async_client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Connection options for any aiokafka client.

    The dictionary holds the password: never log it.

    >>> async_client_options(KafkaSettings(bootstrap="a:9092"))["security_protocol"]
    'PLAINTEXT'
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in settings.bootstrap.split(",") if address.strip()],
        "client_id": "labelwatch",
        "security_protocol": settings.security_protocol,
        "ssl_context": ssl_context(settings),
    }
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.password(),
        }
    return options


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """What to trust of a broker that is reached by TLS; None where it is not."""
    if not settings.security_protocol.endswith("SSL"):
        return None
    return ssl.create_default_context(cafile=None if settings.ssl_cafile is None else str(settings.ssl_cafile))


def wanted_partitions(topic: Topic, settings: KafkaSettings) -> int:
    """Partitions the topic should have: the settings' count where state depends on it, else the registry's."""
    if topic.copartition is not None and settings.partitions is not None:
        return settings.partitions
    return topic.partitions


def require_broker(settings: KafkaSettings, doing: str) -> None:
    """Return when something listens at a bootstrap address.

    Clients are made only after this: one that cannot connect keeps trying for its whole timeout, and leaves
    sockets and a thread behind.

    Raises:
        BrokerError: nothing listens at any of them.
    """
    failures = []
    for address in client_options(settings)["bootstrap_servers"]:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_SECONDS).close()
        except ValueError:
            failures.append(f"{address} is not host:port")
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        else:
            return
    raise BrokerError(f"{doing}: no Kafka broker answers ({'; '.join(failures) or 'no address given'}). {_REMEDY}")


@contextmanager
def broker_errors(settings: KafkaSettings, doing: str) -> Iterator[None]:
    """Turn kafka-python's errors into one sentence with the address and what to do.

    Raises:
        BrokerError: in place of any error of the client library.
    """
    from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

    try:
        yield
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise BrokerError(f"{doing}: no Kafka broker answers at {settings.bootstrap} ({error}). {_REMEDY}") from error
    except KafkaError as error:
        raise BrokerError(f"{doing}: the broker at {settings.bootstrap} refused: {error}") from error


@contextmanager
def _admin(settings: KafkaSettings, doing: str) -> Iterator[KafkaAdminClient]:
    require_broker(settings, doing)
    from kafka import KafkaAdminClient

    with broker_errors(settings, doing):
        client = KafkaAdminClient(**client_options(settings))
        try:
            yield client
        finally:
            client.close()


def describe(settings: KafkaSettings, topics: Sequence[Topic] = TOPICS) -> list[TopicStatus]:
    """Each registered topic: exists, differs or missing.

    Raises:
        BrokerError: the broker is away or refuses.
    """
    with _admin(settings, "describing topics") as admin:
        return _describe(admin, settings, topics)


def create_topics(
    settings: KafkaSettings, *, dry_run: bool = False, topics: Sequence[Topic] = TOPICS
) -> list[TopicStatus]:
    """Create the registered topics that are missing. Existing ones are never changed.

    Args:
        settings: where, with how many replicas, and the partitions of topics whose partitions have state.
        dry_run: ask only; what would be created stays ``missing``. (The broker's own ``validate_only`` is not
            used: the embedded broker creates the topic all the same.)
        topics: the registry, unless a test says otherwise.

    Raises:
        BrokerError: the broker is away or refuses.
    """
    with _admin(settings, "creating topics") as admin:
        before = _describe(admin, settings, topics)
        missing = [status for status in before if status.outcome == "missing"]
        if dry_run or not missing:
            return before
        answer = admin.create_topics(
            {
                status.topic.name: {
                    "num_partitions": status.wanted_partitions,
                    "replication_factor": settings.replication,
                    "configs": status.topic.config,
                }
                for status in missing
            },
            raise_errors=False,
        )
        created = set()
        for one in answer["topics"]:
            if one["error_code"] == 0:
                created.add(one["name"])
            elif one["error_code"] != _ALREADY_EXISTS:  # else another process was quicker: describe it
                why = one.get("error_message") or f"error {one['error_code']}"
                raise BrokerError(f"the broker at {settings.bootstrap} refused to create {one['name']}: {why}")
        admin.wait_for_topics([status.topic.name for status in missing])
        return [
            TopicStatus(s.topic, "created", s.wanted_partitions, s.partitions, s.replication)
            if s.topic.name in created and s.outcome == "exists"
            else s
            for s in _describe(admin, settings, topics)
        ]


def _describe(admin: KafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]) -> list[TopicStatus]:
    from kafka.errors import for_code

    # By name even when all are wanted: on some brokers an authorised user may describe only its own.
    there = {one["name"]: one for one in admin.describe_topics([topic.name for topic in topics])}
    statuses = []
    for topic in topics:
        wanted = wanted_partitions(topic, settings)
        found = there.get(topic.name)
        if found is None or found["error_code"] == _UNKNOWN_TOPIC:
            statuses.append(TopicStatus(topic, "missing", wanted, wanted, settings.replication))
            continue
        if found["error_code"] != 0:
            error = for_code(found["error_code"]).__name__
            raise BrokerError(f"the broker at {settings.bootstrap} does not describe {topic.name}: {error}")
        partitions = found["partitions"]
        outcome: Outcome = "exists" if len(partitions) == wanted else "differs"
        replication = min((len(p["replica_nodes"]) for p in partitions), default=0)
        statuses.append(TopicStatus(topic, outcome, wanted, len(partitions), replication))
    return statuses


def _retried(ask: Callable[[], T]) -> T:
    """The answer, asked again while the broker says "not now": a new cluster's first group takes it a few seconds."""
    from kafka.errors import RetriableError

    deadline = time.monotonic() + _FETCH_SECONDS
    while True:
        try:
            return ask()
        except RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_FETCH_POLL_MS / 1_000)


def end_offsets(settings: KafkaSettings, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset that the next message of each partition will get, from the answer to a fetch.

    The admin question (list offsets) is not enough: for the embedded broker it counts the last batch as one message,
    so 10 messages sent as two batches of 5 end at 6.

    Raises:
        BrokerError: the broker is away, refuses, or does not say within 10 s.
    """
    require_broker(settings, "reading end offsets")
    from kafka import KafkaConsumer

    with broker_errors(settings, "reading end offsets"):
        # At the end there is nothing to fetch: without the short wait the broker would hold each answer back.
        consumer = KafkaConsumer(**client_options(settings), enable_auto_commit=False, fetch_max_wait_ms=10)
        try:
            consumer.assign(list(partitions))
            for partition, offset in consumer.end_offsets(list(partitions)).items():
                consumer.seek(partition, offset)
            ends: dict[TopicPartition, int] = {}
            deadline = time.monotonic() + _FETCH_SECONDS
            while len(ends) < len(partitions):
                if time.monotonic() > deadline:
                    raise BrokerError(f"reading end offsets: no answer from {settings.bootstrap} in {_FETCH_SECONDS} s")
                consumer.poll(_FETCH_POLL_MS)
                highest = {partition: consumer.highwater(partition) for partition in partitions}
                ends = {partition: end for partition, end in highest.items() if end is not None}
            return ends
        finally:
            consumer.close()


def group_lag(settings: KafkaSettings, group: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """Messages behind the group's committed position, per partition of the topics.

    A partition without a commit counts from its oldest message. Topics that do not exist are left out.

    Raises:
        BrokerError: the broker is away or refuses.
    """
    from kafka import TopicPartition
    from kafka.protocol.consumer import OffsetSpec

    with _admin(settings, f"reading the lag of {group}") as admin:
        partitions = [
            TopicPartition(topic["name"], partition["partition_index"])
            for topic in admin.describe_topics(list(topics))
            if topic["error_code"] == 0
            for partition in topic["partitions"]
        ]
        if not partitions:
            return {}
        starts = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
        commits = _retried(lambda: admin.list_group_offsets({group: partitions})).get(group, {})
    ends = end_offsets(settings, partitions)
    lag = {}
    for partition in partitions:
        commit = commits.get(partition)
        first = starts[partition].offset
        # -1: nothing committed. Below the oldest message: what lay between has expired.
        at = max(commit.offset, first) if commit is not None and commit.offset >= 0 else first
        lag[(partition.topic, partition.partition)] = max(0, ends[partition] - at)
    return lag
