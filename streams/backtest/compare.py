"""What other rules would change: the alerts of two runs over the same time, put side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from detectors.alerts.alert import AlertKey
from streams.backtest.fired import Fired

Kind = Literal["new", "gone", "same", "earlier", "later"]
KINDS: Final[tuple[Kind, ...]] = ("new", "gone", "earlier", "later", "same")


class Difference(NamedTuple):
    """One alert under the rules that are tried, under those they are held against, or under both."""

    kind: Kind
    tried: Fired | None
    other: Fired | None

    @property
    def later_ms(self) -> int | None:
        """By how much it fires later than under the other rules; negative: earlier; None: not in both."""
        if self.tried is None or self.other is None:
            return None
        return self.tried.fired_ms - self.other.fired_ms

    @property
    def shown(self) -> Fired:
        """As it is under the rules that are tried, if it is."""
        fired = self.tried or self.other
        assert fired is not None, "it is of one of the two at least"
        return fired


def compare(tried: Sequence[Fired], other: Sequence[Fired], end_ms: int) -> list[Difference]:
    """Alerts of the same rule and scope are the same if they were not well at the same time; in order of firing.

    A rule with another name is another rule.
    """
    sides: dict[AlertKey, tuple[list[Fired], list[Fired]]] = {}
    for number, alerts in enumerate((tried, other)):
        for one in alerts:
            sides.setdefault(one.key, ([], []))[number].append(one)
    found = [pair for side in sides.values() for pair in _pairs(*side, end_ms)]
    return sorted(found, key=lambda one: (one.shown.fired_ms, KINDS.index(one.kind)))


def _pairs(tried: list[Fired], other: list[Fired], end_ms: int) -> Iterator[Difference]:
    """Both are in order of time, and of one key there is one alert at a time."""
    while tried and other:
        if _end(tried[0], end_ms) < other[0].alert.began_ms:
            yield Difference("new", tried.pop(0), None)
        elif _end(other[0], end_ms) < tried[0].alert.began_ms:
            yield Difference("gone", None, other.pop(0))
        else:
            one, two = tried.pop(0), other.pop(0)
            later_ms = one.fired_ms - two.fired_ms
            yield Difference("same" if not later_ms else "later" if later_ms > 0 else "earlier", one, two)
    yield from (Difference("new", one, None) for one in tried)
    yield from (Difference("gone", None, one) for one in other)


def _end(alert: Fired, end_ms: int) -> int:
    return end_ms if alert.resolved_ms is None else alert.resolved_ms
