"""WATCH between its topic and its rules: decoding, rules that come as messages, what is written and sent, and state."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import orjson
import pytest
from pydantic import ValidationError

from detectors.watch.watch import Watch
from schemas.dead_letter import Reason
from schemas.measurements import Measurements, RulesChange
from schemas.rows import FindingRow, MeasurementRow, StateRow, ThresholdChangeRow
from schemas.thresholds import Rule
from schemas.verdicts import Figures, Verdict, Verdicts, VerdictScope
from streams.decode import Refusal
from streams.measured import Measured, Sender, measurement_messages
from streams.outbox import MAX_MESSAGE_BYTES
from streams.outcome import Outcome
from streams.settings import Settings, WorkerSettings
from streams.state.codecs import UnknownCodecError
from streams.state.partition_state import Changes
from streams.state.watch import WatchState
from streams.watch import WatchPipeline, decode_measurement, verdict_messages, watch_name
from tests.builders import NOW_MS, START_MS, Message

TOPIC = "measurements"
FLAGS: tuple[bool | None, ...] = (False, False, False, True, None, None, None, None)


def rules_text(name: str = "gold", drop: float = 0.1) -> str:
    return f"version: 1\nrules:\n  - {{name: {name}, metric: gold_accuracy, smallest_drop: {drop}}}\n...\n"


def change(text: str = rules_text(), at: int = 1_000, app_id: str = "app", **more: Any) -> bytes:
    """Rules as a message."""
    sha256 = more.pop("sha256", hashlib.sha256(text.encode()).hexdigest())
    values = {"changed_by": "ana", "source": "rules.yaml", "worker_id": "w", "accepted_at_ms": NOW_MS} | more
    made = RulesChange(app_id=app_id, changed_at_ms=at, sha256=sha256, content=text, **values)
    return made.model_dump_json().encode()


def answer(sequence: int, at_ms: int = START_MS, *, correct: bool | None = True) -> tuple[Any, ...]:
    flags = (*FLAGS[:3], correct, *FLAGS[4:])
    return (sequence, ("p", "t", "v"), "ana", at_ms, "cat", *flags, 1.5, None, 0.5, 0, 0)


def measured(*answers: tuple[Any, ...], app_id: str = "app", partition: int = 0, is_at_end: bool = True) -> bytes:
    """Answers as a message."""
    sender = Sender(app_id, partition, NOW_MS, is_at_end=is_at_end, is_idle=False, watermark_ms=0)
    (message,) = measurement_messages(sender, Measured(list(answers), arrived_ms=NOW_MS))
    assert message.value is not None
    return message.value


def make(watch: type[Watch] = Watch) -> WatchPipeline:
    return WatchPipeline(WatchState("app", "app.watch", 0, watch))


def feed(pipeline: WatchPipeline, *values: bytes | None) -> Outcome:
    first = pipeline.state.position(TOPIC).offset + 1
    return pipeline.process(TOPIC, [Message(first + n, NOW_MS, None, value) for n, value in enumerate(values)])


def told(changes: Changes) -> list[Verdicts]:
    for message in changes.messages:
        assert (message.topic, message.partition) == ("alerts", 0)
    return [Verdicts.model_validate_json(message.value or b"") for message in changes.messages]


def restored(*stored: Changes, watch: type[Watch] = Watch) -> WatchPipeline:
    """Another pipeline that goes on from what was stored: of each value the latest."""
    state = {(row[2], row[3]): cast(StateRow, row) for changes in stored for row in changes.state}
    pipeline = make(watch)
    pipeline.state.restore(row for row in reversed(state.values()) if not row.is_deleted)
    return pipeline


class Counting(Watch):
    """Breaches at every answer that is wrong; its state is how many answers there were."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.loaded: list[tuple[str, str, str]] = []

    oldest = None
    """Nothing waits."""

    def take(self, batch: Measurements, number: int) -> list[Verdict]:
        found = []
        for one in batch.answers:
            self.seen += 1
            self.clock_ms = max(self.clock_ms, one.submitted_ms)
            if not one.gold_correct and self.rules:
                found.append(breach(self.seen, one.submitted_ms, self.rules[0]))
        return found

    def take_changed(self) -> list[tuple[str, str, str | None]]:
        gone: list[tuple[str, str, str | None]] = [("labeler", "gone", None)]
        return [("watch", "", str(self.seen)), *gone]

    def load(self, rows: Iterable[tuple[str, str, str]]) -> None:
        self.loaded = list(rows)
        self.seen = int(self.loaded[0][2]) if self.loaded else 0


