"""Alerts that would have fired: gathered from what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detectors.alerts.alert import Alert, AlertKey, Transition


@dataclass(slots=True)
class Fired:
    """An alert that fired in the time that is looked at."""

    alert: Alert
    """As it was when it fired."""
    fired_ms: int
    told_ms: int | None = None
    """When people would first have been told; None: never, because of quiet hours or of a broader alert."""
    resolved_ms: int | None = None
    """When it was over; None: not by the end."""
    ended: str = ""
    is_flapping: bool = False

    @property
    def key(self) -> AlertKey:
        return self.alert.key

    def lasted_ms(self, end_ms: int) -> int:
        """From firing to its end, or to that of the history."""
        return (end_ms if self.resolved_ms is None else self.resolved_ms) - self.fired_ms


class Gathering:
    """Alerts that fire from ``since_ms`` on and before ``until_ms``; others are only counted."""

    def __init__(self, since_ms: int, until_ms: int | None) -> None:
        self.calmed = 0
        """Found, and over before they had lasted for as long as their rules ask."""
        self._since_ms = since_ms
        self._until_ms = until_ms
        self._fired: dict[str, Fired] = {}
        self._earlier: dict[str, None] = {}

    @property
    def fired(self) -> Sequence[Fired]:
        """In order of firing."""
        return list(self._fired.values())

    @property
    def open_before(self) -> int:
        """How many had fired before, and were not over by then."""
        return len(self._earlier)

    def within(self, at_ms: int) -> bool:
        """Whether a moment is in the time that is looked at."""
        return self._since_ms <= at_ms and (self._until_ms is None or at_ms < self._until_ms)

    def take(self, transition: Transition) -> None:
        """Note what became of an alert."""
        at_ms, alert = transition.at_ms, transition.alert
        if at_ms < self._since_ms:
            if transition.change == "fired":
                self._earlier[alert.alert_id] = None
            elif transition.change == "resolved":
                self._earlier.pop(alert.alert_id, None)
        if not self.within(at_ms):
            return
        if transition.change == "calmed":
            self.calmed += 1
        if transition.change == "fired":
            self._fired[alert.alert_id] = Fired(alert, at_ms)
        known = self._fired.get(alert.alert_id)
        if known is None:
            return
        if transition.notice == "firing" and known.told_ms is None:
            known.told_ms = at_ms
        known.is_flapping |= alert.is_flapping
        if transition.change == "resolved":
            known.resolved_ms, known.ended = at_ms, alert.ended
