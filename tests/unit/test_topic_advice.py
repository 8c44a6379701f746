"""What is advised about a topic with another number of partitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import ANNOTATIONS, DEAD_LETTERS, REVIEWS, Topic
from streams.kafka_admin import TopicStatus

RUNBOOK = "docs/runbooks/start-over.md"


@pytest.mark.parametrize("topic", [ANNOTATIONS, REVIEWS])
@pytest.mark.parametrize("there", [4, 16])
def test_task_topics_are_kept_or_all_starts_over(topic: Topic, there: int) -> None:
    advice = TopicStatus(topic, "differs", wanted_partitions=8, partitions=there, replication=1).advice
    assert f"LABELWATCH_KAFKA__PARTITIONS={there}" in advice
    assert "new worker.app_id" in advice
    assert RUNBOOK in advice
    assert "add partitions" not in advice
    assert "delete the topic" not in advice
    assert (Path(__file__).parents[2] / RUNBOOK).is_file()


def test_other_topics_may_grow_or_be_made_anew() -> None:
    more = TopicStatus(DEAD_LETTERS, "differs", wanted_partitions=4, partitions=1, replication=1).advice
    assert "add partitions" in more
    assert "delete the topic" in more
    fewer = TopicStatus(DEAD_LETTERS, "differs", wanted_partitions=1, partitions=4, replication=1).advice
    assert "add partitions" not in fewer


def test_a_topic_that_is_right_needs_none() -> None:
    assert TopicStatus(ANNOTATIONS, "exists", wanted_partitions=8, partitions=8, replication=1).advice == ""