def breach(number: int, at_ms: int, rule: Rule, padding: str = "") -> Verdict:
    scope = VerdictScope(kind="segment", text="segment" + padding, project_id="p", task_type="t", vendor_id="v")
    figures = Figures(
        direction="down", baseline=0.9, level=0.5, since_ms=at_ms - 1, answers=9, statistic=2.0, threshold=1.0,
        unit="share", counted="answers",
    )  # fmt: skip
    return Verdict(number=number, kind="breach", at_ms=at_ms, rule=rule, scope=scope, figures=figures)


class TestDecoding:
    @pytest.mark.parametrize(
        ("value", "reason", "words"),
        [
            (None, Reason.EMPTY, "no value"),
            (b"", Reason.EMPTY, "no value"),
            (b"{", Reason.NOT_JSON, "not JSON"),
            (b"[]", Reason.INVALID_FIELD, "message"),
            (b'{"kind": "mood"}', Reason.INVALID_FIELD, "mood"),
            (measured(answer(1)).replace(b'on":1', b'on":2'), Reason.UNKNOWN_SCHEMA_VERSION, "schema_version"),
            (measured(answer(1)).replace(b'"ana"', b'""'), Reason.INVALID_FIELD, "answers.0.2"),
            (measured(answer(1)).replace(b'[["p","t","v"]]', b"[]"), Reason.INVALID_FIELD, "not among the 0"),
            (measured(answer(1, 2**60)), Reason.INVALID_FIELD, "later than any event"),
            (change(at=2**60), Reason.INVALID_FIELD, "later than any event"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_a_dead_letter(self, value: bytes | None, reason: Reason, words: str) -> None:
        refusal = decode_measurement(value)
        assert isinstance(refusal, Refusal)
        assert refusal.reason is reason
        assert words in refusal.detail
        pipeline = make()
        outcome = feed(pipeline, value, measured(answer(1)))
        assert (outcome.received, outcome.accepted, len(outcome.dead_letters)) == (2, 1, 1)
        assert outcome.dead_letters[0].origin.topic == TOPIC

    def test_of_other_applications_is_passed_over(self) -> None:
        pipeline = make(Counting)
        outcome = feed(pipeline, change(app_id="other"), measured(answer(1), app_id="other"), measured(answer(1)))
        assert (outcome.received, outcome.accepted) == (1, 1)
        assert pipeline.state.position(TOPIC).offset == 2
        assert pipeline.state.in_force is None
        assert len(outcome.rows["measurements"]) == 1

    def test_another_topic_is_a_bug(self) -> None:
        with pytest.raises(ValueError, match="WATCH does not read 'reviews'"):
            make().process("reviews", [])

    def test_applied_before_is_not_applied_again(self) -> None:
        pipeline = make(Counting)
        batch = [Message(0, NOW_MS, None, measured(answer(1)))]
        pipeline.process(TOPIC, batch)
        assert pipeline.process(TOPIC, batch).replayed == 1
        assert cast(Counting, pipeline.state.watch).seen == 1


class TestRules:
    def outcomes(self, pipeline: WatchPipeline) -> list[str]:
        return [news.outcome for news in pipeline.news]

    def test_that_come_are_in_force_and_a_row_says_so(self) -> None:
        pipeline = make()
        outcome = feed(pipeline, change(), change(rules_text(drop=0.2), at=2_000))
        assert self.outcomes(pipeline) == ["accepted", "accepted"]
        assert [rule.smallest_drop for rule in pipeline.state.watch.rules] == [0.2]
        first, second = cast(list[ThresholdChangeRow], outcome.rows["threshold_changes"])
        assert (first.app_id, first.changed_at, first.rules_added, first.previous_sha256) == (
            "app",
            1_000,
            ["gold"],
            "",
        )
        assert (second.rules_changed, second.previous_sha256, second.worker_id) == (["gold"], first.sha256, "w")
        assert second.accepted_at == NOW_MS
        assert "+  - {name: gold, metric: gold_accuracy, smallest_drop: 0.2}" in second.diff

    def test_of_several_files_the_latest_counts_in_any_order(self) -> None:
        sent = [change(rules_text(f"r{n}"), at=at) for n, at in enumerate((3_000, 1_000, 2_000, 3_000))]
        found = set()
        for order in itertools.permutations(sent):
            pipeline = make()
            feed(pipeline, *order)
            found.add(pipeline.state.watch.rules[0].name)
        assert len(found) == 1
        assert found <= {"r0", "r3"}

    def test_the_same_file_again_is_no_change(self) -> None:
        pipeline = make()
        outcome = feed(pipeline, change(), change(at=9_000), change())
        assert self.outcomes(pipeline) == ["accepted", "not_later", "not_later"]
        assert len(outcome.rows["threshold_changes"]) == 1

    def test_shipped_rules_give_way_to_any_and_the_last_of_theirs_counts(self) -> None:
        pipeline = make()
        feed(
            pipeline, change(rules_text("one"), at=0), change(rules_text("two"), at=0), change(rules_text("one"), at=0)
        )
        assert pipeline.state.watch.rules[0].name == "one"
        feed(pipeline, change(rules_text("own"), at=1), change(rules_text("two"), at=0))
        assert pipeline.state.watch.rules[0].name == "own"

    @pytest.mark.parametrize(
        "text", ["", "version: 1", rules_text().replace("gold_acc", "gold_ac"), "\x00", "a: [" * 99]
    )
    def test_that_cannot_be_used_change_nothing(self, text: str) -> None:
        pipeline = make()
        outcome = feed(pipeline, change(), change(text, at=2_000))
        assert self.outcomes(pipeline) == ["accepted", "refused"]
        assert "rules.yaml" in pipeline.news[1].reason
        assert [rule.name for rule in pipeline.state.watch.rules] == ["gold"]
        assert len(outcome.rows["threshold_changes"]) == 1
        assert outcome.dead_letters == []

    def test_are_known_after_a_restart(self) -> None:
        pipeline = make()
        feed(pipeline, change(sha256="ab" * 32))
        first = pipeline.state.changes(NOW_MS)
        assert [row.kind for row in first.state if isinstance(row, StateRow) and row.kind == "rules"] == ["rules"]
        feed(pipeline, measured(answer(1)))
        second = pipeline.state.changes(NOW_MS)
        assert all(cast(StateRow, row).kind != "rules" for row in second.state)
        other = restored(first, second)
        assert other.state.watch.rules == pipeline.state.watch.rules
        assert other.state.in_force == pipeline.state.in_force
        outcome = feed(other, change(rules_text(drop=0.3), at=2_000))
        (row,) = cast(list[ThresholdChangeRow], outcome.rows["threshold_changes"])
        assert (row.previous_sha256, row.rules_changed) == ("ab" * 32, ["gold"])

    def test_that_are_stored_and_cannot_be_used_any_more_are_said(self) -> None:
        pipeline = make(Counting)
        feed(pipeline, change(), measured(answer(1)))
        stored = pipeline.state.changes(NOW_MS)
        stored.state = [
            row._replace(payload=row.payload.replace("gold_accuracy", "mood")) if row.kind == "rules" else row
            for row in cast(list[StateRow], stored.state)
        ]
        other = restored(stored, watch=Counting)
        assert "rules.yaml" in (other.state.refused or "")
        assert other.state.watch.rules == ()
        assert cast(Counting, other.state.watch).seen == 1
        feed(other, change(rules_text(drop=0.3), at=2_000))
        assert other.state.refused is None


class TestVerdicts:
    def test_are_sent_with_the_clock_and_breaches_are_findings(self) -> None:
        pipeline = make(Counting)
        outcome = feed(pipeline, change(), measured(answer(1), answer(2, START_MS + 5, correct=False)))
        (rows,) = [cast(list[FindingRow], outcome.rows["findings"])]
        assert [(row.metric, row.project_id, row.labeler_id, row.at) for row in rows] == [
            ("gold_accuracy", "p", "", START_MS + 5)
        ]
        assert (rows[0].rule, rows[0].scope, rows[0].source_offset, rows[0].level) == ("gold", "segment", 1, 0.5)
        (sent,) = told(pipeline.state.changes(NOW_MS))
        assert (sent.app_id, sent.clock_ms) == ("app", START_MS + 5)
        assert [(verdict.number, verdict.kind) for verdict in sent.verdicts] == [(2, "breach")]
        assert pipeline.state.changes(NOW_MS).messages == [], "sent once"

    def test_the_clock_is_told_once_a_minute(self) -> None:
        pipeline = make(Counting)
        feed(pipeline, *(measured(answer(n, START_MS + 20_000 * n)) for n in range(10)))
        clocks = [one.clock_ms - START_MS for one in told(pipeline.state.changes(NOW_MS))]
        assert clocks == [0, 60_000, 120_000, 180_000]

    def test_how_messages_come_in_batches_does_not_matter(self) -> None:
        values = [change(), *(measured(answer(n, START_MS + 7_000 * n, correct=n % 4 != 0)) for n in range(30))]
        at_once, one_by_one = make(Counting), make(Counting)
        feed(at_once, *values)
        messages = []
        for value in values:
            feed(one_by_one, value)
            messages += one_by_one.state.changes(NOW_MS).messages
        assert messages == at_once.state.changes(NOW_MS).messages

    def test_too_many_for_a_message_come_in_several_and_the_last_moves_the_clock(self) -> None:
        rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy"})
        verdicts = [breach(n, START_MS, rule, "x" * 1_900) for n in range(1_000)]
        messages = verdict_messages("app", 5, 10, verdicts)
        assert len(messages) > 2
        assert all(len(message.value or b"") <= MAX_MESSAGE_BYTES for message in messages)
        batches = told(Changes(messages=messages))
        assert [verdict.number for one in batches for verdict in one.verdicts] == list(range(1_000))
        assert [one.clock_ms for one in batches] == [5] * (len(batches) - 1) + [10]


class TestRows:
    def test_every_message_is_kept(self) -> None:
        value, rules = measured(answer(1, START_MS + 9), answer(2, START_MS)), change()
        outcome = feed(make(), value, rules, measured())
        rows = cast(Sequence[MeasurementRow], outcome.rows["measurements"])
        assert rows[0] == MeasurementRow(
            "app", NOW_MS, 0, NOW_MS, "measurements", 0, START_MS, START_MS + 9, 2, value.decode()
        )
        assert rows[1] == MeasurementRow("app", NOW_MS, 1, NOW_MS, "rules", -1, 0, 0, 0, rules.decode())
        assert rows[2][6:9] == (0, 0, 0)


class TestState:
    def test_goes_on_where_it_was(self) -> None:
        pipeline = make(Counting)
        feed(pipeline, change(), measured(*(answer(n) for n in range(5))))
        stored = pipeline.state.changes(NOW_MS)
        kinds = {(row.app_id, row.kind, row.is_deleted) for row in cast(list[StateRow], stored.state)}
        assert kinds == {
            ("app.watch", "watch", False), ("app.watch", "labeler", True), ("app.watch", "rules", False),
            ("app.watch", "position", False),
        }  # fmt: skip
        other = restored(stored, watch=Counting)
        assert cast(Counting, other.state.watch).seen == 5
        assert other.state.position(TOPIC) == pipeline.state.position(TOPIC)

    def test_the_real_watch_goes_on_too(self) -> None:
        pipeline = make()
        feed(pipeline, change(), measured(*(answer(n, START_MS + 1_000 * n) for n in range(5))))
        other = restored(pipeline.state.changes(NOW_MS))
        assert other.state.watch.clock_ms == pipeline.state.watch.clock_ms == START_MS + 4_000

    def test_what_waits_for_another_source_is_read_again(self) -> None:
        pipeline = make()
        waits = measured(answer(0, START_MS + 60_000))
        feed(pipeline, measured(answer(0, START_MS), partition=1, is_at_end=False), waits, change())
        assert pipeline.state.watch.clock_ms == START_MS
        other = restored(pipeline.state.changes(NOW_MS))
        assert other.state.position(TOPIC).offset == 0
        feed(other, waits, change(), measured(partition=1, is_at_end=True))
        assert other.state.watch.clock_ms == START_MS + 60_000

    def test_of_another_version_is_refused(self) -> None:
        row = StateRow("app.watch", 0, "scope", "k", 0, 99, orjson.dumps({}).decode(), False)
        with pytest.raises(UnknownCodecError, match="'scope' of WATCH has codec version 99"):
            make().state.restore([row])

    def test_has_a_name_of_its_own_that_no_application_may_take(self) -> None:
        assert watch_name(Settings()) == "labelwatch.watch"
        with pytest.raises(ValidationError, match="another application's state"):
            WorkerSettings(app_id="labelwatch.watch")
