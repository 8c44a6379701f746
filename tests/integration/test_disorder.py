"""Duplicates, malformed lines and arrival out of order change no figure that order of arrival should not change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, REVIEWS
from streams.sources.disorder import disorder
from streams.sources.source import Message
from tests.integration.deployment import Deployment, days_of_incidents, received, until

pytestmark = pytest.mark.integration

#: Which answer is a repeated one, what others had said before, what was forecast then, and what came late or twice:
#: all of it depends on which message arrived first. Everything else must not.
ORDER_DEPENDENT = "revisions|duplicates|late|consensus_.*|forecast_.*|expected_.*"
VIEWS = ("quality_by_minute", "quality_by_hour", "quality_daily")


def _score(folder: Path, messages: Iterable[Message]) -> tuple[int, dict[str, list[object]], list[int]]:
    with EmbeddedStack(folder / "stack", kafka_port=0, clickhouse_port=0) as stack:
        deployment = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, folder)
        deployment.create_topics()
        client = deployment.database("labelwatch")
        produced = deployment.produce(messages)
        worker = deployment.start_worker("labelwatch", "labelwatch")
        until(lambda: received(client) == produced, f"{produced} messages scored")
        assert worker.stop() == 0
        return produced, _order_free(client), _counts(client)


def _order_free(client: Client) -> dict[str, list[object]]:
    rows = {
        view: list(client.query(f"SELECT * EXCEPT('{ORDER_DEPENDENT}') FROM {view} ORDER BY ALL").result_rows)
        for view in VIEWS
    }
    assert "annotations" in client.query(f"SELECT * EXCEPT('{ORDER_DEPENDENT}') FROM {VIEWS[0]} LIMIT 1").column_names
    return rows


def _counts(client: Client) -> list[int]:
    sums = "sum(received), sum(accepted), sum(duplicates), sum(dead_letters)"
    return [int(n) for n in client.query(f"SELECT {sums} FROM source_progress_current").result_rows[0]]


def test_views_do_not_depend_on_order_duplicates_or_malformed_lines(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "disordered").mkdir()
    produced, clean, clean_counts = _score(tmp_path / "clean", days_of_incidents(3))
    assert clean_counts == [produced, produced, 0, 0]

    stream = disorder(days_of_incidents(3), seed=3, duplicates=0.05, malformed=0.05, shuffle_seconds=60)
    produced, disordered, counts = _score(tmp_path / "disordered", stream)
    # A review that comes twice is accepted twice: its row's identity makes it one.
    again = stream.counts.duplicates_by_topic[REVIEWS.name]
    duplicates, malformed = stream.counts.duplicates_by_topic[ANNOTATIONS.name], stream.counts.malformed
    assert counts == [produced, clean_counts[1] + again, duplicates, malformed]
    assert produced == sum(counts[1:]) == stream.counts.produced
    assert min(duplicates, malformed) > 0.04 * clean_counts[1]

    for view in VIEWS:
        assert len(clean[view]) > 10
        assert disordered[view] == clean[view], view
