"""The file of rules while a worker runs: looked at again and again; what is new in it goes to WATCH as a message.

Whatever is in the file, or in its place, the worker goes on: what cannot be used is said, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import structlog
from pydantic import ValidationError

from schemas.measurements import RulesChange
from schemas.rows import ThresholdChangeRow
from schemas.times import to_ms
from schemas.topics import MEASUREMENTS
from streams.metrics import METRICS
from streams.outbox import Message
from streams.owner import Publish
from streams.settings import Settings
from streams.sinks.sink import Sink
from streams.thresholds import LoadedThresholds, ThresholdsError, shipped
from streams.thresholds_watch import Accepted, Refused, ThresholdsWatch, as_stored

log = structlog.get_logger()


class RulesFile:
    """Tells WATCH of the rules that are to be in force.

    Args:
        settings: which file, and how often it is looked at.
        worker_id: who says so.
        sink: where the changes are found that were accepted before.
        publish: sends messages and returns when the broker has them.
        now_ms: the wall clock, for the record.
    """

    def __init__(
        self, settings: Settings, worker_id: str, sink: Sink, *, publish: Publish, now_ms: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._sink = sink
        self._publish = publish
        self._now_ms = now_ms
        self._said: tuple[int, str] | None = None
        """When the rules were changed that this worker sent last, and their hash."""

    async def run(self) -> None:
        """Look at the file until cancelled."""
        path = self._settings.rules.file
        latest = await self._latest()
        if path is None:
            await self._say(shipped(), 0)
            await asyncio.Event().wait()
            return
        in_force = self._stored(latest) or replace(shipped(), sha256="")  # so that a file like it is taken, too
        watch = ThresholdsWatch(path, in_force)
        found = await self._look(watch.start)
        if isinstance(found, Accepted):
            await self._say(found.thresholds, self._changed_at_ms(found.thresholds))
        elif isinstance(found, Refused) and latest is None:
            await self._say(shipped(), 0)  # better than none; WATCH keeps to those that it has
        self._note(watch, found)
        while True:
            await asyncio.sleep(self._settings.rules.poll_seconds)
            found = await self._look(watch.poll)
            if isinstance(found, Accepted):
                await self._say_changed(found.thresholds)
            self._note(watch, found)

    async def _look(self, look: Callable[[], Accepted | Refused | None]) -> Accepted | Refused | None:
        try:
            return await asyncio.to_thread(look)
        except Exception as error:  # not even a mistake of ours in reading a file stops a worker
            log.error("thresholds.look_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            return Refused(f"cannot be read: {type(error).__name__}")

    async def _say_changed(self, rules: LoadedThresholds) -> None:
        """The file was seen to change, so it is later than what was in force, though an older file may have taken its
        place, with the time at which that was written. What was sent is perhaps not stored yet."""
        row = await self._latest()
        known = [one for one in (self._said, row and (row.changed_at, row.sha256)) if one]
        latest_ms, sha256 = max(known, default=(-1, ""))
        if sha256 != rules.sha256:
            await self._say(rules, max(self._changed_at_ms(rules), latest_ms + 1))

    def _changed_at_ms(self, rules: LoadedThresholds) -> int:
        """When the file was written; one of the future would be later than whatever anybody writes until then."""
        return min(to_ms(rules.changed_at), self._now_ms())

    async def _say(self, rules: LoadedThresholds, changed_at_ms: int) -> None:
        try:
            change = RulesChange(
                app_id=self._settings.worker.app_id,
                changed_at_ms=changed_at_ms,
                changed_by=rules.changed_by,
                source=rules.source,
                sha256=rules.sha256,
                content=rules.text,
                worker_id=self._worker_id,
                accepted_at_ms=self._now_ms(),
            )
        except ValidationError as error:  # a name beyond all measure
            log.error("thresholds.not_sent", reason=str(error))
            return
        self._said = changed_at_ms, rules.sha256
        await self._publish([Message(MEASUREMENTS.name, 0, None, change.model_dump_json().encode())])

    async def _latest(self) -> ThresholdChangeRow | None:
        """The change that is in force, as far as it is stored."""
        rows = await self._sink.read("threshold_changes", app_id=self._settings.worker.app_id)
        found = cast(list[ThresholdChangeRow], rows)
        return max(found, key=lambda row: (row.changed_at, row.accepted_at), default=None)

    def _stored(self, row: ThresholdChangeRow | None) -> LoadedThresholds | None:
        if row is None:
            return None
        try:
            return as_stored(row)
        except ThresholdsError as error:
            log.warning("thresholds.stored_refused", reason=str(error))
            return None

    def _note(self, watch: ThresholdsWatch, found: Accepted | Refused | None) -> None:
        METRICS.thresholds_refused.set(watch.refused is not None or isinstance(found, Refused))
        METRICS.thresholds_file.clear()
        METRICS.thresholds_file.labels(watch.in_force.sha256).set(1)
        if isinstance(found, Accepted):
            log.info("thresholds.accepted", source=found.thresholds.source, sha256=found.thresholds.sha256)
        elif isinstance(found, Refused):
            log.error("thresholds.refused", reason=found.reason)
