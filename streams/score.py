"""SCORE without its framework: owner of partitions of the task-keyed topics, and listener to what others know.

The checkpoint, fencing and restoring are `streams.owner`; what happens to a message is `streams.pipeline`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, cast

from detectors.beliefs import Beliefs, Guideline
from detectors.consensus import LabelSpace
from detectors.evidence import Evidence
from detectors.forgetting import HalfLives
from schemas.rows import ClosedTaskRow, Row
from schemas.topics import LABELER_EVIDENCE
from streams.measured import Sender, measurement_messages
from streams.outbox import Message, evidence_messages
from streams.outcome import Outcome
from streams.owner import FencedError, Owned, Owner, OwnerContext
from streams.pipeline import PartitionPipeline
from streams.reliability_copy import Hear
from streams.state.partition_state import Changes, PartitionState

__all__ = ["FencedError", "Score"]

Tell = Callable[[Hear], Awaitable[None]]
"""Tells a listener everything that is known so far (`streams.reliability_copy.ReliabilityCopy.tell`)."""

#: Closed tasks that are asked for in one query.
_LOOK_UPS: Final = 500
#: A partition that has nothing to say says so this often: WATCH tells silence from not being told.
HEARTBEAT_MS: Final = 5_000


async def _nothing_known(hear: Hear) -> None: ...


class Score(Owner[PartitionPipeline]):
    """Owner of some source partitions.

    Args:
        context: what it works with.
        evidence_partitions: how many partitions the broker has for what it says about labelers.
        tell: tells partitions that are new here what other source partitions know of labelers.
        is_at_end: whether a partition's topics are read to their ends.
    """

    def __init__(
        self,
        context: OwnerContext,
        *,
        evidence_partitions: int = LABELER_EVIDENCE.partitions,
        tell: Tell = _nothing_known,
        is_at_end: Callable[[int], bool] = lambda partition: False,
    ) -> None:
        super().__init__(context, context.settings.worker.app_id, self._make_pipeline)
        self._evidence_partitions = evidence_partitions
        self._tell = tell
        self._is_at_end = is_at_end
        self._told_ms: dict[int, int] = {}
        """When a partition last had something to say to WATCH, by the wall clock."""
        self._looked_up: dict[int, tuple[list[int], list[ClosedTaskRow]]] = {}
        """Of partitions whose checkpoint begins: reviews whose tasks were looked for, and the tasks that were found."""

    async def assign(self, partitions: Iterable[int], generation: int) -> bool:
        """As `Owner.assign`; partitions that are new also hear what is known of labelers, before their first batch."""
        before = {partition: owned.pipeline for partition, owned in self.partitions.items()}
        is_owned = await super().assign(partitions, generation)
        new = [o.pipeline for p, o in self.partitions.items() if before.get(p) is not o.pipeline]
        if new:
            # They are owned by now, and hear at once what comes meanwhile: nothing falls in between.

            def hear(space: LabelSpace, labeler_id: str, parts: Mapping[int, Evidence]) -> None:
                for pipeline in new:
                    pipeline.hear(space, labeler_id, parts)

            await self._tell(hear)
        return is_owned

    def messages(self, partition: int, changes: Changes) -> Sequence[Message]:
        """Also the labelers of whom more is known now."""
        evidence = evidence_messages(self._name, partition, changes.evidence, self._evidence_partitions)
        return [*changes.messages, *evidence]

    async def look_up(self, partition: int, owned: Owned[PartitionPipeline]) -> None:
        """Find closed tasks that reviews are about."""
        wanted = owned.pipeline.wanted_tasks()
        tasks, found = sorted(set(wanted.values())), list[ClosedTaskRow]()
        for start in range(0, len(tasks), _LOOK_UPS):
            projects, ids = map(list, zip(*tasks[start : start + _LOOK_UPS], strict=True))
            rows = await self._sink.read(
                "closed_tasks", app_id=self._name, source_partition=partition, project_id=projects, task_id=ids
            )
            found.extend(cast(list[ClosedTaskRow], rows))
        asked = set(tasks)  # two projects may have tasks of one name
        self._looked_up[partition] = (list(wanted), [row for row in found if (row.project_id, row.task_id) in asked])

    def changes(self, partition: int, owned: Owned[PartitionPipeline]) -> tuple[Changes, Outcome]:
        """Reviews are applied right after the checkpoint that stores them; what they come to is for the next one."""
        measured = self._measurements(partition, owned) if owned.pending.measured else []
        journal = owned.pipeline.state.journal
        applied = journal.applied
        changes, following = owned.pipeline.begin_checkpoint(self._now_ms(), *self._looked_up.pop(partition))
        owned.has_more = journal.applied > applied or bool(owned.pipeline.wanted_tasks())
        changes.messages.extend(measured)
        return changes, following

    def resume(self, owned: Owned[PartitionPipeline]) -> None:
        """Apply the reviews that were stored to be applied next."""
        journal = owned.pipeline.state.journal
        applied = journal.applied
        owned.pending.take(owned.pipeline.apply_ready())
        owned.has_more = journal.applied > applied or bool(owned.pipeline.wanted_tasks())

    def hear(self, space: LabelSpace, labeler_id: str, parts: Mapping[int, Evidence]) -> None:
        """Pass on to every owned partition what the others know of a labeler."""
        for owned in self.partitions.values():
            owned.pipeline.hear(space, labeler_id, parts)

    async def note_idle(self, read_to_end: Iterable[int]) -> None:
        """Say of partitions that are read to their end and were silent since that they hold no window back.

        Only windows' completeness depends on it, which is a matter of the clock; results never do.
        """
        now_ms, idle_ms = self._now_ms(), self._settings.pipeline.idle_partition_seconds * 1_000
        rows: list[Row] = []
        for partition in read_to_end:
            owned = self.partitions.get(partition)  # it may have been revoked since it was looked at
            if owned is None or owned.is_idle or owned.read_to or now_ms - owned.heard_ms < idle_ms:
                continue
            owned.is_idle = True
            rows.extend(owned.pipeline.state.progress_rows(now_ms, is_idle=True))
        if rows:
            await self._write({"source_progress": rows})

    async def beat(self) -> None:
        """Send heartbeats for partitions that have had nothing to say for `HEARTBEAT_MS`.

        Not while anything of a partition is on its way: its watermark may be ahead of what was said then.
        """
        async with self._checkpointing:
            now_ms = self._now_ms()
            messages: list[Message] = []
            for partition, owned in self.partitions.items():
                is_quiet = not self.is_due(owned) and owned.pipeline.state.windows.watermark_ms > 0
                if is_quiet and now_ms - self._told_ms.get(partition, 0) >= HEARTBEAT_MS:
                    messages.extend(self._measurements(partition, owned))
            if messages:
                await self._publish(messages)

    def _measurements(self, partition: int, owned: Owned[PartitionPipeline]) -> list[Message]:
        """What a checkpoint of this moment, or a heartbeat, says to WATCH."""
        now_ms = self._told_ms[partition] = self._now_ms()
        is_at_end = self._is_at_end(partition)
        sender = Sender(
            self._name,
            partition,
            now_ms,
            is_at_end,
            is_at_end and now_ms - owned.heard_ms >= self._settings.pipeline.idle_partition_seconds * 1_000,
            owned.pipeline.state.windows.watermark_ms,
        )
        return measurement_messages(sender, owned.pending.measured)

    def _make_pipeline(self, partition: int) -> PartitionPipeline:
        settings = self._settings
        known = settings.reliability
        beliefs = Beliefs(
            HalfLives(annotations=known.half_life_annotations, days=known.half_life_days),
            known.max_classes,
            {name: Guideline(tuple(sorted(p.labels or ())), p.subjective) for name, p in settings.projects.items()},
        )
        state = PartitionState(settings.worker.app_id, partition, settings.pipeline, beliefs)
        return PartitionPipeline(state, settings.projects)
