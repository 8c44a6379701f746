"""Replaying dead letters, against a topic and a table in memory: nothing is lost, and it may be cut short anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.dead_letter import DeadLetter, Origin, Reason
from schemas.rows import DeadLetterRow
from schemas.times import to_ms
from schemas.topics import DEAD_LETTERS
from streams.cli.dlq import validator
from streams.dead_letters import Action, OnError, Received, Replay
from streams.decode import Refusal
from streams.settings import Settings

FAILED_AT = datetime(2026, 3, 2, 9, 14, 48, 123_000, tzinfo=UTC)
GOOD, BAD = b'{"good": true}', b"bad \x1b"


def validate(topic: str, key: bytes | None, payload: bytes) -> Refusal | None:
    return None if payload == GOOD else Refusal(Reason.NOT_JSON, "still bad")


def letter(offset: int, payload: bytes = GOOD, **changes: Any) -> DeadLetter:
    return DeadLetter(
        **{
            "reason": Reason.INVALID_FIELD,
            "detail": "task_id: missing",
            "origin": Origin(topic="annotations", partition=2, offset=offset),
            "key": b"task-1",
            "payload": payload,
            "failed_at": FAILED_AT,
            **changes,
        }
    )


class Crash(Exception):
    pass


class Topic:
    """One partition in memory. ``crash_at`` names the step at which the process dies."""

    def __init__(self, *letters: DeadLetter | bytes, batch: int = 100) -> None:
        self.log = [one if isinstance(one, bytes) else one.model_dump_json().encode() for one in letters]
        self.batch = batch
        self.committed = 0
        self.sent: list[tuple[str, int | None, bytes | None, bytes]] = []
        self._pending: list[tuple[str, int | None, bytes | None, bytes]] = []
        self.steps: list[str] = []
        self.crash_at: str | None = None

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.crash_at == name:
            self.crash_at = None
            raise Crash(name)

    def batches(self) -> Iterator[Sequence[Received]]:
        self._pending.clear()
        end = len(self.log)
        for start in range(self.committed, end, self.batch):
            stop = min(start + self.batch, end)
            yield [Received(0, offset, b"task-1", self.log[offset]) for offset in range(start, stop)]

    def send(self, topic: str, partition: int | None, key: bytes | None, value: bytes) -> None:
        self._pending.append((topic, partition, key, value))

    def flush(self) -> None:
        self.step("flush")
        for message in self._pending:
            if message[0] == DEAD_LETTERS.name:
                self.log.append(message[3])
            else:
                self.sent.append(message)
        self._pending.clear()

    def commit(self, positions: Mapping[int, int]) -> None:
        self.step("commit")
        self.committed = max(self.committed, positions.get(0, 0))


class Table:
    def __init__(self, topic: Topic | None = None) -> None:
        self.rows: dict[Origin, DeadLetterRow] = {}
        self._topic = topic

    def current(self, origins: Iterable[Origin]) -> dict[Origin, DeadLetterRow]:
        return {origin: self.rows[origin] for origin in origins if origin in self.rows}

    def write(self, rows: Sequence[DeadLetterRow]) -> None:
        if self._topic is not None:
            self._topic.step("write")
        for row in rows:
            origin = Origin(topic=row.origin_topic, partition=row.origin_partition, offset=row.origin_offset)
            assert row.version > (self.rows[origin].version if origin in self.rows else -1)
            self.rows[origin] = row

    def statuses(self) -> dict[int, str]:
        return {origin.offset: row.status for origin, row in sorted(self.rows.items(), key=lambda i: i[0].offset)}


def run(topic: Topic, table: Table, on_error: OnError = OnError.STOP, **options: Any) -> Replay:
    replay = Replay(topic, table, validate, on_error, **options)
    for _ in replay.run():
        pass
    return replay


def counts(replay: Replay) -> dict[str, int]:
    return {action.name: count for action, count in replay.report.counts.items() if count}


def test_good_ones_go_back_where_they_came_from() -> None:
    topic = Topic(letter(1), letter(2, key=None))
    table = Table(topic)
    replay = run(topic, table)
    assert counts(replay) == {"REPLAY": 2}
    assert topic.sent == [("annotations", 2, b"task-1", GOOD), ("annotations", 2, None, GOOD)]
    assert table.statuses() == {1: "replayed", 2: "replayed"}
    assert topic.committed == 2
    assert topic.steps == ["flush", "write", "commit"], "the position moves last"


def test_stop_keeps_the_place_of_the_bad_one() -> None:
    topic = Topic(letter(1), letter(2, BAD), letter(3))
    table = Table(topic)
    replay = run(topic, table)
    assert counts(replay) == {"REPLAY": 1, "STOP": 1}
    assert topic.committed == 1
    assert table.statuses() == {1: "replayed"}
    assert replay.report.first_bad is not None
    assert "annotations-dlq/0 at 1, from annotations/2 at 2: not_json: still bad" in replay.report.first_bad


def test_requeue_puts_it_back_once_with_one_more_attempt() -> None:
    topic = Topic(letter(1, BAD), letter(2), batch=1)
    table = Table(topic)
    replay = run(topic, table, OnError.REQUEUE)
    assert counts(replay) == {"REQUEUE": 1, "REPLAY": 1}, "what was requeued is not read again in this run"
    again = DeadLetter.model_validate_json(topic.log[2])
    assert (again.attempts, again.reason, again.detail) == (2, Reason.NOT_JSON, "still bad")
    assert (again.origin, again.payload, again.failed_at) == (letter(1).origin, BAD, FAILED_AT)
    assert topic.committed == 2
    assert table.statuses() == {1: "open", 2: "replayed"}
    assert table.rows[letter(1).origin].detail == "still bad"


def test_drop_gives_it_up() -> None:
    topic = Topic(letter(1, BAD), letter(2))
    table = Table(topic)
    assert counts(run(topic, table, OnError.DROP)) == {"DROP": 1, "REPLAY": 1}
    assert table.statuses() == {1: "dropped", 2: "replayed"}
    assert topic.committed == 2


def test_same_origin_twice_is_sent_once() -> None:
    """A worker that died between the dead-letter topic and its checkpoint writes its dead letters again."""
    topic = Topic(letter(1), letter(1), batch=1)
    table = Table(topic)
    assert counts(run(topic, table)) == {"REPLAY": 1, "SKIP": 1}
    assert len(topic.sent) == 1
    assert topic.committed == 2


def test_replayed_before_is_skipped_unless_the_topic_was_made_anew() -> None:
    topic = Topic(letter(1))
    table = Table(topic)
    run(topic, table)
    again = Topic(letter(1), letter(1, failed_at=datetime(2026, 4, 1, tzinfo=UTC)))
    assert counts(run(again, table)) == {"SKIP": 1, "REPLAY": 1}
    assert table.rows[letter(1).origin].version == 2


@pytest.mark.parametrize("step", ["flush", "write", "commit"])
@pytest.mark.parametrize("on_error", [OnError.REQUEUE, OnError.DROP])
def test_cut_short_anywhere_and_run_again(step: str, on_error: OnError) -> None:
    letters = [letter(number, GOOD if number % 3 else BAD) for number in range(1, 13)]
    topic = Topic(*letters, batch=5)
    table = Table(topic)
    topic.crash_at = step
    with pytest.raises(Crash):
        run(topic, table, on_error)
    run(topic, table, on_error)
    good = [one for one in letters if one.payload == GOOD]
    assert topic.committed == 12 if on_error is OnError.DROP else topic.committed >= 12
    assert len(topic.sent) >= len(good), "nothing is lost"
    # Between the flush and the status row a batch may be sent twice; workers drop the second by its event_id.
    assert len(topic.sent) <= len(good) + (topic.batch if step == "write" else 0)
    expected = "dropped" if on_error is OnError.DROP else "open"
    assert table.statuses() == {n: ("replayed" if n % 3 else expected) for n in range(1, 13)}


def test_reason_leaves_the_others_in_their_place() -> None:
    topic = Topic(
        letter(1), letter(2, reason=Reason.UNKNOWN_LABEL), letter(3), letter(4, reason=Reason.UNKNOWN_LABEL), batch=2
    )
    table = Table(topic)
    replay = run(topic, table, reason=Reason.UNKNOWN_LABEL)
    assert counts(replay) == {"LEAVE": 2, "REPLAY": 2}
    assert topic.committed == 0, "the first that was left is still to come"
    assert table.statuses() == {2: "replayed", 4: "replayed"}
    assert counts(run(topic, table)) == {"REPLAY": 2, "SKIP": 2}
    assert topic.committed == 4
    assert len(topic.sent) == 4


def test_limit_counts_what_is_dealt_with() -> None:
    topic = Topic(letter(1, reason=Reason.EMPTY), letter(2), letter(3), letter(4))
    table = Table(topic)
    assert counts(run(topic, table, reason=Reason.INVALID_FIELD, limit=2)) == {"LEAVE": 1, "REPLAY": 2}
    assert table.statuses() == {2: "replayed", 3: "replayed"}
    topic = Topic(letter(1), letter(2), letter(3))
    run(topic, Table(topic), limit=2)
    assert topic.committed == 2


@pytest.mark.parametrize("on_error", list(OnError))
def test_dry_run_changes_nothing_and_counts_all(on_error: OnError) -> None:
    topic = Topic(letter(1, BAD), letter(2), letter(3, BAD))
    table = Table(topic)
    replay = run(topic, table, on_error, dry_run=True)
    assert replay.report.counts[Action.REPLAY] == 1
    assert replay.report.handled == 3
    assert (topic.steps, topic.sent, topic.committed, table.rows) == ([], [], 0, {})
    assert (replay.report.first_bad is not None) == (on_error is OnError.STOP)


def test_cut_payload_cannot_be_replayed_and_says_so() -> None:
    topic = Topic(letter(1, truncated=True))
    replay = run(topic, Table(topic))
    assert replay.report.first_bad is not None
    assert "its producer has to send it again" in replay.report.first_bad
    assert topic.sent == []


def test_foreign_origin_is_never_written_to() -> None:
    topic = Topic(letter(1, origin=Origin(topic="payments", partition=0, offset=1)))
    table = Table(topic)
    assert counts(run(topic, table, OnError.DROP)) == {"DROP": 1}
    assert topic.sent == []


@pytest.mark.parametrize("raw", [b"", b"not json", b'{"reason": "empty"}'])
def test_unreadable_message_follows_the_policy(raw: bytes) -> None:
    topic = Topic(raw, letter(1))
    stopped = run(topic, Table(topic))
    assert "not a dead letter" in str(stopped.report.first_bad)
    assert topic.committed == 0
    table = Table(topic)
    assert counts(run(topic, table, OnError.REQUEUE)) == {"REQUEUE": 1, "REPLAY": 1}
    assert topic.log[-1] == raw, "kept as it is"
    topic = Topic(raw, letter(1))
    assert counts(run(topic, Table(topic), OnError.DROP)) == {"DROP": 1, "REPLAY": 1}
    assert topic.committed == 2


def test_status_row_keeps_what_the_letter_does_not_know() -> None:
    topic = Topic(letter(1, BAD, truncated=True))
    table = Table(topic)
    origin = letter(1).origin
    table.rows[origin] = DeadLetterRow(
        "annotations", 2, 1, "task-1", "invalid_field", "d", "f", 900_000, to_ms(FAILED_AT), "open", 7
    )
    run(topic, table, OnError.DROP)
    row = table.rows[origin]
    assert (row.payload_bytes, row.version, row.status, row.failed_at) == (900_000, 8, "dropped", to_ms(FAILED_AT))
    assert row.first_bytes == "bad \x1b"


def test_validator_is_the_pipelines_own_judgement() -> None:
    event = (
        b'{"event_id": "e", "task_id": "t", "labeler_id": "l", "project_id": "p", "vendor_id": "v", "task_type": "x",'
        b' "label": {"kind": "class", "value": "%s"}, "started_at": "%s-03-02T09:14:05Z",'
        b' "submitted_at": "%s-03-02T09:14:47Z"}'
    )
    judge = validator(Settings(projects={"p": {"labels": {"cat", "dog"}}}))  # type: ignore[dict-item]  # parsed
    assert judge("annotations", b"t", event % (b"cat", b"2026", b"2026")) is None
    refusals = {
        Reason.UNKNOWN_LABEL: judge("annotations", b"t", event % (b"horse", b"2026", b"2026")),
        Reason.TIME_IN_FUTURE: judge("annotations", b"t", event % (b"cat", b"2099", b"2099")),
        Reason.KEY_MISMATCH: judge("annotations", b"other", event % (b"cat", b"2026", b"2026")),
        Reason.EMPTY: judge("reviews", b"t", b""),
    }
    assert {reason: refusal and refusal.reason for reason, refusal in refusals.items()} == {r: r for r in refusals}
