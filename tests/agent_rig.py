"""Agents between a pretended Faust and their owners, for tests that look at one or at both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from faust.exceptions import ProducerSendError

from streams.agents.assignment import Agents
from streams.agents.labelers import LabelersAgent
from streams.agents.owner import OwnerAgent
from streams.agents.publisher import Publisher
from streams.agents.score import ScoreAgent
from streams.health import HealthState
from streams.labelers import Labelers
from streams.outbox import Message
from streams.owner import OwnerContext
from streams.record_batch import TP
from streams.score import Score
from streams.settings import WorkerSettings
from streams.sinks.sink import MemorySink
from tests.builders import owner_context


class Producer:
    """Takes messages; fails as it is told to, first the send, then its delivery."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.failures: list[tuple[str, BaseException] | None] = []

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None, *_rest: object
    ) -> asyncio.Future[None]:
        failure = self.failures.pop(0) if self.failures else None
        delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if failure is not None:
            where, error = failure
            if where == "send":
                raise ProducerSendError("Error while sending") from error
            delivery.set_exception(error)
        else:
            self.sent.append(Message(topic, partition, key, value))
            delivery.set_result(None)
        return delivery


class Consumer:
    def __init__(self) -> None:
        self.acknowledged: list[tuple[TP, int, int]] = []
        self.commits = 0
        self.lags: dict[tuple[TP, int], int | None] = {}

    def acknowledge(self, tp: TP, offset: int, generation: int) -> bool:
        self.acknowledged.append((tp, offset, generation))
        return True

    async def commit_now(self) -> None:
        self.commits += 1

    def lag(self, tp: TP, next_offset: int) -> int | None:
        return self.lags.get((tp, next_offset), 10 - next_offset)


class App:
    """As much of a Faust application as the agent touches."""

    def __init__(self) -> None:
        self.consumer = Consumer()
        self.producer = Producer()
        self.consumer_generation_id = 1
        self.transport = SimpleNamespace(position_provider=None, batch_max_records=None)
        self.on_revoked: Callable[..., Any]
        self.bodies: dict[str, Callable[[Any], Any]] = {}
        self.on_partitions_revoked = SimpleNamespace(connect=self._connect)

    def _connect(self, handler: Callable[..., Any], *, weak: bool) -> None:
        self.on_revoked = handler

    def topic(self, *names: str, **_options: object) -> Any:
        return SimpleNamespace(names=names)

    def agent(self, topic: Any, name: str) -> Callable[[Callable[[Any], Any]], None]:
        return lambda body: self.bodies.update({name: body})

    @property
    def body(self) -> Callable[[Any], Any]:
        return self.bodies["score"]


class Stream:
    """Batches as a Faust stream gives them; ``between`` runs before each."""

    def __init__(self, *batches: Any, between: Callable[[], None] | None = None) -> None:
        self.batches = batches
        self.between = between

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for one in self.batches:
            if self.between:
                self.between()
            yield SimpleNamespace(value=one)


class Rig:
    def __init__(self, **worker: Any) -> None:
        settings = WorkerSettings(**{"retry_max_seconds": 0.001, "checkpoint_seconds": 3_600} | worker)
        self.app, self.sink = App(), MemorySink()
        self.health = HealthState(60, 0)
        self.agents = Agents(cast(Any, self.app), self.health, settings.batch_max_records)
        publisher = Publisher(cast(Any, self.app), settings.retry_max_seconds)
        self.publish = publisher.publish
        self.agent = ScoreAgent(cast(Any, self.app), settings, self.health, self.agents.fail)
        self.labelers = LabelersAgent(cast(Any, self.app), settings, self.health, self.agents.fail)
        self.agent.owner = Score(self.context(self.agent, "labelwatch"))
        self.labelers.owner = Labelers(self.context(self.labelers, "labelwatch.labelers"))
        self.agents.add(self.agent)
        self.agents.add(self.labelers)

    def context(self, agent: OwnerAgent[Any], name: str) -> OwnerContext:
        return owner_context(self.sink, name, publish=self.publish, acknowledge=agent.acknowledge)

    async def assign(self, *partitions: int) -> Any:
        return await self.app.transport.position_provider(tps(*partitions))

    def report(self, now: float) -> None:
        self.agent.report(now)
        self.labelers.report(now)

    def failure(self) -> BaseException | None:
        return self.agents.failed.result() if self.agents.failed.done() else None


def tps(*partitions: int, topics: Sequence[str] = ("annotations", "reviews")) -> set[TP]:
    return {TP(topic, partition) for topic in topics for partition in partitions}
