"""Who owns a source partition: a claim with a growing epoch, looked up before every write of state.

Kafka tells a worker late that it lost a partition (a worker that was suspended hears nothing at all). The claim in
the store is what keeps such a worker from writing: it finds a higher epoch than its own and stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from schemas.rows import PartitionClaimRow
from streams.sinks.sink import Sink


class Claims:
    """Claims of one worker under one application id."""

    def __init__(self, sink: Sink, app_id: str, worker_id: str) -> None:
        self._sink = sink
        self._app_id = app_id
        self._worker_id = worker_id
        self._epochs: dict[int, int] = {}

    async def take(self, partition: int, now_ms: int, *, is_wanted: Callable[[], bool] = lambda: True) -> int | None:
        """Claim a partition; every earlier owner is stale from here on.

        Returns the epoch, or None if ``is_wanted`` says no after the last claim was looked up, for which ClickHouse
        may have kept this worker waiting: claiming a partition that was given away would stop its owner.
        """
        holder = (await self._holders()).get(partition)
        if not is_wanted():
            return None
        epoch = 1 if holder is None else holder.epoch + 1
        claim = PartitionClaimRow(self._app_id, partition, epoch, self._worker_id, now_ms)
        await self._sink.write({"partition_claims": [claim]})
        self._epochs[partition] = epoch
        return epoch

    def release(self, partition: int) -> None:
        """Stop claiming a partition. The next owner claims it with a higher epoch; nothing is written here."""
        self._epochs.pop(partition, None)

    async def stale(self) -> set[int]:
        """Partitions claimed here that another worker has claimed since."""
        holders = await self._holders()
        return {
            partition
            for partition, epoch in self._epochs.items()
            if (holder := holders.get(partition)) is None
            or (holder.epoch, holder.worker_id) != (epoch, self._worker_id)
        }

    async def _holders(self) -> dict[int, PartitionClaimRow]:
        rows = cast(list[PartitionClaimRow], await self._sink.read("partition_claims", app_id=self._app_id))
        return {row.source_partition: row for row in rows}
