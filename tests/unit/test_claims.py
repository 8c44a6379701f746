"""Claims: the highest epoch owns a partition."""

from __future__ import annotations

from schemas.rows import PartitionClaimRow
from streams.sinks.sink import MemorySink
from streams.state.claims import Claims


def two(sink: MemorySink, app_id: str = "app") -> tuple[Claims, Claims]:
    return Claims(sink, app_id, "worker-1"), Claims(sink, app_id, "worker-2")


async def test_epochs_grow() -> None:
    sink = MemorySink()
    first, second = two(sink)
    taken = [(first, 0, 5), (second, 0, 6), (first, 0, 7), (first, 1, 8)]
    assert [await claims.take(partition, now_ms) for claims, partition, now_ms in taken] == [1, 2, 3, 1]
    assert sink.rows("partition_claims") == [
        PartitionClaimRow("app", 0, 3, "worker-1", 7),
        PartitionClaimRow("app", 1, 1, "worker-1", 8),
    ]


async def test_an_overtaken_claim_is_stale() -> None:
    first, second = two(MemorySink())
    for partition in (0, 1):
        await first.take(partition, 0)
    assert await first.stale() == set()
    await second.take(1, 0)
    assert await first.stale() == {1}
    assert await second.stale() == set()


async def test_of_a_tie_exactly_one_owns() -> None:
    """Both looked before either wrote."""
    sink = MemorySink()
    first, second = two(sink)
    await first.take(0, 0)
    await sink.write({"partition_claims": [PartitionClaimRow("app", 0, 1, "worker-2", 0)]})
    second._epochs[0] = 1
    assert (await first.stale(), await second.stale()) == ({0}, set())


async def test_a_claim_that_is_gone_is_stale() -> None:
    sink = MemorySink()
    first, _ = two(sink)
    await first.take(0, 0)
    sink._rows["partition_claims"].clear()
    assert await first.stale() == {0}


async def test_released_partitions_are_nobodys_business() -> None:
    first, second = two(MemorySink())
    await first.take(0, 0)
    first.release(0)
    first.release(0)
    await second.take(0, 0)
    assert await first.stale() == set()


async def test_applications_are_apart() -> None:
    sink = MemorySink()
    first, _ = two(sink)
    other, _ = two(sink, "other")
    await first.take(0, 0)
    assert await other.take(0, 0) == 1
    assert await first.stale() == set()
