"""Replay: a source's events onto their topics, as fast as the broker takes them or N times as fast as they happened."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from streams.settings import KafkaSettings
from streams.sources.producer import KafkaSender, Sender
from streams.sources.source import Message, Rejected, Source, to_message

#: Sleeps of a paced replay are cut into pieces this long, so that the progress display and Ctrl-C stay alive.
MAX_NAP_SECONDS = 0.25
EXAMPLES_PER_REASON = 3

#: Changes a stream of messages on its way, as fault injection does.
Disturb = Callable[[Iterable[Message]], Iterable[Message]]
_VARIABLE = re.compile(r"'[^']*'|\d[\d:.,T+Z-]*(?: \d\d:\d\d:\d\d\S*)?")


@dataclass(slots=True)
class RejectedGroup:
    """Rejected rows with the same column and, values aside, the same reason."""

    column: str | None
    count: int = 0
    examples: list[Rejected] = field(default_factory=list)


@dataclass(slots=True)
class ReplayReport:
    """What a replay did. ``sent`` counts messages that the broker acknowledged."""

    sent: int = 0
    rejected: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    by_topic: dict[str, int] = field(default_factory=dict)
    """Messages given to the sender, by topic."""
    groups: dict[tuple[str | None, str], RejectedGroup] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Acknowledged messages a second."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0

    def add_rejected(self, rejected: Rejected) -> None:
        """Count a rejected row with those like it."""
        self.rejected += 1
        key = (rejected.column, _VARIABLE.sub("…", rejected.reason))
        group = self.groups.setdefault(key, RejectedGroup(rejected.column))
        group.count += 1
        if len(group.examples) < EXAMPLES_PER_REASON:
            group.examples.append(rejected)


#: Told of the report while it grows: after every message, and between naps.
Progress = Callable[[ReplayReport], None]


def replay(
    source: Source,
    kafka: KafkaSettings,
    *,
    speed: float | None = None,
    limit: int | None = None,
    disturb: Disturb | None = None,
    progress: Progress | None = None,
    on_rejected: Callable[[Rejected], None] | None = None,
    compression: str | None = None,
) -> ReplayReport:
    """Send a source's events to the broker.

    Args:
        source: what to send; its rejected rows are counted, and given to ``on_rejected``.
        kafka: the broker.
        speed: event-time seconds a second; None for as fast as possible.
        limit: messages to send at most.
        disturb: applied to the messages before they are sent.
        progress: told of the report as it grows. ``sent`` lags behind by what is on its way.
        compression: None or ``gzip``.

    Raises:
        SourceError: the source cannot be read.
        BrokerError: the broker is away, a topic is missing, or a message was refused.
    """
    with KafkaSender(kafka, compression=compression) as sender:
        return pump(
            source, sender, speed=speed, limit=limit, disturb=disturb, progress=progress, on_rejected=on_rejected
        )


def pump(
    source: Source,
    sender: Sender,
    *,
    speed: float | None = None,
    limit: int | None = None,
    disturb: Disturb | None = None,
    progress: Progress | None = None,
    on_rejected: Callable[[Rejected], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ReplayReport:
    """As :func:`replay`, into any sender. ``clock`` and ``sleep`` are in seconds.

    Ctrl-C ends it early: what was sent is flushed, and the report says ``interrupted``.
    """
    report = ReplayReport()
    began = clock()

    def turn() -> None:
        report.sent = sender.delivered
        report.seconds = clock() - began
        if progress is not None:
            progress(report)

    messages: Iterable[Message] = _messages(source, report, on_rejected)
    if disturb is not None:
        messages = disturb(messages)
    paced_from: tuple[int, float] | None = None
    try:
        for message in islice(messages, limit):
            if speed is not None:
                if paced_from is None:
                    paced_from = (message.event_ms, clock())
                due = paced_from[1] + (message.event_ms - paced_from[0]) / 1_000 / speed
                while (wait := due - clock()) > 0:
                    sleep(min(wait, MAX_NAP_SECONDS))
                    turn()
            sender.send(message)
            _count(report, message)
            turn()
    except KeyboardInterrupt:
        report.interrupted = True
    sender.flush()
    turn()
    return report


def _messages(
    source: Source, report: ReplayReport, on_rejected: Callable[[Rejected], None] | None
) -> Iterator[Message]:
    for item in source:
        if isinstance(item, Rejected):
            report.add_rejected(item)
            if on_rejected is not None:
                on_rejected(item)
        else:
            yield to_message(item)


def _count(report: ReplayReport, message: Message) -> None:
    report.by_topic[message.topic] = report.by_topic.get(message.topic, 0) + 1
    at = message.event_ms
    report.first_event_ms = at if report.first_event_ms is None else min(report.first_event_ms, at)
    report.last_event_ms = at if report.last_event_ms is None else max(report.last_event_ms, at)
