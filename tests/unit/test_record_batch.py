"""Record batches and acknowledged offsets: plain data, tested alone."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from faust.types import TP as FaustTP
from hypothesis import given
from hypothesis import strategies as st

from streams.record_batch import Acknowledgements, PositionError, RecordBatch, batches_of
from tests.unit.transport.fakes import A, Record

# --- record batches ---------------------------------------------------------------------------------------------


def test_partitions_compare_equal_to_fausts_and_aiokafkas() -> None:
    batch = RecordBatch("t", 3, [], 0, 0, 1)
    assert {batch.tp: 1}[FaustTP("t", 3)] == {batch.tp: 1}[TopicPartition("t", 3)] == 1


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True), st.integers(1, 20))
def test_batches_hold_every_record_once_and_in_order(numbers: list[int], size: int) -> None:
    records = [Record(offset) for offset in sorted(numbers)]
    batches = list(batches_of("t", 0, records, 7, size))
    assert [record for batch in batches for record in batch.records] == records
    assert all(1 <= len(batch) <= size for batch in batches)
    assert all((b.first_offset, b.last_offset) == (b.records[0].offset, b.records[-1].offset) for b in batches)
    assert {batch.generation for batch in batches} == {7}


def test_no_records_make_no_batch() -> None:
    assert list(batches_of("t", 0, [], 1, 10)) == []


# --- acknowledgements -------------------------------------------------------------------------------------------


def owned(position: int = 0, committed: int | None = None, upto: int | None = 99) -> Acknowledgements:
    acks = Acknowledgements()
    acks.assign(A, position=position, committed=committed, generation=5)
    if upto is not None:
        acks.deliver(A, position, upto)
    return acks


def test_nothing_is_committable_before_an_acknowledgement() -> None:
    assert owned().committable(A) is None
    assert owned().pending() == []


def test_committed_is_one_past_the_last_acknowledged() -> None:
    acks = owned()
    assert acks.acknowledge(A, 0)
    assert acks.committable(A) == 1
    acks.commit({A: 1})
    assert acks.committable(A) is None
    assert acks.acknowledge(A, 41, generation=5)
    assert acks.committable(A) == 42


def test_an_older_acknowledgement_is_accepted_and_moves_nothing() -> None:
    acks = owned()
    acks.acknowledge(A, 50)
    assert acks.acknowledge(A, 20)
    assert acks.committable(A) == 51
    assert acks.ignored == 0


@pytest.mark.parametrize(
    ("tp", "offset", "generation"),
    [(FaustTP("batches", 1), 3, None), (A, 3, 4), (A, 100, None), (A, 100, 5)],
    ids=["not owned", "another generation", "never delivered", "never delivered in this generation"],
)
def test_refused_acknowledgements_are_counted(tp: FaustTP, offset: int, generation: int | None) -> None:
    acks = owned()
    assert not acks.acknowledge(tp, offset, generation)
    assert acks.ignored == 1
    assert acks.pending() == []


def test_a_revoked_partition_is_forgotten() -> None:
    acks = owned()
    acks.acknowledge(A, 10)
    acks.revoke({A})
    assert acks.pending() == []
    assert not acks.acknowledge(A, 10)
    acks.deliver(A, 0, 5)
    acks.commit({A: 3})
    assert acks.committable(A) is None


def test_what_the_group_has_committed_never_goes_back() -> None:
    acks = owned(position=120, committed=200, upto=300)
    acks.acknowledge(A, 150)
    assert acks.committable(A) is None
    acks.acknowledge(A, 200)
    assert acks.committable(A) == 201


def test_a_position_ahead_of_the_group_can_be_vouched_for() -> None:
    acks = owned(position=260, committed=200, upto=None)
    assert acks.acknowledge(A, 259)
    assert acks.committable(A) == 260


def test_records_before_what_was_delivered_mean_that_the_log_was_reset() -> None:
    acks = owned(upto=49)
    with pytest.raises(PositionError, match="read up to offset 50 and now goes on at 0"):
        acks.deliver(A, 0, 10)


def test_after_a_rewind_the_records_come_again_and_later_ones_are_unknown() -> None:
    acks = owned(upto=49)
    acks.rewind(A, 20)
    assert not acks.acknowledge(A, 49)
    acks.deliver(A, 20, 49)
    assert acks.acknowledge(A, 49)


@given(st.lists(st.tuples(st.sampled_from(["deliver", "acknowledge", "commit"]), st.integers(0, 60)), max_size=60))
def test_the_committed_offset_only_grows_and_stays_within_what_was_acknowledged(steps: list[tuple[str, int]]) -> None:
    acks, delivered, acknowledged, committed = owned(upto=None), 0, 0, 0
    for step, number in steps:
        if step == "deliver":
            acks.deliver(A, delivered, delivered + number)
            delivered += number + 1
        elif step == "acknowledge":
            assert acks.acknowledge(A, number) == (number < delivered)
            acknowledged = max(acknowledged, number + 1) if number < delivered else acknowledged
        elif (offset := acks.committable(A)) is not None:
            assert committed < offset == acknowledged
            committed = offset
            acks.commit({A: offset})
    assert acks.committable(A) == (acknowledged if acknowledged > committed else None)
