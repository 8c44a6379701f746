"""WATCH without its framework: rules run on what all source partitions measured, in the one order of its topic.

Pure: batches of `measurements` in, verdicts and rows out. Which verdicts there are, and their numbers, is a function of
the messages alone: what is sent again after a crash is the same, and its readers tell by the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from detectors.watch.watch import MINUTE_MS, Watch
from schemas.dead_letter import Reason
from schemas.measurements import MeasurementMessage, Measurements, RulesChange
from schemas.rows import FindingRow, MeasurementRow
from schemas.topics import ALERTS
from schemas.verdicts import Verdict, Verdicts
from streams.decode import Record, Refusal
from streams.outbox import MAX_MESSAGE_BYTES, Message
from streams.outcome import EARLIEST_MS, LATEST_MS, Outcome, arrival_ms
from streams.owner import Owned, Owner, OwnerContext
from streams.settings import WATCH_SUFFIX, Settings
from streams.state.watch import WatchState, read_rules
from streams.thresholds import ThresholdsError
from streams.thresholds_watch import change_row
from streams.topic_pipeline import TopicPipeline

#: The only partition of the topic of verdicts: they have one order.
_PARTITION: Final = 0
_MESSAGE_CHARS: Final = 300


class RulesNews(NamedTuple):
    """What became of rules that were sent."""

    change: RulesChange
    outcome: Literal["accepted", "refused", "not_later"]
    reason: str = ""


class WatchPipeline(TopicPipeline[WatchState, Measurements | RulesChange]):
    """Runs the rules."""

    def __init__(self, state: WatchState) -> None:
        super().__init__(state)
        self.news: list[RulesNews] = []
        """For the log; whoever reads it empties it."""

    def decode(self, value: bytes | None) -> Measurements | RulesChange | Refusal:
        return decode_measurement(value)

    def apply(self, message: Measurements | RulesChange, record: Record, outcome: Outcome) -> bool:
        """Let the rules look, or change them; verdicts wait in the state, rows in the outcome."""
        watch = self.state.watch
        before_ms = watch.clock_ms
        told = self._told_by(message, record, outcome)
        outcome.rows["measurements"].append(measurement_row(message, record))
        outcome.rows["findings"].extend(_findings(told, self.state.partition, record.offset))
        if told or watch.clock_ms // MINUTE_MS > before_ms // MINUTE_MS:
            self.state.messages.extend(verdict_messages(self.state.app_id, before_ms, watch.clock_ms, told))
        return True

    def _told_by(self, message: Measurements | RulesChange, record: Record, outcome: Outcome) -> list[Verdict]:
        if isinstance(message, RulesChange):
            return self._change_rules(message, outcome)
        return self.state.watch.take(message, record.offset)

    def _change_rules(self, change: RulesChange, outcome: Outcome) -> list[Verdict]:
        if not is_later(change, self.state.change):
            self.news.append(RulesNews(change, "not_later"))
            return []
        try:
            rules = read_rules(change)
        except ThresholdsError as error:
            self.news.append(RulesNews(change, "refused", str(error)))
            return []
        accepted_at = datetime.fromtimestamp(change.accepted_at_ms / 1_000, UTC)
        row = change_row(
            self.state.in_force, rules, app_id=change.app_id, worker_id=change.worker_id, accepted_at=accepted_at
        )
        outcome.rows["threshold_changes"].append(row._replace(changed_at=change.changed_at_ms))
        told = self.state.watch.change_rules(rules.rules)
        self.state.put_in_force(change, rules)
        self.news.append(RulesNews(change, "accepted"))
        return told


class Watcher(Owner[WatchPipeline]):
    """Owner of the partition of `measurements`."""

    def __init__(self, context: OwnerContext, *, make_watch: Callable[[], Watch] = Watch) -> None:
        super().__init__(context, watch_name(context.settings), self._make_pipeline)
        self._make_watch = make_watch
        self.on_restored: Callable[[Owned[WatchPipeline]], object] = lambda owned: None

    def resume(self, owned: Owned[WatchPipeline]) -> None:
        """Say with which rules it goes on."""
        self.on_restored(owned)

    def _make_pipeline(self, partition: int) -> WatchPipeline:
        return WatchPipeline(WatchState(self._settings.worker.app_id, self._name, partition, self._make_watch))


def watch_name(settings: Settings) -> str:
    """The name under which WATCH claims its partition and keeps its state."""
    return settings.worker.app_id + WATCH_SUFFIX


def decode_measurement(value: bytes | None) -> Measurements | RulesChange | Refusal:
    """One message of `measurements`, or why it is a dead letter."""
    if not value:
        return Refusal(Reason.EMPTY, "message has no value")
    try:
        message = MeasurementMessage.model_validate_json(value).root
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        if problem["type"] == "json_invalid":
            return Refusal(Reason.NOT_JSON, f"not JSON: {problem['msg']}"[:_MESSAGE_CHARS])
        path = [str(part)[:64] for part in problem["loc"]]
        if path[1:] == ["schema_version"]:
            return Refusal(Reason.UNKNOWN_SCHEMA_VERSION, "schema_version is not known here; known: 1")
        return Refusal(Reason.INVALID_FIELD, f"{'.'.join(path) or 'message'}: {problem['msg']}"[:_MESSAGE_CHARS])
    if any(time_ms > LATEST_MS for time_ms in _times(message)):
        return Refusal(Reason.INVALID_FIELD, "a time is later than any event can be")
    if isinstance(message, Measurements):
        known = len(message.segments)
        for items in (message.answers, message.truths, message.reviews, message.settled):
            if any(item.segment >= known for item in items):
                return Refusal(Reason.INVALID_FIELD, f"an item is in a segment that is not among the {known}")
    return message


def _times(message: Measurements | RulesChange) -> Iterator[int]:
    if isinstance(message, RulesChange):
        yield from (message.changed_at_ms, message.accepted_at_ms)
        return
    yield from (message.sent_ms, message.arrived_ms, message.watermark_ms)
    yield from (answer.submitted_ms for answer in message.answers)
    yield from (truth.submitted_ms for truth in message.truths)
    yield from (review.reviewed_ms for review in message.reviews)
    yield from (settled.settled_ms for settled in message.settled)
    yield from (refused.arrived_ms for refused in message.refused)


def is_later(change: RulesChange, in_force: RulesChange | None) -> bool:
    """Whether rules take the place of those in force. Those that labelwatch comes with are changed at 0: anybody's own
    are later, and of theirs the last that came counts."""
    if in_force is None:
        return True
    if change.sha256 == in_force.sha256:
        return False
    if change.changed_at_ms == in_force.changed_at_ms == 0:
        return True
    return (change.changed_at_ms, change.sha256) > (in_force.changed_at_ms, in_force.sha256)


def measurement_row(message: Measurements | RulesChange, record: Record) -> MeasurementRow:
    """A message as it is kept for replays."""
    assert record.value is not None
    sent_at, source_partition, times = 0, -1, list[int]()
    if isinstance(message, Measurements):
        sent_at, source_partition = message.sent_ms, message.source_partition
        times = [answer.submitted_ms for answer in message.answers]
    else:
        sent_at = message.accepted_at_ms
    return MeasurementRow(
        app_id=message.app_id,
        arrived_at=arrival_ms(record),
        source_offset=record.offset,
        sent_at=sent_at,
        kind=message.kind,
        source_partition=source_partition,
        first_at=min(times, default=0),
        last_at=max(times, default=0),
        answers=len(times),
        payload=record.value.decode(),
    )


def verdict_messages(app_id: str, before_ms: int, clock_ms: int, told: Sequence[Verdict]) -> list[Message]:
    """Verdicts of one message of measurements, in as few messages as the limit of their size allows, and the clock.

    It is only moved on by the last of them: before that not everything was said.
    """
    value = Verdicts(app_id=app_id, clock_ms=clock_ms, verdicts=tuple(told)).model_dump_json(by_alias=True).encode()
    if len(value) <= MAX_MESSAGE_BYTES or len(told) < 2:
        return [Message(ALERTS.name, _PARTITION, None, value)]
    middle = len(told) // 2
    return [
        *verdict_messages(app_id, before_ms, before_ms, told[:middle]),
        *verdict_messages(app_id, before_ms, clock_ms, told[middle:]),
    ]


def _findings(told: Sequence[Verdict], partition: int, offset: int) -> Iterator[FindingRow]:
    for verdict in told:
        found, scope = verdict.figures, verdict.scope
        if verdict.kind == "breach" and found is not None:
            yield FindingRow(
                metric=verdict.rule.metric,
                project_id=scope.project_id,
                task_type=scope.task_type,
                vendor_id=scope.vendor_id,
                labeler_id=scope.labeler_id,
                at=max(verdict.at_ms, EARLIEST_MS),
                source_partition=partition,
                direction=found.direction,
                since=max(found.since_ms, EARLIEST_MS),
                baseline=found.baseline,
                level=found.level,
                answers=found.answers,
                statistic=found.statistic,
                threshold=found.threshold,
                source_offset=offset,
                rule=verdict.rule.name,
                scope=scope.text,
            )
