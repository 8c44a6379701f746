"""What a partition tells WATCH of itself: with what it has measured, and when it has nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.measurements import MeasurementMessage, Measurements
from streams.outbox import Message
from streams.score import HEARTBEAT_MS, Score
from streams.settings import Settings
from streams.sinks.sink import MemorySink
from tests.agent_rig import Rig as AgentRig
from tests.agent_rig import Stream
from tests.builders import NOW_MS, START_MS, annotation, batch, finished, owner_context, records, review

IDLE_MS = int(Settings().pipeline.idle_partition_seconds * 1_000)


class Rig:
    """A Score with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.at_end: set[int] = set()
        self.sent: list[Message] = []
        context = owner_context(MemorySink(), publish=self._publish, now_ms=lambda: self.now_ms)
        self.score = Score(context, is_at_end=lambda partition: partition in self.at_end)
        finished(self.score.assign([0, 1], 1))

    async def _publish(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)

    def feed(self, *events: Any, partition: int = 0, topic: str = "annotations") -> None:
        position = self.score.partitions[partition].pipeline.state.position(topic).offset
        self.score.process(batch(records(events, first_offset=position + 1), partition=partition, topic=topic))

    def take(self) -> list[Measurements]:
        """What was said since the last call."""
        sent, self.sent = self.sent, []
        found = [MeasurementMessage.model_validate_json(m.value or b"").root for m in sent if m.topic == "measurements"]
        return [one for one in found if isinstance(one, Measurements)]

    def beat(self) -> list[Measurements]:
        finished(self.score.beat())
        return self.take()


def test_a_checkpoint_says_what_was_measured() -> None:
    rig = Rig()
    rig.at_end = {0}
    rig.feed(annotation(), annotation(event_id="e-2", labeler_id="ben"))
    finished(rig.score.checkpoint())
    (said,) = rig.take()
    assert [answer.sequence for answer in said.answers] == [0, 1]
    assert (said.app_id, said.source_partition, said.sent_ms, said.arrived_ms) == ("labelwatch", 0, NOW_MS, NOW_MS)
    assert (said.is_at_end, said.is_idle, said.watermark_ms) == (True, False, START_MS + 30_000 - 120_000)
    finished(rig.score.checkpoint())
    assert rig.take() == []


def test_a_checkpoint_without_anything_measured_says_nothing() -> None:
    rig = Rig()
    rig.feed(review(), topic="reviews")
    finished(rig.score.checkpoint())
    assert rig.take() == []


def test_silence_is_said_every_few_seconds() -> None:
    rig = Rig()
    rig.feed(annotation())
    finished(rig.score.checkpoint())
    rig.take()
    assert rig.beat() == []
    rig.now_ms += HEARTBEAT_MS - 1
    assert rig.beat() == []
    rig.now_ms += 1
    (said,) = rig.beat()
    assert (said.source_partition, said.answers, said.arrived_ms, said.sent_ms) == (0, (), 0, rig.now_ms)
    assert (said.is_at_end, said.is_idle, said.watermark_ms) == (False, False, START_MS + 30_000 - 120_000)
    assert rig.beat() == []
    rig.now_ms += IDLE_MS
    rig.at_end = {0}
    (said,) = rig.beat()
    assert (said.is_at_end, said.is_idle) == (True, True)
    rig.feed(annotation(event_id="e-2"))
    finished(rig.score.checkpoint())
    assert not rig.take()[0].is_idle, "something came"


def test_behind_its_end_a_partition_is_not_idle_however_long_nothing_came() -> None:
    rig = Rig()
    rig.feed(annotation())
    finished(rig.score.checkpoint())
    rig.now_ms += IDLE_MS
    assert [said.is_idle for said in [*rig.take(), *rig.beat()]] == [False, False]


def test_a_partition_that_never_had_a_message_says_nothing() -> None:
    rig = Rig()
    rig.now_ms += 10 * HEARTBEAT_MS
    assert rig.beat() == []


def test_while_something_is_on_its_way_nothing_is_said_ahead_of_it() -> None:
    """The watermark would say that an hour is over, of which answers are still to come."""
    rig = Rig()
    rig.feed(annotation())
    finished(rig.score.checkpoint())
    rig.feed(annotation(event_id="e-2", at=7_200))
    rig.now_ms += HEARTBEAT_MS
    rig.take()
    assert rig.beat() == []
    finished(rig.score.checkpoint())
    assert len(rig.take()) == 1


async def test_the_agent_tells_whether_a_partition_is_at_its_end() -> None:
    rig = AgentRig()
    await rig.assign(0)
    await rig.app.body(Stream(batch(records([annotation()]))))
    consumer = rig.app.consumer
    lags: dict[Any, int | None] = {}
    consumer.lag = lambda tp, next_offset: lags.get(tp.topic)  # type: ignore[method-assign]  # as the test says
    found = []
    for of_annotations, of_reviews in ((None, 0), (0, None), (0, 0), (1, 0), (0, 1)):
        lags = {"annotations": of_annotations, "reviews": of_reviews}
        found.append(rig.agent.is_at_end(0))
    assert found == [False, True, True, False, False]
    rig.agent.owner._told_ms.clear()
    await rig.agent.after_checkpoint()
    assert not [m for m in rig.app.producer.sent if m.topic == "measurements"], "it is not checkpointed yet"
    await rig.agent.checkpoint()
    rig.agent.owner._told_ms.clear()
    await rig.agent.after_checkpoint()
    assert len([m for m in rig.app.producer.sent if m.topic == "measurements"]) == 2
