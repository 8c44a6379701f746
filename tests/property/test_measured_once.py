"""What rules look at, and what they say, is there once: whatever crashes on the way, and however often it is sent."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.watch.watch import Watch
from schemas.measurements import Answer, LateTruth, MeasurementMessage, Measurements, Refused, ReviewMeasured
from schemas.rows import FindingRow, WindowPartialRow
from schemas.thresholds import Rule
from schemas.topics import ALERTS, MEASUREMENTS
from schemas.verdicts import Verdict, Verdicts
from streams import outbox
from streams.pipeline import PartitionPipeline
from streams.sinks.sink import MemorySink
from streams.watch import Watcher
from tests import builders
from tests.builders import annotation, batch, finished, owner_context, records, review
from tests.property.crashing import CrashError, CrashingSink, Fuse
from tests.property.test_exactly_once import SETTINGS, Log, Worker, with_crashes
from tests.unit.test_watch_pipeline import breach, change

Item = Answer | LateTruth | ReviewMeasured | Refused


def make_log(seed: int, size: int) -> Log:
    """Answers with gold that comes late, revisions, bad messages, and verdicts on single answers; nothing is closed."""
    choose = random.Random(seed)
    events: list[Any] = []
    reviews: list[Any] = []
    for number in range(size):
        task, labeler = f"t-{choose.randrange(6)}", f"l-{choose.randrange(4)}"
        event = annotation(
            at=float(number), took=5, event_id=f"e-{number}", task_id=task, labeler_id=labeler,
            label=choose.choice(["cat", "dog"]), gold=choose.choice([None, None, "cat"]),
        )  # fmt: skip
        events += [event, *choose.choices([event, b"bad"], k=choose.choice([0, 0, 0, 1]))]
        if choose.random() < 0.3:
            verdict = {"labeler_id": labeler, "accepted": choose.random() < 0.5}
            reviews.append(review(task_id=task, reviewer_id=f"r-{number}", at=float(number), **verdict))
    return {"annotations": records(events), "reviews": records(reviews)}


def heard(values: Iterable[bytes]) -> list[Item]:
    """What a reader takes of it: what has a greater number than all before."""
    last = -1
    items: list[Item] = []
    for value in values:
        one = MeasurementMessage.model_validate_json(value).root
        assert isinstance(one, Measurements)
        fresh = [item for item in (*one.answers, *one.truths, *one.reviews, *one.refused) if item.sequence > last]
        last = max((item.sequence for item in fresh), default=last)
        items += sorted(fresh, key=lambda item: item.sequence)
    return items


def story(log: Log, items: Iterable[Item]) -> dict[str, Any]:
    """Each thing that happened, so often, and what the gold came to."""
    gold: Counter[bool] = Counter()
    happened: Counter[tuple[Any, ...]] = Counter()
    for item in items:
        if isinstance(item, Answer):
            happened["answer", item.labeler_id, item.submitted_ms, item.label] += 1
            gold[bool(item.gold_correct)] += item.gold_correct is not None
        elif isinstance(item, LateTruth):
            gold[bool(item.was_correct)] -= item.was_correct is not None
            gold[bool(item.is_correct)] += item.is_correct is not None
        elif isinstance(item, ReviewMeasured):
            happened["review", item.labeler_id, item.reviewed_ms, item.is_rejected] += 1
        else:
            happened["refused", item.arrived_ms] += 1
    return {"happened": happened, "gold": (gold[True], gold[False])}


def counted_gold(sink: MemorySink) -> tuple[int, int]:
    """Right and wrong answers to gold, as the windows have counted them."""
    rows = cast(list[WindowPartialRow], sink.rows("window_partials"))
    right = sum(row.gold_right for row in rows)
    return right, sum(row.gold_seen for row in rows) - right


def uninterrupted(log: Log) -> CrashingSink:
    sink = CrashingSink()
    Worker(sink, "steady", []).run(log, random.Random(0))
    return sink


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 6))
def test_measured_once(seed: int, size: int, crashes: int) -> None:
    log = make_log(seed, size)
    steady, crashed = uninterrupted(log), CrashingSink()
    with_crashes(log, random.Random(seed), crashes, crashed)
    expected = story(log, heard(steady.measured))
    assert story(log, heard(crashed.measured)) == expected
    assert expected["gold"] == counted_gold(steady) == counted_gold(crashed)
    wanted = sum(message.value == b"bad" for message in log["annotations"])
    assert sum(n for key, n in expected["happened"].items() if key[0] == "refused") == wanted
    answers = sum(n for key, n in expected["happened"].items() if key[0] == "answer")
    assert answers == len(steady.rows("annotation_scores"))


class TestTheGuardsMatter:
    def stories(self) -> list[bool]:
        """Of histories with crashes, which told the same story as the one without."""
        found = []
        for seed in range(12):
            log = make_log(seed, 50)
            sink = CrashingSink()
            with_crashes(log, random.Random(seed), 5, sink)
            found.append(story(log, heard(sink.measured)) == story(log, heard(uninterrupted(log).measured)))
        return found

    def test_with_all_guards_every_story_is_the_same(self) -> None:
        assert all(self.stories())

    def test_numbers_are_what_tells(self) -> None:
        log = make_log(1, 50)
        sink = CrashingSink()
        with_crashes(log, random.Random(1), 6, sink)
        batches = [MeasurementMessage.model_validate_json(value).root for value in sink.measured]
        sent = sum(len(one.answers) for one in batches if isinstance(one, Measurements))
        assert sent > len(sink.rows("annotation_scores")), "some came again"

    def test_where_reviews_are_applied_must_wait_for_what_was_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PartitionPipeline, "_may_apply", lambda self: True)
        assert not all(self.stories())


class Breaching(Watch):
    """Breaches at every seventh answer; knows what it has seen, as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = self.number = self.last = 0

    oldest = None
    """Nothing waits."""

    def take(self, batch: Measurements, number: int) -> list[Verdict]:
        found = []
        for one in batch.answers:
            if one.sequence < self.last:
                continue
            self.last, self.seen, self.clock_ms = one.sequence + 1, self.seen + 1, one.submitted_ms
            if self.seen % 7 == 0:
                self.number += 1
                found.append(breach(self.number, one.submitted_ms, RULE))
        return found

    def take_changed(self) -> list[tuple[str, str, str | None]]:
        return [("watch", "", f"{self.seen} {self.number} {self.last} {self.clock_ms}")]

    def load(self, rows: Iterable[tuple[str, str, str]]) -> None:
        for _, _, payload in rows:
            self.seen, self.number, self.last, self.clock_ms = map(int, payload.split())


