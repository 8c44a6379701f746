"""Verdicts as WATCH gives them, and places that alerts are sent to, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.scope import KEY_FIELDS, Kind
from schemas.thresholds import Rule
from schemas.verdicts import Figures, Verdict, VerdictKind, Verdicts, VerdictScope
from streams.delivery.target import DELIVERED, Outgoing, Sent

T0 = 1_767_600_000_000
"""2026-01-05 08:00 UTC, a Monday."""
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_FIELDS = {"project_id": "captions", "task_type": "image", "vendor_id": "acme", "labeler_id": "ana"}


def rule(name: str = "gold", **fields: Any) -> Rule:
    return Rule.model_validate({"name": name, "metric": "gold_accuracy", **fields})


def scope(kind: Kind = "vendor", text: str = "", **fields: str) -> VerdictScope:
    """A scope of that kind, its fields filled in as far as they tell it apart."""
    known = {name: _FIELDS[name] for name in KEY_FIELDS[kind]}
    if kind == "labeler":
        known["vendor_id"] = _FIELDS["vendor_id"]
    return VerdictScope(kind=kind, text=text or kind, **{**known, **fields})


def figures(level: float = 0.8, **fields: Any) -> Figures:
    return Figures(
        **{
            "direction": "down", "baseline": 0.92, "level": level, "since_ms": T0 - MINUTE, "answers": 120,
            "statistic": 4_300.0, "threshold": 4_270.0, "unit": "share", "counted": "golds", "smallest_drop": 0.1,
            **fields,
        }
    )  # fmt: skip


def verdict(
    number: int,
    kind: VerdictKind = "breach",
    at: int = T0,
    of: Rule | None = None,
    on: VerdictScope | None = None,
    level: float = 0.8,
    seen_since: int | None = None,
    labelers: int | None = None,
) -> Verdict:
    is_silence = kind in ("silent", "speaking")
    return Verdict(
        number=number,
        kind=kind,
        at_ms=at,
        rule=of or rule(),
        scope=on or scope(),
        figures=None if is_silence else figures(level, seen_since_ms=seen_since, labelers=labelers),
    )


def batch(*verdicts: Verdict, clock: int | None = None, app_id: str = "labelwatch") -> Verdicts:
    latest = max((one.at_ms for one in verdicts), default=T0)
    return Verdicts(app_id=app_id, clock_ms=latest if clock is None else clock, verdicts=verdicts)


class Mailbox:
    """A target that keeps what it is sent, and answers as it is told."""

    def __init__(self, name: str = "mailbox", *, keeps_alive: bool = False) -> None:
        self.name = name
        self.keeps_alive = keeps_alive
        self.answers: list[Sent] = []
        """What to say to the next attempts; then DELIVERED."""
        self.sent: list[Outgoing] = []
        self.alive: list[list[Outgoing]] = []
        self.is_closed = False

    async def send(self, message: Outgoing) -> Sent:
        self.sent.append(message)
        return self.answers.pop(0) if self.answers else DELIVERED

    async def keep_alive(self, messages: Sequence[Outgoing]) -> Sent:
        self.alive.append(list(messages))
        return DELIVERED

    async def close(self) -> None:
        self.is_closed = True

    @property
    def told(self) -> list[tuple[str, str]]:
        """Rule and notice of every attempt."""
        return [(message.alert.rule.name, message.notice) for message in self.sent]
