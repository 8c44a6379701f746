"""SCORE and LABELERS in one worker: one assignment and one failure, and each its own partitions."""

from __future__ import annotations

import asyncio

import pytest

from streams.metrics import METRICS, metric_specs
from streams.record_batch import TP
from streams.sinks.sink import SinkError
from tests.agent_rig import Rig, Stream, tps
from tests.builders import annotation, batch, records
from tests.evidence import evidence_record

EVIDENCE = "labeler-evidence"


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def feed(rig: Rig, *, partition: int = 0, offset: int = 0) -> None:
    """Three messages to each agent."""
    offsets = range(offset, offset + 3)
    annotations = records([annotation(event_id=str(number)) for number in offsets], first_offset=offset)
    await rig.app.bodies["score"](Stream(batch(annotations, partition=partition)))
    evidence = [evidence_record(offset=number, version=number) for number in offsets]
    await rig.app.bodies["labelers"](Stream(batch(evidence, topic=EVIDENCE, partition=partition)))


class TestAssignment:
    async def test_each_owns_the_partitions_of_its_topics(self, rig: Rig) -> None:
        await rig.app.transport.position_provider(tps(0, 1) | tps(1, 2, topics=[EVIDENCE]))
        assert sorted(rig.agent.owner.partitions) == [0, 1]
        assert sorted(rig.labelers.owner.partitions) == [1, 2]
        names = {(row[0], row[1]) for row in rig.sink.rows("partition_claims")}
        assert names == {("labelwatch", 0), ("labelwatch", 1), ("labelwatch.labelers", 1), ("labelwatch.labelers", 2)}
        assert rig.health.check(0).assigned == 6

    async def test_each_goes_on_where_its_own_state_ends(self, rig: Rig) -> None:
        everything = tps(0) | tps(0, topics=[EVIDENCE])
        assert await rig.app.transport.position_provider(everything) == {}
        await feed(rig)
        await rig.app.on_revoked(rig.app, everything)
        assert rig.agent.owner.partitions == rig.labelers.owner.partitions == {}
        assert await rig.app.transport.position_provider(everything) == {TP("annotations", 0): 3, TP(EVIDENCE, 0): 3}
        acknowledged = {tp: offset for tp, offset, _ in rig.app.consumer.acknowledged}
        assert acknowledged == {TP("annotations", 0): 2, TP(EVIDENCE, 0): 2}

    async def test_a_revocation_takes_from_each_what_was_its_own(self, rig: Rig) -> None:
        await rig.app.transport.position_provider(tps(0, 1) | tps(0, 1, topics=[EVIDENCE]))
        await rig.app.on_revoked(rig.app, tps(0) | tps(1, topics=[EVIDENCE]))
        assert sorted(rig.agent.owner.partitions) == [1]
        assert sorted(rig.labelers.owner.partitions) == [0]

    @pytest.mark.parametrize("score_too", [True, False])
    async def test_what_is_revoked_between_the_agents_is_claimed_by_neither(self, rig: Rig, score_too: bool) -> None:
        """LABELERS would claim what another worker owns by now, and stop it."""
        told, go_on = asyncio.Event(), asyncio.Event()

        async def tell(_hear: object) -> None:
            told.set()
            await go_on.wait()

        rig.agent.owner._tell = tell
        everything = tps(0) | tps(0, topics=[EVIDENCE])
        assigning = asyncio.ensure_future(rig.app.transport.position_provider(everything))
        await told.wait()
        await rig.app.on_revoked(rig.app, everything if score_too else tps(0, topics=[EVIDENCE]))
        go_on.set()
        assert await assigning == {}
        assert {row[0] for row in rig.sink.rows("partition_claims")} == {"labelwatch"}
        assert rig.labelers.owner.partitions == {}
        assert bool(rig.agent.owner.partitions) is not score_too
        assert rig.failure() is None


class TestFailure:
    async def test_of_one_leaves_nothing_of_the_other_stored(self, rig: Rig) -> None:
        await rig.app.transport.position_provider(tps(0) | tps(0, topics=[EVIDENCE]))
        await feed(rig)
        rig.labelers.fail(SinkError("away"))
        await feed(rig, offset=3)
        await rig.app.on_revoked(rig.app, tps(0) | tps(0, topics=[EVIDENCE]))
        await rig.agents.stop()
        assert rig.sink.rows("state") == []
        assert rig.app.consumer.acknowledged == []
        assert rig.app.consumer.commits == 0

    async def test_stop_makes_both_durable_and_commits_once(self, rig: Rig) -> None:
        await rig.app.transport.position_provider(tps(0) | tps(0, topics=[EVIDENCE]))
        await feed(rig)
        await rig.agents.stop()
        assert {row[0] for row in rig.sink.rows("state")} == {"labelwatch", "labelwatch.labelers"}
        assert rig.app.consumer.commits == 1


class TestFiguresOfPartitions:
    """A figure that nobody updates any more looks like a partition that stands still."""

    @staticmethod
    def shown(partition: int) -> set[str]:
        return {
            sample.name
            for metric in METRICS.registry.collect()
            for sample in metric.samples
            if sample.labels.get("partition") == str(partition)
        }

    async def test_they_go_with_the_partition(self, rig: Rig) -> None:
        await rig.app.transport.position_provider(tps(70, 71) | tps(70, 71, topics=[EVIDENCE]))
        for partition in (70, 71):
            await feed(rig, partition=partition)
        await rig.agent.owner.checkpoint()
        await rig.labelers.owner.checkpoint()
        rig.report(0)
        declared = {spec.name for _, spec in metric_specs() if "partition" in spec.labels}
        assert self.shown(70) == self.shown(71) == declared
        await rig.app.on_revoked(rig.app, tps(70) | tps(70, topics=[EVIDENCE]))
        rig.report(1)
        assert self.shown(70) == set()
        assert self.shown(71) == declared, "only what was revoked"
        await rig.app.on_revoked(rig.app, tps(71) | tps(71, topics=[EVIDENCE]) | {TP("reviews", 99)})
        assert self.shown(71) == set()
