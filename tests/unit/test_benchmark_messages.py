"""The benchmark's messages are what producers send: valid, of the usual size, and the same every time."""

from __future__ import annotations

from collections import Counter

import orjson

from benchmarks.messages import annotation_messages
from schemas.events import AnnotationEvent


def test_messages_are_valid_annotations_of_the_usual_size() -> None:
    messages = list(annotation_messages(600))
    events = [AnnotationEvent.model_validate_json(value) for _, value in messages]
    assert [key.decode() for key, _ in messages] == [event.task_id for event in events]
    assert len({event.event_id for event in events}) == 600
    assert Counter(Counter(event.task_id for event in events).values()) == {3: 200}
    assert 450 < sum(len(value) for _, value in messages) / 600 < 650
    assert 18 <= len(fields := orjson.loads(messages[1][1])) + len(fields["features"]) <= 24
    assert 0 < sum(event.gold_label is not None for event in events) < 100


def test_a_seed_gives_the_same_messages_and_another_seed_others() -> None:
    assert list(annotation_messages(50)) == list(annotation_messages(50))
    assert list(annotation_messages(50)) != list(annotation_messages(50, seed=8))
