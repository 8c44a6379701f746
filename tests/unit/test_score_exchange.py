"""SCORE and what others know: evidence goes out before state is stored, and what is heard reaches every partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from detectors.consensus import LabelSpace
from detectors.evidence import Evidence
from schemas.evidence import EvidenceBatch
from schemas.rows import ClosedTaskRow, Row, StateRow
from streams.outbox import Message, labeler_partition
from streams.reliability_copy import Hear, ReliabilityCopy
from streams.score import Score
from streams.settings import ProjectSettings, ReliabilitySettings, Settings
from streams.sinks.sink import MemorySink
from tests.builders import NOW_MS, START_MS, annotation, batch, owner_context, records, review
from tests.evidence import evidence, record

SPACE = LabelSpace("animals", "image_class")


class Rig:
    def __init__(self, sink: MemorySink | None = None, settings: Settings | None = None, **options: Any) -> None:
        self.sent: list[Message] = []
        self.stored_when_sent: list[int] = []
        self.sink = sink or MemorySink()
        context = owner_context(self.sink, settings=settings or Settings(), publish=self._publish)
        self.score = Score(context, **options)

    async def _publish(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)
        self.stored_when_sent.append(len([row for row in self.sink.rows("state") if row.kind != "intent"]))


def answers(*labelers: str, first_offset: int = 0, label: str = "cat", task: str = "t-1") -> Any:
    events = [
        annotation(event_id=f"{task}-{labeler}-{label}", labeler_id=labeler, task_id=task, label=label)
        for labeler in labelers
    ]
    return batch(records(events, first_offset=first_offset))


class TestEvidence:
    async def test_of_whoever_answered_is_sent_before_state_is_stored(self) -> None:
        rig = Rig(evidence_partitions=3)
        await rig.score.assign([0], 1)
        rig.score.process(answers("ana", "ben", "cem"))
        await rig.score.checkpoint()
        found = {}
        for message in rig.sent[1:]:  # what WATCH looks at comes first
            sent = EvidenceBatch.model_validate_json(message.value or b"")
            assert (message.topic, sent.app_id, sent.source_partition) == ("labeler-evidence", "labelwatch", 0)
            for entry in sent.entries:
                assert labeler_partition(entry.labeler_id, 3) == message.partition
                found[entry.labeler_id] = Evidence.from_plain(entry.evidence).labels
        assert found == {"ana": 1, "ben": 1, "cem": 1}
        assert rig.stored_when_sent == [0]

    async def test_nobody_answered_is_nothing_to_send(self) -> None:
        rig = Rig()
        await rig.score.assign([0], 1)
        rig.score.process(answers("ana", "ben"))
        await rig.score.checkpoint()
        rig.sent.clear()
        rig.score.process(batch(records([b"bad"], first_offset=2)))
        await rig.score.checkpoint()
        assert [message.topic for message in rig.sent] == ["annotations-dlq", "measurements"]


class Copy:
    """A copy of reliability that knows one thing; another comes while it tells."""

    def __init__(self) -> None:
        self.meanwhile: list[Any] = []
        self.told = 0

    async def tell(self, hear: Hear) -> None:
        self.told += 1
        hear(SPACE, "ana", {0: evidence(1, 0), 1: evidence(2, 0)})
        for call in self.meanwhile:
            call()


class TestHearing:
    @pytest.fixture
    def heard(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int]]:
        """Which partition heard how many answers of whom."""
        calls: list[tuple[int, str, int]] = []

        def hear(self: Any, space: LabelSpace, labeler_id: str, parts: Mapping[int, Evidence]) -> None:
            assert space == SPACE
            calls.append((self.state.partition, labeler_id, sum(part.labels for part in parts.values())))

        monkeypatch.setattr("streams.pipeline.PartitionPipeline.hear", hear)
        return calls

    async def test_partitions_hear_all_that_is_known_once_they_are_owned(
        self, heard: list[tuple[int, str, int]]
    ) -> None:
        copy = Copy()
        rig = Rig(tell=copy.tell)
        await rig.score.assign([0, 1], 1)
        assert heard == [(0, "ana", 3), (1, "ana", 3)]
        await rig.score.assign([0, 1], 2)
        assert copy.told == 1, "nothing is new to them"
        await rig.score.assign([1, 2], 3)
        assert heard[2:] == [(2, "ana", 3)]

    async def test_and_from_then_on_what_is_new(self, heard: list[tuple[int, str, int]]) -> None:
        copy = Copy()
        rig = Rig(tell=copy.tell)
        copy.meanwhile = [lambda: rig.score.hear(SPACE, "ben", {3: evidence(7, 0)})]
        await rig.score.assign([0], 1)
        rig.score.hear(SPACE, "cem", {3: evidence(5, 0)})
        assert heard == [(0, "ana", 3), (0, "ben", 7), (0, "cem", 5)]
        rig.score.forget([0])
        rig.score.hear(SPACE, "dora", {3: evidence(5, 0)})
        assert len(heard) == 3

    async def test_what_is_heard_of_others_changes_beliefs(self) -> None:
        bad = {"form": "confusion", "counts": {("cat", 0, "dog"): 40.0, ("dog", 0, "cat"): 40.0}, "labels": 80}
        confidence = []
        for known in ({}, {1: evidence(**bad)}, {0: evidence(**bad)}):
            rig = Rig()
            await rig.score.assign([0], 1)
            if known:
                rig.score.hear(SPACE, "ana", known)
            rig.score.process(answers("ana", "ben"))
            await rig.score.checkpoint()
            (row,) = cast(list[Any], rig.sink.rows("task_confidence"))
            confidence.append(row.raw_confidence)
        alone, with_others, own_again = confidence
        assert with_others < alone - 0.1
        assert own_again == alone, "its own evidence is fresher than the copy's"

    async def test_a_real_copy_tells_in_the_same_way(self, heard: list[tuple[int, str, int]]) -> None:
        copy = ReliabilityCopy("labelwatch", lambda: NOW_MS)
        copy.take(*record(evidence(8, 2)))
        rig = Rig(tell=copy.tell)
        copy.on_record = rig.score.hear
        await rig.score.assign([0], 1)
        copy.take(*record(evidence(9, 2), version=2))
        assert heard == [(0, "ana", 10), (0, "ana", 11)]


class TestReviews:
    """A review is stored first and applied then; its task may have been closed long ago."""

    async def test_is_applied_after_the_checkpoint_that_notes_it_and_stored_by_the_next(self) -> None:
        rig = Rig()
        await rig.score.assign([0], 1)
        rig.score.process(answers("ana", "ben"))
        rig.score.process(batch(records([review(true_label={"kind": "class", "value": "dog"})]), topic="reviews"))
        assert await rig.score.checkpoint() == 3
        assert rig.sink.rows("confidence_outcomes") == []
        assert await rig.score.checkpoint() == 0, "no message, but something to store"
        (outcome,) = cast(list[Any], rig.sink.rows("confidence_outcomes"))
        assert (outcome.truth, outcome.is_right) == ("dog", False)
        writes = len(rig.sink.writes)
        assert await rig.score.checkpoint() == 0
        assert len(rig.sink.writes) == writes, "and then nothing"

    async def test_is_applied_by_the_next_owner_if_this_one_dies_in_between(self) -> None:
        rig = Rig()
        await rig.score.assign([0], 1)
        rig.score.process(answers("ana", "ben"))
        rig.score.process(batch(records([review()]), topic="reviews"))
        await rig.score.checkpoint()
        heir = Rig(rig.sink)
        await heir.score.assign([0], 2)
        await heir.score.checkpoint()
        assert len(rig.sink.rows("confidence_outcomes")) == 1

    async def test_finds_closed_tasks_of_its_own_project_only(self) -> None:
        rig = Rig(settings=Settings())
        await rig.score.assign([0], 1)
        rig.score.process(answers("ana", "ben"))
        rig.score.process(answers("ana", "ben", first_offset=2, task="t-2"))
        await rig.score.checkpoint()
        stored = {row.key: row for row in cast(list[StateRow], rig.sink.rows("state", kind="task"))}
        closed: list[Row] = [
            ClosedTaskRow("labelwatch", 0, project, task, START_MS, row.codec_version, row.payload, 1)
            for project, task, row in (
                ("animals", "t-1", stored['["animals","t-1"]']),
                ("plants", "t-1", stored['["animals","t-2"]']),
            )
        ]
        await rig.sink.write({"closed_tasks": closed})
        state = rig.score.partitions[0].pipeline.state
        state.tasks.clear()
        reviews = [review(), review(project_id="plants", task_id="t-9", reviewer_id="sam")]
        rig.score.process(batch(records(reviews), topic="reviews"))
        await rig.score.checkpoint()
        assert list(state.reopened) == [("animals", "t-1")]
        await rig.score.checkpoint()
        assert len(rig.sink.rows("confidence_outcomes")) == 1


async def test_settings_reach_the_beliefs() -> None:
    settings = Settings(
        reliability=ReliabilitySettings(max_classes=3),
        projects={"animals": ProjectSettings(labels=frozenset({"cat", "dog", "emu", "fox"}))},
    )
    rig = Rig(settings=settings)
    await rig.score.assign([0], 1)
    rig.score.process(answers("ana", "ben"))
    assert rig.score.partitions[0].pipeline.state.beliefs.models[SPACE].form == "one_coin"
