"""NOTIFY without its framework: verdicts become alerts, and alerts reach people.

What happens to alerts is a function of the messages. Delivering them is not, so it has a state of its own: a message is
stored before it is tried, and its end after. A worker that is killed in between tries it once more; one that is stopped
waits for the end first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import orjson
import structlog
from pydantic import ValidationError

from schemas.alert_rows import AlertNoteRow
from schemas.dead_letter import Reason
from schemas.verdicts import Verdicts
from streams.decode import Record, Refusal
from streams.delivery.desk import Desk
from streams.delivery.notes import Notes
from streams.delivery.target import Target
from streams.delivery.text import Describe, PlainText
from streams.outcome import Outcome
from streams.owner import FencedError, Owned, Owner, OwnerContext
from streams.settings import NOTIFY_SUFFIX, Settings
from streams.sinks.retry import Backoff
from streams.state.alerts import AlertsState
from streams.topic_pipeline import TopicPipeline

log = structlog.get_logger()

#: Where ClickHouse does not answer in time, what was known of notes has to do.
LOOK_SECONDS: Final = 5.0
_MESSAGE_CHARS: Final = 300


class NotifyPipeline(TopicPipeline[AlertsState, Verdicts]):
    """Makes alerts of one partition's verdicts."""

    def __init__(self, state: AlertsState, now_ms: Callable[[], int]) -> None:
        super().__init__(state)
        self._now_ms = now_ms

    def decode(self, value: bytes | None) -> Verdicts | Refusal:
        return decode_verdicts(value)

    def apply(self, message: Verdicts, record: Record, outcome: Outcome) -> bool:
        """Let the alerts live on; what changed is in the log."""
        for transition in self.state.take(message, self._now_ms()):
            alert = transition.alert
            log.info(
                "alert.changed",
                change=transition.change,
                alert_id=alert.alert_id,
                rule=alert.rule.name,
                scope=list(alert.key.scope),
                state=alert.state,
                held=alert.held,
                notice=transition.notice,
            )
        return True


class Notify(Owner[NotifyPipeline]):
    """Owner of `alerts`.

    Args:
        context: what it works with.
        targets: where alerts are sent; none: they are kept in ClickHouse, and that is all.
        describe: finds the words; those of the alert itself if None.
    """

    def __init__(
        self,
        context: OwnerContext,
        *,
        targets: Sequence[Target] = (),
        describe: Describe | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(context, notify_name(context.settings), self._make_pipeline)
        settings = context.settings.notify
        self._notes = Notes()
        self.desk = Desk(
            targets,
            describe or PlainText(settings.page_url),
            states=lambda: [owned.pipeline.state for owned in self.partitions.values()],
            look=self._look,
            now_ms=self._now_ms,
            page_url=settings.page_url,
            backoff=Backoff(1.0, settings.retry_max_seconds),
            jitter=jitter,
        )

    def is_due(self, owned: Owned[NotifyPipeline]) -> bool:
        """Also when a delivery has ended."""
        return super().is_due(owned) or owned.pipeline.state.is_changed

    def resume(self, owned: Owned[NotifyPipeline]) -> None:
        """Go on delivering, and say again at once what fires."""
        self.desk.wake(anew=True)

    async def _checkpoint(self) -> int:
        messages = await super()._checkpoint()
        for owned in self.partitions.values():
            owned.pipeline.state.queue.stored()
        self.desk.wake()
        return messages

    async def _look(self) -> Notes:
        """What people have noted.

        Raises:
            FencedError: another worker has taken over, and delivers.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if stale := await self._claims.stale():
                    raise FencedError(f"another worker has claimed partitions {sorted(stale)} of alerts, and delivers")
                rows = await self._sink.read("alert_notes", app_id=self._settings.worker.app_id)
                self._notes = Notes(cast(list[AlertNoteRow], rows))
        except TimeoutError:
            log.warning("notify.notes_unknown", seconds=LOOK_SECONDS)
        return self._notes

    def _make_pipeline(self, partition: int) -> NotifyPipeline:
        targets = self.desk.targets.values()
        state = AlertsState(
            self._settings.worker.app_id,
            self._name,
            partition,
            [target.name for target in targets],
            [target.name for target in targets if target.keeps_alive],
        )
        return NotifyPipeline(state, self._now_ms)


def notify_name(settings: Settings) -> str:
    """The name under which NOTIFY claims its partition and keeps its state."""
    return settings.worker.app_id + NOTIFY_SUFFIX


def decode_verdicts(value: bytes | None) -> Verdicts | Refusal:
    """One message of `alerts`; or why it is a dead letter."""
    if not value:
        return Refusal(Reason.EMPTY, "message has no value")
    try:
        document: Any = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal(Reason.NOT_JSON, f"not JSON: {error}")
    if isinstance(document, dict) and document.get("schema_version", 1) != 1:
        return Refusal(Reason.UNKNOWN_SCHEMA_VERSION, "schema_version is not known here; known: 1")
    try:
        return Verdicts.model_validate_json(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:64] for part in problem["loc"]) or "message"
        return Refusal(Reason.INVALID_FIELD, f"{where}: {problem['msg']}"[:_MESSAGE_CHARS])