RULE = Rule.model_validate({"name": "gold", "metric": "gold_accuracy"})


class WatchWorker:
    """A Watcher, fed from a log of measurements without a framework."""

    def __init__(self, sink: CrashingSink, name: str, verdicts: list[Verdicts]) -> None:
        self.sink = sink
        self.verdicts = verdicts
        context = owner_context(
            sink,
            "labelwatch.watch",
            name,
            settings=SETTINGS,
            publish=self._publish,
            acknowledge=lambda *_: sink.fuse.burn(),
            now_ms=lambda: random.getrandbits(40),
        )
        self.watcher = Watcher(context, make_watch=Breaching)

    async def _publish(self, messages: Sequence[outbox.Message]) -> None:
        for message in messages:
            self.sink.fuse.burn()
            assert message.topic == ALERTS.name
            self.verdicts.append(Verdicts.model_validate_json(message.value or b""))
        self.sink.fuse.burn()

    def run(self, log: Sequence[builders.Message], choose: random.Random) -> None:
        finished(self.watcher.assign([0], generation=1))
        at = self.watcher.next_offset(MEASUREMENTS.name, 0) or 0
        at = choose.choice([at, choose.randint(0, at)])
        while at < len(log):
            some = log[at : at + choose.randint(1, 5)]
            at += len(some)
            self.watcher.process(batch(some, topic=MEASUREMENTS.name))
            if choose.random() < 0.4:
                finished(self.watcher.checkpoint())
        finished(self.watcher.checkpoint())


def read(verdicts: Iterable[Verdicts]) -> tuple[list[Verdict], int]:
    """What a reader takes of it, and its clock in the end."""
    taken: list[Verdict] = []
    clock_ms = 0
    for one in verdicts:
        taken += [verdict for verdict in one.verdicts if verdict.number > len(taken)]
        clock_ms = max(clock_ms, one.clock_ms)
    return taken, clock_ms


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 6))
def test_verdicts_are_said_once(seed: int, size: int, crashes: int) -> None:
    source = CrashingSink()
    with_crashes(make_log(seed, size), random.Random(seed), crashes, source)  # itself with items that came again
    values = [change(app_id="labelwatch"), *source.measured]
    log = [builders.Message(offset, builders.NOW_MS, None, value) for offset, value in enumerate(values)]

    steady, expected = CrashingSink(), list[Verdicts]()
    WatchWorker(steady, "steady", expected).run(log, random.Random(0))
    crashed, found = CrashingSink(), list[Verdicts]()
    choose = random.Random(seed)
    for number in range(crashes):
        crashed.fuse = Fuse(choose.randint(1, 40))
        try:
            WatchWorker(crashed, f"worker-{number}", found).run(log, choose)
        except CrashError:
            continue
    crashed.fuse = Fuse(0)
    WatchWorker(crashed, "last", found).run(log, choose)

    assert read(found) == read(expected)
    assert [verdict.number for verdict in read(found)[0]] == list(range(1, 1 + len(read(found)[0])))
    for table in ("findings", "measurements", "threshold_changes"):
        assert crashed.rows(table) == steady.rows(table), table
    assert len(crashed.rows("measurements")) == len(log)
    findings = cast(list[FindingRow], crashed.rows("findings"))
    assert {row.at for row in findings} == {verdict.at_ms for verdict in read(found)[0]}
