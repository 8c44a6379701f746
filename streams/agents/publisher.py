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
        """Send messages and wait until the broker has them; while it is away, wait longer.

        Those for one given partition arrive in order, one after another: who reads them goes by their numbers, and
        would pass over what comes after a greater one.
        """
        chains: dict[tuple[str, int], list[Message]] = {}
        for number, message in enumerate(messages):
            alone = -1 - number
            chains.setdefault((message.topic, alone if message.partition is None else message.partition), []).append(
                message
            )
        unsent, attempt, backoff = list(chains.values()), 0, Backoff(max_seconds=self._retry_max_seconds)
        while unsent:
            results = await asyncio.gather(*map(self._send_in_order, unsent), return_exceptions=True)
            errors = [result for result in results if isinstance(result, BaseException)]
            if not errors:
                return
            attempt += 1
            error = next((error for error in errors if not _retriable(error)), errors[0])
            if not _retriable(error):
                raise error
            METRICS.sink_retries.inc()
            unsent = [chain for chain in unsent if chain]
            log.warning("publish.retry", attempt=attempt, unsent=sum(map(len, unsent)), error=str(error))
            await asyncio.sleep(backoff.pause(attempt, 1.0))

    async def _send_in_order(self, chain: list[Message]) -> None:
        """Send one after another, and take out what the broker has."""
        while chain:
            await self._send(chain[0])
            del chain[0]

    async def _send(self, message: Message) -> None:
        topic, partition, key, value = message
        await (await self._app.producer.send(topic, key, value, partition, None, None))
        METRICS.messages_sent.labels(topic).inc()


def _retriable(error: BaseException) -> bool:
    """Whether sending again can help. Faust wraps what the client raised; running out of time means a broker away."""
    cause = error.__cause__ or error
    return isinstance(cause, KafkaTimeoutError) or bool(getattr(cause, "retriable", False))
