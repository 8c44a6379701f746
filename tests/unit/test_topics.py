"""The topic registry."""

from __future__ import annotations

import pytest

from schemas.dead_letter import MAX_PAYLOAD_BYTES
from schemas.events import MAX_EVENT_BYTES
from schemas.topics import ANNOTATIONS, LABELER_EVIDENCE, REVIEWS, TOPICS, by_name


def test_names_are_unique_and_found() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert all(by_name(topic.name) is topic for topic in TOPICS)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no topic 'annotation'; known: annotations, reviews, annotations-dlq"):
        by_name("annotation")


def test_topics_that_share_state_have_equally_many_partitions() -> None:
    counts: dict[str, set[int]] = {}
    for topic in TOPICS:
        if topic.copartition:
            counts.setdefault(topic.copartition, set()).add(topic.partitions)
    assert counts
    assert all(len(partitions) == 1 for partitions in counts.values())
    assert ANNOTATIONS.copartition == REVIEWS.copartition


def test_messages_fit() -> None:
    for topic in TOPICS:
        limit = int(topic.config["max.message.bytes"])
        assert limit > MAX_EVENT_BYTES
        assert limit > MAX_PAYLOAD_BYTES * 4 / 3 + 100_000  # base64, and room for the rest
    assert by_name("annotations").config["cleanup.policy"] == "delete"


def test_only_what_others_must_be_able_to_read_whole_is_compacted() -> None:
    assert [topic.name for topic in TOPICS if topic.compacted] == ["labeler-reliability"]
    config = by_name("labeler-reliability").config
    assert (config["cleanup.policy"], config["retention.ms"]) == ("compact", "-1")


def test_evidence_has_partitions_of_its_own() -> None:
    """Its state depends on their number, but no task's does."""
    assert LABELER_EVIDENCE.copartition not in (None, ANNOTATIONS.copartition)
