"""What is to be sent to whom. Nothing is tried before it is stored, and nothing leaves before its end is known.

Pure: times are arguments. One alert's messages to one target keep their order; targets and alerts do not wait for one
another.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from detectors.alerts.alert import Alert, Notice, Transition
from schemas.alert_rows import AlertDeliveryRow

Status = Literal["waiting", "delivered", "given_up", "dropped"]
#: That an alert is over matters for so long; that it fires, while it does.
OVER_MATTERS_MS: Final = 7 * 86_400_000


class IntentKey(NamedTuple):
    """One message to one target."""

    target: str
    alert_id: str
    number: int
    """Revision of the alert that it tells."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A message that is to be sent. Times are of the wall clock."""

    target: str
    alert: Alert
    notice: Notice
    queued_ms: int
    attempts: int = 0
    attempted_ms: int | None = None
    next_ms: int = 0
    """Not before then."""
    reason: str = ""
    """Why it was not delivered yet."""
    is_news: bool = False
    """That it is over, of an alert that this target has never heard of."""

    @property
    def key(self) -> IntentKey:
        return IntentKey(self.target, self.alert.alert_id, self.alert.revision)


class DeliveryQueue:
    """Messages that wait, of one partition's alerts.

    Args:
        app_id: whose alerts they are.
        targets: names of those there are; the ones in ``keep_alive`` repeat by themselves.
    """

    def __init__(self, app_id: str, targets: Collection[str], keep_alive: Collection[str] = ()) -> None:
        self._app_id = app_id
        self._targets = tuple(targets)
        self._keep_alive = frozenset(keep_alive)
        self._waiting: dict[IntentKey, Intent] = {}
        self._stored: set[IntentKey] = set()
        self._in_flight: set[IntentKey] = set()
        self._changed: dict[IntentKey, None] = {}
        self._storing: set[IntentKey] = set()
        self._rows: dict[IntentKey, AlertDeliveryRow] = {}

    @property
    def is_changed(self) -> bool:
        """Whether there is something to store."""
        return bool(self._changed)

    @property
    def waiting(self) -> list[Intent]:
        """All that is not delivered yet, in order."""
        return list(self._waiting.values())

    def add(self, transition: Transition, now_ms: int) -> None:
        """Note what people are to be told, for each target."""
        notice, alert = transition.notice, transition.alert
        if notice is None:
            return
        for target in self._targets:
            if notice in ("apart", "repeat", "update") and self._of(target, alert.alert_id):
                continue
            if notice == "repeat" and target in self._keep_alive:
                continue
            intent = Intent(target, alert, notice, now_ms)
            self._set(intent)
            if notice == "resolved":
                self._overtake(intent.key)
            elif notice == "firing":
                self._drop(target, alert.alert_id, "apart", "it is told in any case by now")

    def next(self, target: str, now_ms: int) -> Intent | None:
        """What to try now: stored, due, and the first of its alert. It is in flight until its end is told."""
        seen: set[str] = set()
        for key, intent in self._waiting.items():
            if key.target != target or key.alert_id in seen:
                continue
            seen.add(key.alert_id)
            if key in self._stored and key not in self._in_flight and intent.next_ms <= now_ms:
                self._in_flight.add(key)
                return intent
        return None

    def next_ms(self, target: str) -> int | None:
        """When the next one is due; None if nothing waits that is stored."""
        due = [i.next_ms for key, i in self._waiting.items() if key.target == target and key in self._stored]
        return min(due, default=None)

    def is_undelivered(self, target: str, alert_id: str) -> bool:
        """Whether something on that alert still waits for that target."""
        return bool(self._of(target, alert_id))

    def is_waiting(self, alert_id: str) -> bool:
        """Whether something on that alert still waits for anybody."""
        return any(key.alert_id == alert_id for key in self._waiting)

    def put_off(self, intent: Intent, until_ms: int, reason: str) -> None:
        """Not now, though nothing was tried."""
        self._in_flight.discard(intent.key)
        put_off = replace(intent, next_ms=until_ms, reason=reason)
        if intent.reason == reason:
            self._waiting[intent.key] = put_off  # after a restart it is looked at at once: no need to store that
        else:
            self._set(put_off)
        self._overtaken(intent)

    def retry(self, intent: Intent, now_ms: int, pause_ms: int, reason: str) -> None:
        """An attempt failed; another may not."""
        self._in_flight.discard(intent.key)
        tried = replace(
            intent, attempts=intent.attempts + 1, attempted_ms=now_ms, next_ms=now_ms + pause_ms, reason=reason
        )
        if intent.notice == "resolved" and now_ms - intent.queued_ms >= OVER_MATTERS_MS:
            self._leave(tried, "given_up")
            return
        self._set(tried)
        self._overtaken(tried)

    def done(self, intent: Intent, status: Status, now_ms: int, reason: str = "", *, tried: bool = True) -> None:
        """It left the queue: delivered, refused for good, or needless (and then perhaps never tried)."""
        self._in_flight.discard(intent.key)
        if tried:
            intent = replace(intent, attempts=intent.attempts + 1, attempted_ms=now_ms)
        self._leave(replace(intent, reason=reason), status)
        if intent.notice == "apart" and status == "delivered":
            self._drop(intent.target, intent.alert.alert_id, "firing", "it was told apart from a broader alert")

    def release(self, intent: Intent) -> None:
        """It was not tried, and is as it was."""
        self._in_flight.discard(intent.key)
        self._overtaken(intent)

    def take_changed(self) -> tuple[list[tuple[str, str | None]], list[AlertDeliveryRow]]:
        """State that changed since the last call (key, and payload or None), and rows of it."""
        state = [(_dumps(list(key)), self._payload(key)) for key in self._changed]
        rows = list(self._rows.values())
        self._storing = {key for key in self._changed if key in self._waiting}
        self._changed, self._rows = {}, {}
        return state, rows

    def stored(self) -> None:
        """What the last `take_changed` said is durable: it may be tried."""
        self._stored |= self._storing & self._waiting.keys()
        self._storing = set()

    def load(self, rows: Iterable[tuple[str, str]]) -> None:
        """Go on from stored rows; what was for a target that is gone is dropped."""
        found = [_intent(json.loads(key)[0], json.loads(payload)) for key, payload in rows]
        for intent in sorted(found, key=lambda one: (one.queued_ms, one.alert.alert_id, one.alert.revision)):
            self._waiting[intent.key] = intent
            self._stored.add(intent.key)
            if intent.target not in self._targets:
                self._leave(replace(intent, reason="there is no such target any more"), "dropped")

    def _of(self, target: str, alert_id: str) -> list[Intent]:
        return [i for key, i in self._waiting.items() if key.target == target and key.alert_id == alert_id]

    def _overtake(self, over: IntentKey) -> None:
        """Of an alert that is over by now, only that is told; not what is being tried at this moment."""
        for ahead in self._of(over.target, over.alert_id):
            if ahead.key != over and ahead.key not in self._in_flight:
                self._leave(replace(ahead, reason="it was over before it was delivered"), "dropped")
                if ahead.notice == "firing":
                    self._set(replace(self._waiting[over], is_news=True))

    def _drop(self, target: str, alert_id: str, notice: Notice, reason: str) -> None:
        for intent in self._of(target, alert_id):
            if intent.notice == notice and intent.key not in self._in_flight:
                self._leave(replace(intent, reason=reason), "dropped")

    def _overtaken(self, intent: Intent) -> None:
        behind = self._of(intent.target, intent.alert.alert_id)
        if intent.notice != "resolved" and (over := next((i for i in behind if i.notice == "resolved"), None)):
            self._overtake(over.key)

    def _set(self, intent: Intent) -> None:
        self._waiting[intent.key] = intent
        self._changed[intent.key] = None
        self._rows[intent.key] = self._row(intent, "waiting")

    def _leave(self, intent: Intent, status: Status) -> None:
        self._waiting.pop(intent.key, None)
        self._stored.discard(intent.key)
        self._changed[intent.key] = None
        self._rows[intent.key] = self._row(intent, status)

    def _row(self, intent: Intent, status: Status) -> AlertDeliveryRow:
        version = 2 * intent.attempts + (status != "waiting")
        return AlertDeliveryRow(
            self._app_id, intent.alert.alert_id, intent.target, intent.alert.revision, intent.notice, status,
            intent.queued_ms, intent.attempts, intent.attempted_ms, intent.reason, version,
        )  # fmt: skip

    def _payload(self, key: IntentKey) -> str | None:
        intent = self._waiting.get(key)
        if intent is None:
            return None
        return _dumps({"alert": intent.alert.to_plain(), **{name: getattr(intent, name) for name in _PLAIN}})


_PLAIN: Final = ("notice", "queued_ms", "attempts", "attempted_ms", "next_ms", "reason", "is_news")


def _intent(target: str, plain: dict[str, Any]) -> Intent:
    return Intent(target, Alert.from_plain(plain["alert"]), **{name: plain[name] for name in _PLAIN})


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
