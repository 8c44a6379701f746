"""Sending a checkpoint's messages: each once the broker is there, all before anything after them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaTimeoutError

from streams.metrics import METRICS
from streams.outbox import Message
from streams.sinks.retry import Backoff

if TYPE_CHECKING:
    import faust

log = structlog.get_logger()


class Publisher:
    """Sends through the application's producer."""

    def __init__(self, app: faust.App, retry_max_seconds: float) -> None:
        self._app = app
        self._retry_max_seconds = retry_max_seconds

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages and wait until the broker has them; while it is away, wait longer."""
        unsent, attempt, backoff = list(messages), 0, Backoff(max_seconds=self._retry_max_seconds)
        while unsent:
            results = await asyncio.gather(*map(self._send, unsent), return_exceptions=True)
            failed = [(message, r) for message, r in zip(unsent, results, strict=True) if isinstance(r, BaseException)]
            if not failed:
                return
            attempt += 1
            error = next((r for _, r in failed if not _retriable(r)), failed[0][1])
            if not _retriable(error):
                raise error
            METRICS.sink_retries.inc()
            log.warning("publish.retry", attempt=attempt, unsent=len(failed), error=str(error))
            unsent = [message for message, _ in failed]
            await asyncio.sleep(backoff.pause(attempt, 1.0))

    async def _send(self, message: Message) -> None:
        topic, partition, key, value = message
        await (await self._app.producer.send(topic, key, value, partition, None, None))
        METRICS.messages_sent.labels(topic).inc()


def _retriable(error: BaseException) -> bool:
    """Whether sending again can help. Faust wraps what the client raised; running out of time means a broker away."""
    cause = error.__cause__ or error
    return isinstance(cause, KafkaTimeoutError) or bool(getattr(cause, "retriable", False))
