"""The WATCH agent, and the file of rules that every worker looks at, between a pretended Faust and WATCH."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError

from detectors.watch.watch import Watch
from schemas.measurements import Measurements, RulesChange
from schemas.rows import ThresholdChangeRow
from schemas.verdicts import Verdict
from streams.agents.rules import RulesFile
from streams.agents.watch import WatchAgent
from streams.metrics import METRICS
from streams.outbox import Message
from streams.record_batch import TP
from streams.settings import RulesSettings, Settings, WorkerSettings
from streams.sinks.sink import MemorySink
from streams.state.watch import read_rules
from streams.thresholds import ThresholdsError, shipped
from streams.thresholds_watch import ThresholdsWatch, as_stored, change_row
from streams.watch import Watcher, WatchPipeline, is_later
from tests import builders
from tests.agent_rig import Rig, Stream
from tests.builders import NOW_MS, batch
from tests.unit.test_watch_pipeline import answer, change, measured, rules_text

TOPIC = "measurements"


class Slow(Watch):
    """Takes its time, as one that plans."""

    began = threading.Event()
    go_on = threading.Event()

    def take(self, batch: Measurements, number: int | None = None) -> list[Verdict]:
        self.began.set()
        assert self.go_on.wait(10)
        return []


class WatchRig(Rig):
    """A rig that runs WATCH, too."""

    def __init__(self, watch: type[Watch] = Watch) -> None:
        super().__init__()
        self.watch = WatchAgent(cast(Any, self.app), WorkerSettings(), self.health, self.agents.fail)
        self.watch.owner = Watcher(self.context(self.watch, "labelwatch.watch"), make_watch=watch)
        self.watch.owner.on_restored = self.watch.note_restored
        self.agents.add(self.watch)

    async def start(self) -> None:
        await self.app.transport.position_provider({TP(TOPIC, 0)})

    async def feed(self, *values: bytes) -> None:
        first = self.pipeline.state.position(TOPIC).offset + 1
        some = [builders.Message(first + n, NOW_MS, None, value) for n, value in enumerate(values)]
        await self.app.bodies["watch"](Stream(batch(some, topic=TOPIC)))

    @property
    def pipeline(self) -> WatchPipeline:
        return self.watch.owner.partitions[0].pipeline


def in_force() -> set[str]:
    """The labels of the metric that says which rules WATCH runs."""
    (family,) = METRICS.rules_in_force.collect()
    return {sample.labels["sha256"] for sample in family.samples}


class TestAgent:
    async def test_rules_are_shown_and_survive_a_rebalance(self) -> None:
        rig = WatchRig()
        await rig.start()
        refused = METRICS.rules_refused._value.get()
        await rig.feed(change(app_id="labelwatch", sha256="ab" * 32), measured(answer(0), app_id="labelwatch"))
        await rig.feed(change("version: 1", at=2_000, app_id="labelwatch"))
        assert rig.failure() is None
        assert in_force() == {"ab" * 32}
        assert METRICS.rules_refused._value.get() == refused + 1
        await rig.app.on_revoked(rig.app, {TP(TOPIC, 0)})
        assert in_force() == set()
        await rig.start()
        assert in_force() == {"ab" * 32}
        assert rig.pipeline.state.position(TOPIC).offset == 2
        assert rig.app.consumer.acknowledged == [(TP(TOPIC, 0), 2, 1)]
        rig.watch.report(0)
        assert METRICS.watch_clock_seconds._value.get() == rig.pipeline.state.watch.clock_ms / 1_000 > 0

    async def test_while_a_batch_is_applied_the_loop_turns_and_nothing_is_stored(self) -> None:
        Slow.began.clear()
        Slow.go_on.clear()
        rig = WatchRig(Slow)
        await rig.start()
        feeding = asyncio.create_task(rig.feed(measured(answer(0), app_id="labelwatch")))
        await asyncio.to_thread(Slow.began.wait, 10)
        storing = asyncio.create_task(rig.watch.checkpoint_or_fail())
        for _ in range(10):
            await asyncio.sleep(0)
        rig.watch.report(0)
        assert not storing.done()
        assert rig.sink.rows("state") == []
        Slow.go_on.set()
        await feeding
        await storing
        assert [row.key for row in rig.sink.rows("state", kind="position")] == [TOPIC]  # type: ignore[union-attr]
        assert rig.failure() is None

    async def test_what_does_not_run_is_said_once(self) -> None:
        class Resting(Watch):
            problems: Any = {"gold": "too much comes in"}

        rig = WatchRig(Resting)
        await rig.start()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                rig.watch.report(0)
            assert METRICS.rules_not_running._value.get() == 1
            Resting.problems = {}
            rig.watch.report(0)
        assert [(one["event"], one["rule"], one.get("reason")) for one in logs] == [
            ("rules.not_running", "gold", "too much comes in"),
            ("rules.runs_again", "gold", None),
        ]

    async def test_messages_for_a_partition_are_sent_in_order_whatever_fails(self) -> None:
        rig = WatchRig()
        rig.app.producer.failures = [None, ("delivery", KafkaConnectionError()), None, ("send", KafkaConnectionError())]
        sent = [Message(TOPIC, 0, None, b"%d" % n) for n in range(6)]
        await rig.publish([*sent[:3], Message("other", None, b"k", b"v"), *sent[3:]])
        assert [message for message in rig.app.producer.sent if message.topic == TOPIC] == sent
        assert len(rig.app.producer.sent) == 7


class RulesRig:
    """A file of rules that is looked at when the test says so."""

    def __init__(self, path: Path | None, sink: MemorySink | None = None) -> None:
        self.sink = sink or MemorySink()
        self.changes: list[RulesChange] = []
        self.looks = 0
        settings = Settings(rules=RulesSettings(file=path, poll_seconds=0.000_1))
        self.file = RulesFile(settings, "w", self.sink, publish=self._publish, now_ms=lambda: NOW_MS)
        self.running: asyncio.Task[None] | None = None

    async def _publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            assert (message.topic, message.partition) == (TOPIC, 0)
            self.changes.append(RulesChange.model_validate_json(message.value or b""))

    async def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        poll = ThresholdsWatch.poll

        def counted(watch: ThresholdsWatch) -> Any:
            self.looks += 1
            return poll(watch)

        monkeypatch.setattr(ThresholdsWatch, "poll", counted)
        self.running = asyncio.create_task(self.file.run())
        await self.look()

    async def look(self, times: int = 4) -> None:
        """Wait until the file was looked at so often."""
        wanted = self.looks + times
        async with asyncio.timeout(10):
            while self.looks < wanted:  # a turn of the loop is what is waited for
                assert self.running is not None
                assert not self.running.done()
                await asyncio.sleep(0)

    async def accept(self, change: RulesChange) -> None:
        """As WATCH does it."""
        row = change_row(None, read_rules(change), app_id="labelwatch", worker_id="w", accepted_at=builders.START)
        await self.sink.write({"threshold_changes": [row._replace(changed_at=change.changed_at_ms)]})

    def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()


def put(path: Path, content: str | bytes | None, at: float | None = None) -> None:
    """A whole file takes the place of the one before, perhaps an older one; or none does."""
    path.unlink(missing_ok=True)
    if content is not None:
        new = path.with_suffix(".new")
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        if at is not None:
            os.utime(new, (at, at))
        new.rename(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thresholds.yaml"


class TestRulesFile:
    async def test_without_a_file_the_shipped_rules_are_sent_as_the_oldest(self) -> None:
        rig = RulesRig(None)
        running = asyncio.create_task(rig.file.run())
        async with asyncio.timeout(10):
            while not rig.changes:  # noqa: ASYNC110  # a turn of the loop is what is waited for
                await asyncio.sleep(0)
        assert (rig.changes[0].changed_at_ms, rig.changes[0].sha256) == (0, shipped().sha256)
        assert not running.done(), "the worker goes on as long as it"
        running.cancel()

    async def test_what_is_in_the_file_is_sent_and_sent_again_when_it_changes(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        assert [change.content for change in rig.changes] == [rules_text()]
        await rig.accept(rig.changes[0])
        put(path, rules_text(drop=0.2))
        await rig.look()
        assert [change.content for change in rig.changes[1:]] == [rules_text(drop=0.2)]
        assert rig.changes[1].changed_at_ms > rig.changes[0].changed_at_ms
        rig.stop()

    async def test_an_older_file_that_takes_its_place_is_later_all_the_same(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        await rig.accept(rig.changes[0])
        put(path, rules_text(drop=0.3), at=1_000_000_000)
        await rig.look()
        assert rig.changes[1].changed_at_ms == rig.changes[0].changed_at_ms + 1
        await rig.accept(rig.changes[1])
        rig.stop()

    async def test_what_is_taken_back_at_once_is_taken_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        await rig.accept(rig.changes[0])
        for drop in (0.2, 0.1, 0.2, 0.2):  # and WATCH stores none of them yet
            put(path, rules_text(drop=drop))
            await rig.look()
        assert [change.content for change in rig.changes] == [rules_text(drop=drop) for drop in (0.1, 0.2, 0.1, 0.2)]
        times = [change.changed_at_ms for change in rig.changes]
        assert times == sorted(set(times)), "each is later than the one before"
        rig.stop()

    async def test_a_file_of_the_future_is_one_of_now(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(path, rules_text(), at=NOW_MS / 1_000 + 86_400)
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        await rig.accept(rig.changes[0])
        rig.stop()
        put(path, rules_text(drop=0.2), at=NOW_MS / 1_000 + 5)
        again = RulesRig(path, rig.sink)
        again.file._now_ms = lambda: NOW_MS + 60_000
        await again.start(monkeypatch)
        assert [change.changed_at_ms for change in again.changes] == [NOW_MS + 5_000]
        assert is_later(again.changes[0], rig.changes[0])
        again.stop()

    async def test_what_another_worker_said_already_is_not_said_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(path, rules_text())
        one, other = RulesRig(path), RulesRig(path)
        await one.start(monkeypatch)
        await one.accept(one.changes[0])
        other.sink = other.file._sink = one.sink
        await other.start(monkeypatch)
        assert other.changes == []
        one.stop()
        other.stop()

    @pytest.mark.parametrize(
        "content", [None, b"\xff\xff", b"version: 1\nrules: []", b"#" * 300_000, rules_text()[:40]]
    )
    async def test_what_cannot_be_used_is_said_and_changes_nothing(
        self, path: Path, content: str | bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        await rig.accept(rig.changes[0])
        assert METRICS.thresholds_refused._value.get() == 0
        put(path, content)
        await rig.look()
        assert len(rig.changes) == 1
        assert METRICS.thresholds_refused._value.get() == 1

        again = RulesRig(path, rig.sink)  # a worker that starts now goes on with what was accepted
        await again.start(monkeypatch)
        assert again.changes == []
        again.stop()
        put(path, rules_text())
        await rig.look()
        assert METRICS.thresholds_refused._value.get() == 0
        rig.stop()

    async def test_without_anything_accepted_before_the_shipped_rules_are_better_than_none(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        assert [(change.changed_at_ms, change.sha256) for change in rig.changes] == [(0, shipped().sha256)]
        put(path, rules_text())
        await rig.look()
        assert rig.changes[1].content == rules_text()
        rig.stop()

    async def test_not_even_a_mistake_in_reading_stops_it(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.start(monkeypatch)
        monkeypatch.setattr("streams.thresholds_watch.load", lambda path: 1 / 0)
        await rig.look()
        assert METRICS.thresholds_refused._value.get() == 1
        rig.stop()

    async def test_stored_rules_of_another_version_are_passed_over(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(path, rules_text())
        rig = RulesRig(path)
        await rig.accept(RulesChange.model_validate_json(change()))
        (row,) = cast(list[ThresholdChangeRow], rig.sink.rows("threshold_changes"))
        await rig.sink.write({"threshold_changes": [row._replace(content="version: 2", accepted_at=NOW_MS)]})
        with pytest.raises(ThresholdsError):
            as_stored(cast(ThresholdChangeRow, rig.sink.rows("threshold_changes")[0]))
        await rig.start(monkeypatch)
        assert [change.content for change in rig.changes] == [rules_text()]
        rig.stop()
