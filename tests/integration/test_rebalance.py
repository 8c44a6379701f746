"""Partitions change hands while messages flow, by workers that come and go as they should: the views cannot tell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.sources.disorder import disorder
from streams.sources.source import Message
from tests.integration.deployment import VIEWS, Deployment, contents, days_of_incidents, differences, received, until

pytestmark = pytest.mark.integration

#: Small batches: the backlog lasts until the second worker has its share, and the first leaves some of its own.
SLOWLY = {"LABELWATCH_WORKER__BATCH_MAX_RECORDS": "2", "LABELWATCH_WORKER__CHECKPOINT_EVENTS": "500"}


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: the transport's tests rebalance on both."""
    return "embedded"


def _messages() -> Iterator[Message]:
    return iter(
        disorder(days_of_incidents(5, one_task_in=1), seed=5, duplicates=0.05, malformed=0.05, shuffle_seconds=60)
    )


def test_a_worker_joins_a_busy_one_which_then_leaves(deployment: Deployment) -> None:
    count = deployment.produce(_messages())
    client, undisturbed = deployment.database("handed"), deployment.database("undisturbed")
    first = deployment.start_worker("handed", "handed", **SLOWLY)
    first.wait_for("score.batch", count=5)
    second = deployment.start_worker("handed", "handed", **SLOWLY)
    second.wait_for("score.batch", count=20)
    so_far = first.text().count('"event": "score.batch"')
    first.wait_for("score.batch", count=so_far + 20)
    assert received(client) < count, "both scored while there was a backlog"
    assert first.stop() == 0, first.text()[-3_000:]
    assert received(client) < count, "the first left while there was a backlog"
    until(lambda: received(client) == count, f"{count} messages scored")
    assert second.stop() == 0, second.text()[-3_000:]
    for worker in (first, second):
        assert worker.text().count('"event": "partition.restored"') >= 2
        assert "FencedError" not in worker.text()
        assert "acknowledgement_ignored" not in worker.text()

    alone = deployment.start_worker("undisturbed", "undisturbed")
    until(lambda: received(undisturbed) == count, f"{count} messages scored")
    assert alone.stop() == 0, alone.text()[-3_000:]
    expected = contents(undisturbed)
    assert all(expected[name] for name in VIEWS), "every view has rows to compare"
    assert differences(contents(client), expected) == {}
