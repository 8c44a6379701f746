"""One suite, two brokers: the embedded one, and Apache Kafka where Java and Maven exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.server import ApacheKafka, available
from deploy.local.stack import EmbeddedStack
from tests.integration.deployment import Deployment


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A fresh embedded stack per module."""
    with EmbeddedStack(tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as running:
        yield running


@pytest.fixture(scope="module", params=["embedded", "apache"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    """Which broker a module's tests run on: each, in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def broker(broker_kind: str, tmp_path_factory: pytest.TempPathFactory, stack: EmbeddedStack) -> Iterator[str]:
    """host:port of a Kafka broker of that kind."""
    if broker_kind == "embedded":
        yield stack.kafka_bootstrap
        return
    if (reason := available()) is not None:
        pytest.skip(f"Apache Kafka cannot run here: {reason}")
    with ApacheKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka.bootstrap


@pytest.fixture(scope="module")
def deployment(
    broker_kind: str, broker: str, stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A broker with our topics, a ClickHouse engine, and workers that end with the module."""
    running = Deployment(broker, stack.clickhouse_url, tmp_path_factory.mktemp("workers"), broker_kind)
    running.create_topics()
    yield running
    running.close()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real annotation data."""
    import os

    folder = Path(os.environ.get("LABELWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real annotation data at {folder}; set LABELWATCH_DATA to its folder")
    return folder
