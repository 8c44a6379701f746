"""NOTIFY without Kafka: messages by hand, a clock that is moved by hand, and targets of one's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from schemas.alert_rows import AlertDeliveryRow, AlertRow
from schemas.verdicts import Verdicts
from streams.delivery.target import Target
from streams.notify import Notify, notify_name
from streams.settings import NotifySettings, Settings
from streams.sinks.sink import MemorySink
from tests.alerts import T0
from tests.builders import owner_context


class Rig:
    """NOTIFY on rows in memory, with a clock that is moved by hand."""

    def __init__(self, *targets: Target, sink: Any = None, **more: Any) -> None:
        self.sink: Any = sink or MemorySink()
        self.targets = targets
        self.now = T0
        self.published: list[Any] = []
        self.acknowledged: list[Any] = []
        settings = Settings(notify=NotifySettings(page_url="https://page/$alert_id"))
        context = owner_context(
            self.sink,
            notify_name(settings),
            more.pop("worker", "worker-1"),
            settings=settings,
            publish=self._publish,
            acknowledge=lambda *args: self.acknowledged.append(args),
            now_ms=lambda: self.now,
        )
        self.notify = Notify(context, targets=targets, jitter=lambda: 1.0, **more)
        self._offset = 0

    async def _publish(self, messages: Any) -> None:
        self.published.extend(messages)

    async def start(self) -> Rig:
        assert await self.notify.assign({0}, 1)
        self._offset = self.notify.next_offset("alerts", 0) or 0
        return self

    def feed(self, *batches: Verdicts | bytes) -> None:
        values = [one if isinstance(one, bytes) else one.model_dump_json(by_alias=True).encode() for one in batches]
        records = [
            SimpleNamespace(offset=self._offset + number, timestamp=T0, key=None, value=value)
            for number, value in enumerate(values)
        ]
        self._offset += len(records)
        self.notify.process(
            cast(
                Any,
                SimpleNamespace(
                    topic="alerts", partition=0, records=records, last_offset=self._offset - 1, generation=1
                ),
            )
        )

    async def turn(self) -> None:
        """A checkpoint, a turn of every target, and another checkpoint."""
        await self.notify.checkpoint()
        for target in self.targets:
            await self.notify.desk.turn(target)
        await self.notify.checkpoint()

    def deliveries(self) -> list[tuple[str, str, str, int]]:
        rows = cast(list[AlertDeliveryRow], self.sink.rows("alert_deliveries"))
        return [(row.target, row.notice, row.status, row.attempts) for row in rows]

    def alerts(self) -> list[AlertRow]:
        return cast(list[AlertRow], self.sink.rows("alerts"))
