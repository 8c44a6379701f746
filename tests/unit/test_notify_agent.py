"""The NOTIFY agent: deliveries run beside it, and end before it does."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from streams.agents.notify import NotifyAgent
from streams.health import HealthState
from streams.metrics import METRICS
from streams.owner import FencedError
from streams.record_batch import TP
from streams.settings import WorkerSettings
from tests.agent_rig import App, Stream
from tests.alerts import T0, Mailbox, batch, verdict
from tests.notify_rig import Rig

ALERTS = TP("alerts", 0)


class AgentRig:
    def __init__(self, box: Mailbox) -> None:
        self.box, self.app, self.failures = box, App(), list[BaseException]()
        settings = WorkerSettings(checkpoint_seconds=0.01)
        self.agent = NotifyAgent(cast(Any, self.app), settings, HealthState(60, 0), self.failures.append)
        self.rig = Rig(box)
        self.agent.owner = self.rig.notify

    async def feed(self, *verdicts: Any) -> None:
        value = batch(*verdicts).model_dump_json(by_alias=True).encode()
        record = SimpleNamespace(offset=0, timestamp=T0, key=None, value=value)
        one = SimpleNamespace(
            topic="alerts", partition=0, records=[record], first_offset=0, last_offset=0, generation=1
        )
        await self.app.bodies["notify"](Stream(one))


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (a condition, with a deadline)
            await asyncio.sleep(0.005)


async def test_delivers_beside_its_checkpoints_until_it_stops() -> None:
    box = Mailbox()
    one = AgentRig(box)
    assert await one.agent.assign([ALERTS], 1) == {}
    ticking = asyncio.create_task(one.agent.keep_checkpointing())
    await one.feed(verdict(1))
    await eventually(lambda: box.sent)
    await one.agent.stop()
    assert one.rig.deliveries() == [("mailbox", "firing", "delivered", 1)]
    one.agent.show("0", one.rig.notify.partitions[0])
    assert METRICS.registry.get_sample_value("labelwatch_alerts", {"state": "firing", "severity": "warning"}) == 1
    one.agent.stop_showing("0")
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert box.is_closed
    assert one.failures == []


async def test_a_revoked_partition_is_left_with_the_end_of_what_was_tried() -> None:
    trying, answer = asyncio.Event(), asyncio.Event()

    class Slow(Mailbox):
        async def send(self, message: Any) -> Any:
            trying.set()
            await answer.wait()
            return await super().send(message)

    one = AgentRig(Slow())
    await one.agent.assign([ALERTS], 1)
    ticking = asyncio.create_task(one.agent.keep_checkpointing())
    await one.feed(verdict(1))
    async with asyncio.timeout(10):
        await trying.wait()
    revoking = asyncio.create_task(one.agent.revoke([ALERTS]))
    await asyncio.sleep(0)
    assert not revoking.done()
    answer.set()
    await revoking
    assert one.rig.deliveries() == [("mailbox", "firing", "delivered", 1)]
    assert one.rig.notify.partitions == {}
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)


async def test_one_that_was_taken_over_ends_the_worker() -> None:
    box = Mailbox()
    one = AgentRig(box)
    await one.agent.assign([ALERTS], 1)
    await one.feed(verdict(1))
    await one.rig.notify.checkpoint()
    await Rig(box, sink=one.rig.sink, worker="worker-2").start()
    async with asyncio.timeout(10):
        results = await asyncio.gather(one.agent.keep_checkpointing(), return_exceptions=True)
    problem = results[0]
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    assert isinstance(problem, FencedError) or isinstance(one.failures[0], FencedError)
    assert box.sent == []


async def test_runs_on_where_nobody_is_to_be_told() -> None:
    one = AgentRig(Mailbox())
    one.agent.owner = Rig().notify
    ticking = asyncio.create_task(one.agent.keep_checkpointing())
    done, _ = await asyncio.wait({ticking}, timeout=0.1)
    assert not done, "a task that ended would end the worker"
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
