"""Stored measurements for tests: two days of two labelers, of whom one gets worse for some hours."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from itertools import pairwise

from schemas.measurements import Measurements, RulesChange
from schemas.times import format_utc
from streams.measurement_history import Read
from tests.measured import MINUTE_MS, START_MS, answer, batch

HOUR = 60
DAY = 24 * HOUR
MINUTES = 2 * DAY
#: Minutes from the start in which ann is wrong every other time.
BAD = ((12 * HOUR, 17 * HOUR), (36 * HOUR, 41 * HOUR))


def rules_text(drop: float = 0.2, *, name: str = "gold", more: str = "") -> str:
    """A file with one rule, which wants to know of a drop of each labeler."""
    rule = f"name: {name}, metric: gold_accuracy, scope: labeler, resolve_after: 30m, smallest_drop: {drop}{more}"
    return f"version: 1\nrules:\n  - {{{rule}}}\n...\n"


def change(text: str, minute: int, *, app_id: str = "app") -> RulesChange:
    """Rules that come into force at a minute."""
    at_ms = at(minute)
    return RulesChange(
        app_id=app_id, changed_at_ms=at_ms, changed_by="ana", source="rules.yaml", worker_id="w",
        sha256=hashlib.sha256(text.encode()).hexdigest(), content=text, accepted_at_ms=at_ms,
    )  # fmt: skip


def at(minute: float) -> int:
    """Event time of a minute from the start."""
    return START_MS + int(minute * MINUTE_MS)


def moment(minute: float) -> str:
    """The same as text."""
    return format_utc(datetime.fromtimestamp(at(minute) / 1_000, UTC))


@functools.cache
def measured(app_id: str = "app") -> tuple[Measurements, ...]:
    """An answer of each labeler every two minutes, ten minutes a message."""
    answers = [
        answer(
            minute,
            labeler_id="ann" if minute % 2 else "bob",
            gold_correct=minute % 20 != 0 and not (minute % 4 == 1 and any(a <= minute < b for a, b in BAD)),
        )
        for minute in range(MINUTES)
    ]
    bounds = [*range(0, MINUTES, 10), MINUTES]
    return tuple(
        batch(answers[start:end], app_id=app_id, sent_ms=at(end), arrived_ms=at(end)) for start, end in pairwise(bounds)
    )


def with_changes(
    messages: Iterable[Measurements], *changes: tuple[int, RulesChange]
) -> list[Measurements | RulesChange]:
    """Changes put before messages, by position."""
    found: list[Measurements | RulesChange] = []
    for number, message in enumerate(messages):
        found += [one for position, one in changes if position == number]
        found.append(message)
    return found


class Remembered:
    """A history that is in memory, and does as those of ClickHouse and Kafka do."""

    name = "memory of a test"

    def __init__(self, messages: Iterable[Measurements | RulesChange]) -> None:
        self.messages = list(messages)
        self.latest_ms = 0
        self.given = 0

    def read(self, from_ms: int) -> Generator[Read]:
        has_begun = False
        for number, message in enumerate(self.messages):
            if isinstance(message, Measurements):
                latest_ms = max((one.submitted_ms for one in message.answers), default=0)
                self.latest_ms = max(self.latest_ms, latest_ms)
                has_begun = has_begun or latest_ms >= from_ms
                if not has_begun:
                    continue
            self.given += 1
            yield Read(message, number / len(self.messages))
