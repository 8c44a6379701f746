"""The consumer of the batch transport: Faust's aiokafka consumer, fetching batches instead of messages.

Faust keeps the assignment, rebalancing, flow control, back-pressure and the commit loop. This subclass changes
what travels (one Faust message per record batch), who acknowledges (the application, as a range) and where
a partition resumes (the application's stored position). `docs/adr/0003-batch-transport.md` says why.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.record_batch import Acknowledgements, PositionError, RecordBatch, batches_of

log = structlog.get_logger()

#: How long a fetch waits while some partition is held back by a full buffer. A fetch under way does not see
#: that the buffer has drained, so this bounds how long a drained partition stays idle.
PRESSURE_POLL_SECONDS = 0.01


class FetchedRecords(dict[TP, list[Any]]):
    """Records of one fetch, with each partition's count of seeks at the moment they were taken out."""

    seeks: dict[TP, int]


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust's types are not followed
    """The thread that owns the aiokafka client. Methods with a leading underscore run in that thread."""

    def __post_init__(self) -> None:
        super().__post_init__()
        #: Seeks and assignments per partition. Records taken out before one must not be delivered after it.
        self.seeks: defaultdict[TP, int] = defaultdict(int)
        #: Per partition, one past the last record that was taken out of the client since it was last moved.
        self.taken: dict[TP, int] = {}
        #: Revocations and assignments so far; whether the last was an assignment.
        self.rebalances = 0
        self.is_assigned = False

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust takes aiokafka's round robin where the application has no tables. Its own assignor is the one that
        # keeps equal partition numbers of equally partitioned topics on one worker, which owns their state.
        consumer._partition_assignment_strategy = [self.app.assignor]
        # What a producer took back is no input. Without transactions this costs nothing.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> FetchedRecords:
        records = FetchedRecords(await super()._fetch_records(*args, **kwargs))
        # No await since the records were taken out: the counts are those of that moment.
        records.seeks = {tp: self.seeks[tp] for tp in records}
        self.taken.update({TP(*tp): part[-1].offset + 1 for tp, part in records.items()})
        return records

    def lag(self, tp: TP, next_offset: int) -> int | None:
        """See `Consumer.lag`."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(TopicPartition(*tp)) if assignment is not None else None
        if state is None or state.highwater is None:
            return None  # lost, or nothing fetched yet
        # What lies beyond the last stable offset can be read by nobody yet; -1 is a broker that does not say.
        end: int = state.highwater if state.lso in (None, -1) else min(state.highwater, state.lso)
        is_all_taken = state.has_valid_position and state.position >= end
        if is_all_taken and next_offset >= self.taken.get(tp, 0):
            return 0
        return max(0, end - next_offset)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Note it before Faust's part of it: until it has joined again, the client still calls these assigned."""
        self.rebalances += 1
        self.is_assigned = False
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note it before Faust's part of it; what was taken out before is not of this assignment."""
        self.rebalances += 1
        self.is_assigned = True
        for tp in assigned:
            self.seeks[TP(*tp)] += 1
        await super().on_partitions_assigned(assigned, generation_id)

    async def give_back(self, records: FetchedRecords) -> None:
        """Read again what was taken out and not delivered, unless its partition was moved or lost since."""
        await self.call_thread(self._give_back, records)

    def _give_back(self, records: FetchedRecords) -> None:
        assigned = self._ensure_consumer().assignment()
        self._seek_all(
            {
                tp: part[0].offset
                for tp, part in records.items()
                if tp in assigned and part and self.seeks[tp] == records.seeks[tp]
            }
        )

    async def seek_one(self, tp: TP, offset: int) -> None:
        """Move one partition to ``offset``, in the thread that owns the client."""
        await self.call_thread(self._seek_all, {tp: offset})

    async def resume(
        self, stored: Mapping[TP, int], batch_topics: Iterable[str], rebalances: int
    ) -> Mapping[TP, tuple[int | None, int | None]]:
        """Move every assigned partition to where it resumes; per partition (position, committed offset).

        A batch topic's partition resumes at its stored position, else at the committed one, else at its first or
        last offset as ``consumer_auto_offset_reset`` says. Others resume as in Faust.

        Raises IllegalStateError where it is not the assignment of ``rebalances`` any more.
        """
        positions: Mapping[TP, tuple[int | None, int | None]] = await self.call_thread(
            self._resume, dict(stored), frozenset(batch_topics), rebalances
        )
        return positions

    async def _resume(
        self, stored: dict[TP, int], batch_topics: frozenset[str], rebalances: int
    ) -> dict[TP, tuple[int | None, int | None]]:
        self.require_assignment(rebalances)
        consumer = self._ensure_consumer()
        tps = [TP(*tp) for tp in consumer.assignment()]
        found = await asyncio.gather(*(consumer.committed(TopicPartition(*tp)) for tp in tps))
        committed: dict[TP, int | None] = dict(zip(tps, found, strict=True))
        positions = {tp: stored.get(tp, committed[tp]) for tp in tps}
        unknown = [TopicPartition(*tp) for tp in tps if tp.topic in batch_topics and positions[tp] is None]
        if unknown:
            # Seek to the policy's offset instead of leaving it to aiokafka: a repeated seek must also undo reading.
            latest = self.app.conf.consumer_auto_offset_reset == "latest"
            reset = await (consumer.end_offsets if latest else consumer.beginning_offsets)(unknown)
            positions.update({TP(*tp): offset for tp, offset in reset.items()})
        self.require_assignment(rebalances)
        self._seek_all({tp: at for tp, at in positions.items() if at or (at == 0 and tp.topic in batch_topics)})
        return {tp: (positions[tp], committed[tp]) for tp in tps}

    def require_assignment(self, rebalances: int) -> None:
        """Raise IllegalStateError unless this is still the assignment of ``rebalances``."""
        if not self.is_assigned or self.rebalances != rebalances:
            # Faust's recovery takes this error for another rebalance, and begins again once that is done.
            raise IllegalStateError("the partitions were revoked; their positions are looked up again once assigned")

    def _seek_all(self, positions: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            consumer.seek(TopicPartition(*tp), offset)
            self.seeks[TP(*tp)] += 1
            self.taken.pop(TP(*tp), None)


class Consumer(driver.Consumer):  # type: ignore[misc]  # Faust's types are not followed
    """Delivers batch topics as `RecordBatch` and commits only what `acknowledge` was told."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.acknowledgements = Acknowledgements()
        self._partition_drained = asyncio.Event()
        #: Stored positions not yet seen to lie within their partitions.
        self._unchecked: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _is_batch(self, topic: str) -> bool:
        return topic in self.transport.batch_topics

    # --- acknowledging and committing -------------------------------------------------------------------------

    def acknowledge(self, tp: tuple[str, int], last_offset: int, generation: int | None = None) -> bool:
        """Vouch for every record of ``tp`` up to and including ``last_offset``; Faust's committer commits it.

        Returns False, and counts it in ``acknowledgements.ignored``, where the partition was revoked, where the
        batch is of another ``generation``, or where that offset was never delivered.
        """
        accepted = self.acknowledgements.acknowledge(tp, last_offset, generation)
        if not accepted:
            log.warning(
                "transport.acknowledgement_ignored",
                topic=tp[0], partition=tp[1], offset=last_offset, generation=generation,
            )  # fmt: skip
        return accepted

    async def commit_now(self) -> bool:
        """Commit what is acknowledged at this moment; whether the broker has all of it.

        Faust's ``commit`` does nothing when another commit is under way, which may have begun before the latest
        acknowledgement: then it takes a second one.
        """
        for _ in range(2):
            if not self.acknowledgements.pending():
                break
            await self.commit()
        return not self.acknowledgements.pending()

    def ack(self, message: Any) -> bool:
        """Faust's acknowledgement by streams; without effect on batch topics."""
        if self._is_batch(message.topic):
            message.acked = True
            return False
        return bool(super().ack(message))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = bool(await super()._commit(offsets))
        if committed:  # Faust itself notes offsets as committed even where the broker refused them
            self.acknowledgements.commit(offsets)
        return committed

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for topic, partition in self.acknowledgements.pending():
            tp = TP(topic, partition)
            if topics is None or tp in topics or topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if self._is_batch(tp.topic):
            return self.acknowledgements.committable(tp)
        offset: int | None = super()._new_offset(tp)
        return offset

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # `committable` is None unless it is ahead of what the broker has.
        return self._is_batch(tp.topic) or bool(super()._should_commit(tp, offset))

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batch(tp.topic):  # a batch's message carries its last offset: gaps are no news
            await super()._add_gap(tp, offset_from, offset_to)

    def lag(self, tp: tuple[str, int], next_offset: int) -> int | None:
        """Messages of ``tp`` from ``next_offset`` on; None while that is unknown.

        0 where the client stands at the end and all it took out is before ``next_offset``: what lies between is
        markers of transactions, or messages that expired before they were read, and will never be delivered.
        """
        return self._thread.lag(TP(*tp), next_offset)

    # --- rebalancing and positions ----------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust stop the flow and tell the application, then commit what it acknowledged, then let go."""
        # Faust leaves these behind; a late "buffer drained" would make a lost partition active again.
        self._buffered_partitions.difference_update(revoked)
        await super().on_partitions_revoked(revoked)
        if self.acknowledgements.pending() and not self.app.should_stop:
            try:
                await asyncio.wait_for(self.commit_now(), timeout=self.app.conf.broker_session_timeout)
            except TimeoutError:
                log.warning("transport.commit_on_revoke_timed_out", revoked=sorted(revoked))
        self.acknowledgements.revoke(revoked)
        for tp in revoked:
            self._unchecked.pop(tp, None)

    async def perform_seek(self) -> None:
        """Move the assigned partitions to where they resume. Faust calls this before it lets records flow.

        The position provider runs for the present assignment or not at all: it claims what it is asked for.

        Raises:
            PositionError: the position provider did not answer in time.
            IllegalStateError: the partitions were revoked before or meanwhile.
        """
        rebalances = self._thread.rebalances
        self._thread.require_assignment(rebalances)
        batch_topics = self.transport.batch_topics
        owned = {tp for tp in self.assignment() if tp.topic in batch_topics}
        generation = self.app.consumer_generation_id
        stored = await self._stored_positions(owned)
        resumed = await self._thread.resume(stored, batch_topics, rebalances)
        self._thread.require_assignment(rebalances)
        self._unchecked = dict(stored)
        for tp, (position, committed) in resumed.items():
            self._read_offset[tp] = position
            if tp in owned and position is not None:
                self.acknowledgements.assign(tp, position=position, committed=committed, generation=generation)
            elif committed is not None:
                self._committed_offset[tp] = committed or None

    async def _stored_positions(self, owned: set[TP]) -> Mapping[TP, int]:
        provider = self.transport.position_provider
        if provider is None or not owned:
            return {}
        # Faust gives this step `broker_request_timeout`, and on timeout stops recovering without a word.
        timeout = self.app.conf.broker_request_timeout * 0.8
        try:
            positions = await asyncio.wait_for(provider(owned), timeout=timeout)
        except TimeoutError as error:
            raise PositionError(f"no stored positions of {sorted(owned)} within {timeout:.0f} s") from error
        return {TP(*tp): offset for tp, offset in positions.items() if tp in owned}

    def _check_positions(self) -> None:
        # The end of a partition is taken from fetch responses: Tansu's answer to ListOffsets is the base offset of
        # its last batch. Kafka resets a position beyond the end to the first offset; Tansu waits there for ever.
        for tp, position in list(self._unchecked.items()):
            end = self.highwater(tp)
            if end is None:
                continue  # nothing fetched yet
            if position > end:
                raise PositionError(
                    f"stored position {position} of {tp.topic}[{tp.partition}] is beyond its end, {end}: "
                    "was the topic made anew, or is this another cluster's state? "
                    "Start over as docs/runbooks/start-over.md says"
                )
            del self._unchecked[tp]
            # Everything before a stored position is done: a crash may have come between storing and committing.
            self.acknowledgements.acknowledge(tp, position - 1)

    async def seek(self, partition: TP, offset: int) -> None:
        """Move an owned partition to ``offset``; what was delivered from there on may no longer be acknowledged."""
        await super().seek(partition, offset)
        self.acknowledgements.rewind(partition, offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        await self._thread.seek_one(TP(*partition), offset)

    # --- fetching ---------------------------------------------------------------------------------------------

    def on_buffer_drop(self, tp: TP) -> None:
        """Fetch ``tp`` again: the stream has drained its buffer."""
        super().on_buffer_drop(tp)
        self._partition_drained.set()

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        if self.flow_active and not self.app.client_only and not self._get_active_partitions():
            # Faust sleeps a second here, in which a quick agent empties its buffer and idles.
            self._partition_drained.clear()
            await self.wait(self._partition_drained, timeout=1.0)
        result: tuple[Any, Any] = await super()._wait_next_records(timeout)
        return result

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        # A copy: the set changes while the consumer's thread reads it, and an empty one would mean "all".
        return await self._thread.getmany(active_partitions and set(active_partitions), timeout)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetch once; one message per record batch of batch topics, one per record of others.

        Raises PositionError where a stored position does not exist in its partition.
        """
        records, _ = await self._wait_next_records(PRESSURE_POLL_SECONDS if self._buffered_partitions else timeout)
        if self._unchecked and self.flow_active:
            self._check_positions()
        if not records or self.should_stop:
            return
        if not self.flow_active:
            # The client's position is beyond what nobody will see. Not Faust's seek: that asks the position provider,
            # which may be at work for Faust's recovery at this moment, or speak for partitions just revoked.
            await self._thread.give_back(records)
            return
        # Only now: a fetch can begin before a rebalance and return what was taken out after it. What was taken out
        # before is told by the count of seeks; dropping anything else would lose it, as the client has moved on.
        generation = self.app.consumer_generation_id
        for tp, item in self.scheduler.iterate(self._in_batches(records, generation)):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if self._thread.seeks[tp] != records.seeks[tp]:
                continue  # the partition was moved since
            is_batch = isinstance(item, RecordBatch)
            if (
                self.app.client_only
                or tp in self._active_partitions
                or tp in self._buffered_partitions
            ):  # fmt: skip
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                if is_batch:
                    self.acknowledgements.deliver(tp, item.first_offset, item.last_offset)
                yield tp, self._to_message(tp, item)
            elif is_batch and tp in self.acknowledgements.owned():
                await self.seek(tp, item.first_offset)  # paused since: read it again on resuming

    def _in_batches(self, records: Mapping[TP, list[Any]], generation: int) -> dict[TP, Iterable[Any]]:
        size = self.transport.batch_max_records
        return {
            (at := TP(*tp)): batches_of(at.topic, at.partition, part, generation, size)
            if self._is_batch(at.topic)
            else part
            for tp, part in records.items()
        }

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, RecordBatch):
            return super()._to_message(tp, record)
        last = record.records[-1]
        return ConsumerMessage(
            record.topic, record.partition, record.last_offset, last.timestamp / 1000.0, last.timestamp_type,
            None, None, record, None, tp=tp, generation_id=record.generation,
        )  # fmt: skip
