"""All alerts that are not over, and what becomes of them: a function of WATCH's messages alone.

Waiting times run on event time, as WATCH tells it. What is due is done at its own time and in one order, however the
verdicts were packed into messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from detectors.alerts.alert import About, Alert, AlertKey, Change, Ended, Notice, Transition, alert_id
from detectors.alerts.inhibition import breadth, inhibits, may_be_apart
from detectors.alerts.quiet import is_quiet, quiet_until_ms
from schemas.thresholds import Severity
from schemas.verdicts import Figures, Verdict, Verdicts

HOUR_MS: Final = 3_600_000
#: How long after people were told they are told again, while it lasts.
REPEAT_MS: Final[dict[Severity, int]] = {"critical": 4 * HOUR_MS, "warning": 24 * HOUR_MS, "info": 24 * HOUR_MS}
#: How long after people were told it is looked again who it was, in case it was too early to say.
LOOK_MS: Final = HOUR_MS
#: An alert that ended so often within so long does not end any more until all was well for so many times
#: ``resolve_after``: people would learn to ignore it.
FLAPPING_ENDS: Final = 3
FLAPPING_MS: Final = 6 * HOUR_MS
FLAPPING_WELL: Final = 4

_COMES_AND_GOES: Final = frozenset({"recovered", "silent", "speaking"})


class AlertBook:
    """The alerts of one application. Same messages, same transitions; a message that comes again changes nothing."""

    def __init__(self, app_id: str) -> None:
        self.clock_ms = 0
        """Event time by now."""
        self.number = 0
        """Of the last verdict that was taken."""
        self._app_id = app_id
        self._open: dict[AlertKey, Alert] = {}
        self._due: dict[AlertKey, int] = {}
        self._ends: dict[AlertKey, list[int]] = {}
        """When alerts that had fired were over, lately."""
        self._hushed: dict[AlertKey, Figures] = {}
        """Breaches that silence ended and nothing else: WATCH does not say them again when values come again."""
        self._changed: dict[tuple[str, AlertKey | None], None] = {}
        self._told: list[Transition] = []

    @property
    def open(self) -> Sequence[Alert]:
        """Alerts that are pending or firing, in order of their keys."""
        return [self._open[key] for key in sorted(self._open)]

    def take(self, batch: Verdicts) -> list[Transition]:
        """Apply verdicts that are new, then let the clock run on; what came of it, in order."""
        before = self.clock_ms, self.number
        for verdict in batch.verdicts:
            if verdict.number > self.number:
                self.number = verdict.number
                self._advance(max(self.clock_ms, verdict.at_ms))
                self._apply(verdict)
        self._advance(max(self.clock_ms, batch.clock_ms))
        self._forget_ends()
        if (self.clock_ms, self.number) != before:
            self._changed["book", None] = None
        told, self._told = self._told, []
        return told

    def take_changed(self) -> list[tuple[str, str, str | None]]:
        """State that changed since the last call: kind, key, and a payload in JSON, or None where it is gone."""
        changed, self._changed = self._changed, {}
        return [(kind, "" if key is None else _dumps(list(key)), self._payload(kind, key)) for kind, key in changed]

    def load(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Go on from all that `take_changed` said and did not take back. The book must be new.

        Raises:
            ValueError: a row of a kind that is not known here.
        """
        for kind, key, payload in rows:
            plain: Any = json.loads(payload)
            if kind == "book":
                self.clock_ms, self.number = plain
            elif kind == "alert":
                alert = Alert.from_plain(plain)
                self._keep(alert)
            elif kind in ("ends", "hushed"):
                rule, about, scope = json.loads(key)
                of = AlertKey(rule, about, tuple(scope))
                if kind == "ends":
                    self._ends[of] = plain
                else:
                    self._hushed[of] = Figures.model_validate(plain)
            else:
                raise ValueError(f"no kind {kind!r} of an alert book")
        self._changed = {}

    def _payload(self, kind: str, key: AlertKey | None) -> str | None:
        if key is None:
            return _dumps([self.clock_ms, self.number])
        if kind == "alert":
            return _dumps(self._open[key].to_plain()) if key in self._open else None
        if kind == "hushed":
            return self._hushed[key].model_dump_json() if key in self._hushed else None
        return _dumps(self._ends[key]) if key in self._ends else None

    def _apply(self, verdict: Verdict) -> None:
        match verdict.kind:
            case "breach":
                self._unhush(AlertKey.of(verdict, "change"))
                self._begin(verdict, "change")
            case "silent" if verdict.rule.no_data == "alert":
                self._begin(verdict, "no_data")
            case "silent":
                if verdict.rule.no_data == "ok":
                    self._hush(AlertKey.of(verdict, "change"))
                    self._end(verdict, "change", "silent")
            case "speaking":
                self._end(verdict, "no_data", "speaking")
                if figures := self._unhush(AlertKey.of(verdict, "change")):
                    self._begin(verdict.model_copy(update={"figures": figures}), "change")
            case "dropped":
                self._unhush(AlertKey.of(verdict, "change"))
                self._end(verdict, "change", "dropped")
                self._end(verdict, "no_data", "dropped")
            case "recovered" | "withdrawn" | "new_level" as ended:
                self._unhush(AlertKey.of(verdict, "change"))
                self._end(verdict, "change", ended)

    def _hush(self, key: AlertKey) -> None:
        alert = self._open.get(key)
        if alert is not None and alert.figures is not None and alert.held != "unconfirmed":
            self._hushed[key] = alert.figures
            self._changed["hushed", key] = None

    def _unhush(self, key: AlertKey) -> Figures | None:
        figures = self._hushed.pop(key, None)
        if figures is not None:
            self._changed["hushed", key] = None
        return figures

    def _begin(self, verdict: Verdict, about: About) -> None:
        key = AlertKey.of(verdict, about)
        known = self._open.get(key)
        now = {"rule": verdict.rule, "scope": verdict.scope, "figures": verdict.figures, "back": None}
        if known is not None:
            # Its labels are Alertmanager's key: where a labeler is at work by now does not change them.
            known = replace(known, **now | {"scope": known.scope}, well_ms=None)  # type: ignore[arg-type]  # mypy cannot tell keys
            if known.held == "unconfirmed" and _is_confirmed(known):
                self._tell(known, "released")
            else:
                self._say("updated", known)
            return
        began_ms = verdict.at_ms
        alert = Alert(
            alert_id(self._app_id, key, began_ms), key, verdict.rule, verdict.scope, "pending", began_ms,
            verdict.figures,
        )  # fmt: skip
        if verdict.rule.for_seconds:
            self._say("pending", alert)
        else:
            self._fire(alert)

    def _fire(self, alert: Alert) -> None:
        self._tell(replace(alert, state="firing", fired_ms=self.clock_ms), "fired")

    def _tell(self, alert: Alert, change: Change) -> None:
        """Tell people that it fires, unless a broader alert does, or they are not to be woken."""
        if broad := self._inhibitors(alert):
            self._hold(alert, broad, "held" if change == "released" else change)
        elif is_quiet(alert.rule.schedule, self.clock_ms):
            until_ms = quiet_until_ms(alert.rule.schedule, self.clock_ms)
            alert = replace(
                alert, held="quiet", inhibited_by="", released_ms=None, quiet_until_ms=until_ms, look_ms=None
            )
            self._say("held" if change == "released" else change, alert)
        else:
            alert = replace(alert, held="", inhibited_by="", released_ms=None, quiet_until_ms=None, told=alert.told + 1)
            repeat_ms = self.clock_ms + REPEAT_MS[alert.rule.severity]
            self._say(change, replace(alert, repeat_ms=repeat_ms, look_ms=self._look_ms(alert)), "firing")

    def _hold(self, alert: Alert, broad: Sequence[Alert], change: Change) -> None:
        """Broader alerts say it, unless it is on people whom they do not mean; that is not known here."""
        is_apart = all(may_be_apart(one, alert) for one in broad)
        held = replace(
            alert, held="inhibited", inhibited_by=broad[0].alert_id, released_ms=None, quiet_until_ms=None,
            look_ms=self._look_ms(alert) if is_apart else None,
        )  # fmt: skip
        self._say(change, held, "apart" if is_apart and not is_quiet(alert.rule.schedule, self.clock_ms) else None)

    def _repeat(self, alert: Alert) -> None:
        schedule = alert.rule.schedule
        repeat_ms: int | None = self.clock_ms + REPEAT_MS[alert.rule.severity]
        if alert.well_ms is not None or self._inhibitors(alert):
            self._keep(replace(alert, repeat_ms=repeat_ms))
        elif is_quiet(schedule, self.clock_ms):
            self._keep(replace(alert, repeat_ms=quiet_until_ms(schedule, self.clock_ms)))
        else:
            again = replace(alert, told=alert.told + 1, repeat_ms=repeat_ms, look_ms=self._look_ms(alert))
            self._say("repeated", again, "repeat")

    def _look(self, alert: Alert) -> None:
        """People are told if a cause can be named by now; that is not known here."""
        later = replace(alert, look_ms=self._look_ms(alert))
        broad = self._inhibitors(alert)
        notice: Notice | None = None if broad else "update"
        if alert.held and all(may_be_apart(one, alert) for one in broad):
            notice = "apart"
        if notice is None or alert.well_ms is not None or is_quiet(alert.rule.schedule, self.clock_ms):
            self._keep(later)
        else:
            self._say("looked", later, notice)

    def _look_ms(self, alert: Alert) -> int | None:
        """Who changed is not asked where nothing comes, nor of a labeler."""
        return self.clock_ms + LOOK_MS if alert.about == "change" and alert.key.scope[0] != "labeler" else None

    def _end(self, verdict: Verdict, about: About, ended: Ended) -> None:
        alert = self._open.get(AlertKey.of(verdict, about))
        if alert is None:
            return
        alert = replace(alert, back=verdict.figures)
        if alert.state == "pending":
            self._close(alert, "calmed", ended)
        elif ended in _COMES_AND_GOES and (alert.is_flapping or self._is_flapping(alert.key)):
            if alert.well_ms is None:
                change: Change = "updated" if alert.is_flapping else "flapping"
                self._say(change, replace(alert, is_flapping=True, well_ms=self.clock_ms))
        else:
            self._resolve(alert, ended)

    def _resolve(self, alert: Alert, ended: Ended) -> None:
        if alert.is_flapping or ended == "dropped":
            self._ends.pop(alert.key, None)
        else:
            self._ends.setdefault(alert.key, []).append(self.clock_ms)
        self._changed["ends", alert.key] = None
        self._close(alert, "resolved", ended)
        self._release(alert)

    def _release(self, over: Alert) -> None:
        """What a broader alert spoke for may have ended with it: people hear of it if WATCH says that it lasts."""
        for key in self._in_order(self._open):
            held = self._open[key]
            if held.inhibited_by != over.alert_id:
                continue
            if broad := self._inhibitors(held):
                self._hold(held, broad, "held")
            else:
                unconfirmed = replace(held, held="unconfirmed", inhibited_by="", released_ms=self.clock_ms)
                self._say("held", replace(unconfirmed, look_ms=None))
                self._release(held)  # and speaks for nobody either

    def _close(self, alert: Alert, change: Change, ended: Ended) -> None:
        over = replace(
            alert, state="resolved", resolved_ms=self.clock_ms, ended=ended, held="", inhibited_by="",
            released_ms=None, quiet_until_ms=None, repeat_ms=None, look_ms=None, well_ms=None,
            revision=alert.revision + 1,
        )  # fmt: skip
        self._open.pop(alert.key, None)
        self._due.pop(alert.key, None)
        self._changed["alert", alert.key] = None
        self._told.append(Transition(self.clock_ms, change, over, "resolved" if alert.told else None))

    def _is_flapping(self, key: AlertKey) -> bool:
        """Whether the end that comes now is one too many."""
        lately = [end for end in self._ends.get(key, ()) if end > self.clock_ms - FLAPPING_MS]
        return len(lately) + 1 >= FLAPPING_ENDS

    def _inhibitors(self, alert: Alert) -> list[Alert]:
        """The broadest one first."""
        return [self._open[key] for key in self._in_order(self._open) if inhibits(self._open[key], alert)]

    def _say(self, change: Change, alert: Alert, notice: Notice | None = None) -> None:
        alert = replace(alert, revision=alert.revision + 1)
        self._keep(alert)
        self._told.append(Transition(self.clock_ms, change, alert, notice))

    def _keep(self, alert: Alert) -> None:
        self._open[alert.key] = alert
        self._changed["alert", alert.key] = None
        due = _due_ms(alert)
        if due is None:
            self._due.pop(alert.key, None)
        else:
            self._due[alert.key] = due

    def _advance(self, to_ms: int) -> None:
        """Let the clock run, and do what is due at its time; broad alerts first, since they speak for others."""
        while self._due:
            due_ms = min(self._due.values())
            if due_ms > to_ms:
                break
            self.clock_ms = max(self.clock_ms, due_ms)
            self._do(self._open[self._in_order(key for key, due in self._due.items() if due == due_ms)[0]])
        self.clock_ms = to_ms

    def _do(self, alert: Alert) -> None:
        if alert.state == "pending":
            self._fire(alert)
        elif (over_ms := _well_over_ms(alert)) is not None and over_ms <= self.clock_ms:
            self._resolve(alert, "recovered" if alert.about == "change" else "speaking")
        elif alert.held == "quiet":
            self._tell(alert, "released")
        elif alert.repeat_ms is not None and alert.repeat_ms <= self.clock_ms:
            self._repeat(alert)
        else:
            self._look(alert)

    def _in_order(self, keys: Iterable[AlertKey]) -> list[AlertKey]:
        return sorted(keys, key=lambda key: (-breadth(key.scope[0]), key))

    def _forget_ends(self) -> None:
        for key, ends in list(self._ends.items()):
            kept = [end for end in ends if end > self.clock_ms - FLAPPING_MS]
            if kept != ends:
                self._changed["ends", key] = None
                if kept:
                    self._ends[key] = kept
                else:
                    del self._ends[key]


def _is_confirmed(alert: Alert) -> bool:
    """Whether the latest breach rests on values that came when no broader alert spoke for it any more."""
    seen_ms = alert.figures.seen_since_ms if alert.figures is not None else None
    return seen_ms is None or alert.released_ms is None or seen_ms >= alert.released_ms


def _well_over_ms(alert: Alert) -> int | None:
    """When a flapping alert has been well for long enough."""
    if not alert.is_flapping or alert.well_ms is None:
        return None
    return alert.well_ms + FLAPPING_WELL * alert.rule.resolve_after_seconds * 1_000


def _due_ms(alert: Alert) -> int | None:
    """When something is to be done about an alert though nothing is heard of it."""
    if alert.state == "pending":
        return alert.began_ms + alert.rule.for_seconds * 1_000
    waits = {
        "quiet": (alert.quiet_until_ms,), "inhibited": (alert.look_ms,), "": (alert.repeat_ms, alert.look_ms)
    }.get(alert.held, ())  # fmt: skip
    return min((due for due in (*waits, _well_over_ms(alert)) if due is not None), default=None)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
