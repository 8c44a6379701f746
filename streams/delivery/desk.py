"""Sends what waits, each target at its own pace. Nobody who reads messages waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from detectors.alerts.alert import Alert, Notice
from streams.delivery.notes import Notes
from streams.delivery.queue import DeliveryQueue, Intent
from streams.delivery.target import DELIVERED, Outgoing, Sent, Target
from streams.delivery.text import Describe, PlainText, Text, page_of
from streams.metrics import METRICS
from streams.sinks.retry import Backoff

log = structlog.get_logger()

#: How often a target that forgets is told again what fires.
KEEP_ALIVE_MS: Final = 60_000
#: How long finding words may take; then the alert speaks for itself.
DESCRIBE_SECONDS: Final = 10.0
#: A turn comes at least so often.
_TURN_MS: Final = 5_000
#: Messages that are sent only if their words name somebody, and why not otherwise.
_BY_CAUSE: Final[Mapping[Notice, str]] = {
    "apart": "another alert says it, and no labelers stand out",
    "update": "it is still too early to name anybody",
}


class AlertState(Protocol):
    """What one partition knows of alerts."""

    @property
    def queue(self) -> DeliveryQueue: ...
    @property
    def firing(self) -> Sequence[Alert]: ...
    def is_told(self, alert: Alert) -> bool: ...
    def text(self, alert_id: str) -> Text | None: ...
    def keep_text(self, alert: Alert, text: Text) -> None: ...


class Desk:
    """Delivers the alerts of the partitions that are owned.

    Args:
        targets: each with a name of its own.
        describe: finds the words.
        states: those of the partitions that are owned now.
        look: what people have noted, after making sure that the partitions are still owned here.
        now_ms: the wall clock.
        page_url: template of an alert's page.
        backoff: pauses between tries of one message.
        jitter: randomness for them, in [0, 1).
    """

    def __init__(
        self,
        targets: Sequence[Target],
        describe: Describe,
        *,
        states: Callable[[], Sequence[AlertState]],
        look: Callable[[], Awaitable[Notes]],
        now_ms: Callable[[], int],
        page_url: str | None,
        backoff: Backoff,
        jitter: Callable[[], float],
    ) -> None:
        self.targets = {target.name: target for target in targets}
        self._describe = describe
        self._states = states
        self._look = look
        self._now_ms = now_ms
        self._page_url = page_url
        self._plain = PlainText(page_url)
        self._backoff, self._jitter = backoff, jitter
        self._busy = {name: asyncio.Lock() for name in self.targets}
        self._wakes = {name: asyncio.Event() for name in self.targets}
        self._alive_ms: dict[str, int] = {}
        self._pausing = asyncio.Event()

    def wake(self, *, anew: bool = False) -> None:
        """There is something to send; ``anew``: also say again at once what fires."""
        if anew:
            self._alive_ms.clear()
        for event in self._wakes.values():
            event.set()

    async def run(self) -> None:
        """Deliver until cancelled; without targets, only wait for that."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            for target in self.targets.values():
                group.create_task(self._serve(target))

    async def pause(self) -> None:
        """Begin nothing any more, and wait for what is being tried: its end must be known before the last store."""
        self._pausing.set()
        for lock in self._busy.values():
            async with lock:
                pass

    def go_on(self) -> None:
        """Begin again."""
        self._pausing.clear()
        self.wake(anew=True)

    async def close(self) -> None:
        """Let go of the targets."""
        for target in self.targets.values():
            await target.close()
        await self._describe.close()

    async def turn(self, target: Target) -> None:
        """Send all that is due for one target now."""
        async with self._busy[target.name]:
            if self._pausing.is_set():
                return
            if target.keeps_alive and self._now_ms() >= self._alive_ms.get(target.name, 0):
                await self._keep_alive(target)
            notes = None
            for state in self._states():
                while not self._pausing.is_set() and (intent := state.queue.next(target.name, self._now_ms())):
                    try:
                        notes = notes or await self._look()
                        ended = await self._attempt(target, state, intent, notes)
                    except BaseException:
                        state.queue.release(intent)
                        raise
                    if not ended:
                        state.queue.release(intent)
            self._report(target.name)

    async def _serve(self, target: Target) -> None:
        wake = self._wakes[target.name]
        while True:
            wake.clear()
            await self.turn(target)
            due = [ms for state in self._states() if (ms := state.queue.next_ms(target.name)) is not None]
            pause_ms = min([_TURN_MS, *(max(ms - self._now_ms(), 50) for ms in due)])
            try:
                async with asyncio.timeout(pause_ms / 1_000):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _attempt(self, target: Target, state: AlertState, intent: Intent, notes: Notes) -> bool:
        """Try one message, and tell the queue; False if it was not tried after all."""
        queue, alert = state.queue, intent.alert
        if not target.keeps_alive:
            if intent.notice in ("apart", "repeat", "update") and notes.is_acked(alert):
                self._ended(target, intent, "dropped")
                queue.done(intent, "dropped", self._now_ms(), "somebody acknowledged the alert", tried=False)
                return True
            if (until_ms := notes.silent_until_ms(alert, self._now_ms())) is not None:
                if intent.is_news:
                    self._ended(target, intent, "dropped")
                    queue.done(intent, "dropped", self._now_ms(), "silenced, and over", tried=False)
                else:
                    queue.put_off(intent, until_ms, "silenced")
                return True
        if intent.notice == "resolved" and not state.is_told(alert):
            self._ended(target, intent, "dropped")
            queue.done(intent, "dropped", self._now_ms(), "nobody was told that it fired", tried=False)
            return True
        message = await self._message(state, alert, intent.notice)
        if self._pausing.is_set():
            return False
        if intent.notice in _BY_CAUSE and message.text.is_open:
            self._ended(target, intent, "dropped")
            queue.done(intent, "dropped", self._now_ms(), _BY_CAUSE[intent.notice], tried=False)
            return True
        sent = await target.send(message)
        self._record(target, state, intent, sent)
        return True

    def _record(self, target: Target, state: AlertState, intent: Intent, sent: Sent) -> None:
        now_ms = self._now_ms()
        self._ended(target, intent, sent.verdict, sent.reason)
        if sent.verdict == "later":
            pause_ms = int(1_000 * self._backoff.pause(intent.attempts + 1, self._jitter()))
            state.queue.retry(intent, now_ms, pause_ms, sent.reason)
        else:
            state.queue.done(intent, "delivered" if sent == DELIVERED else "given_up", now_ms, sent.reason)

    def _ended(self, target: Target, intent: Intent, outcome: str, reason: str = "") -> None:
        METRICS.deliveries.labels(target.name, outcome).inc()
        write = log.info if outcome in ("delivered", "dropped") else log.warning
        write(
            "delivery.attempt",
            target=target.name,
            outcome=outcome,
            alert_id=intent.alert.alert_id,
            rule=intent.alert.rule.name,
            notice=intent.notice,
            attempt=intent.attempts + 1,
            reason=reason,
        )

    async def _keep_alive(self, target: Target) -> None:
        messages: list[Outgoing] = []
        for state in self._states():
            for alert in state.firing:
                if state.is_told(alert) and not state.queue.is_undelivered(target.name, alert.alert_id):
                    text = state.text(alert.alert_id) or self._plain.text(alert, "firing")
                    messages.append(Outgoing(alert, "firing", text, page_of(self._page_url, alert)))
        sent = await target.keep_alive(messages)
        if sent != DELIVERED:
            log.warning("delivery.keep_alive_failed", target=target.name, alerts=len(messages), reason=sent.reason)
        # After a failure soon again: what is not heard of for minutes is taken for over.
        self._alive_ms[target.name] = self._now_ms() + (KEEP_ALIVE_MS if sent == DELIVERED else KEEP_ALIVE_MS // 6)

    async def _message(self, state: AlertState, alert: Alert, notice: Notice) -> Outgoing:
        known = state.text(alert.alert_id)
        if known is None or notice in ("repeat", "resolved") or (notice == "update" and known.is_open):
            text = await self._words(alert, notice)
            is_said = notice != "resolved" and not (notice == "apart" and text.is_open)
            if is_said and (known is None or (known.is_open and not text.is_open)):
                state.keep_text(alert, text)
        else:
            text = known  # the same for every target
        return Outgoing(alert, notice, text, page_of(self._page_url, alert))

    async def _words(self, alert: Alert, notice: Notice) -> Text:
        finding = asyncio.ensure_future(self._describe(alert, notice))
        pausing = asyncio.ensure_future(self._pausing.wait())
        try:
            await asyncio.wait({finding, pausing}, timeout=DESCRIBE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if finding.done() and (problem := finding.exception()) is None:
                return finding.result()
            reason = f"{type(problem).__name__}: {problem}" if finding.done() else "took too long"
            log.warning("delivery.describe_failed", alert_id=alert.alert_id, error=reason)
            return self._plain.text(alert, notice)._replace(is_open=True)
        finally:
            finding.cancel()
            pausing.cancel()
            await asyncio.gather(finding, pausing, return_exceptions=True)

    def _report(self, name: str) -> None:
        waiting = [intent for state in self._states() for intent in state.queue.waiting if intent.target == name]
        METRICS.deliveries_waiting.labels(name).set(len(waiting))
        tried = [intent.queued_ms for intent in waiting if intent.attempts]
        METRICS.delivery_wait_seconds.labels(name).set((self._now_ms() - min(tried)) / 1_000 if tried else 0.0)
