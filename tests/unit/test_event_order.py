"""The order in which source partitions are heard: that of events, as far as nobody has to be waited for in vain."""

from __future__ import annotations

import pytest

from detectors.watch import order as module
from detectors.watch.order import SILENT_MS, EventOrder
from schemas.measurements import Measurements
from tests.measured import answer, batch


def says(source: int, *minutes: float, first: int = 0, at_end: bool = False, sent_ms: int = 0) -> Measurements:
    """A source's answers at these minutes."""
    answers = [answer(first + number, minute=minute) for number, minute in enumerate(minutes)]
    return batch(answers, source_partition=source, is_at_end=at_end, sent_ms=sent_ms)


def heard(order: EventOrder, *batches: Measurements) -> list[list[tuple[int, int]]]:
    """Source and number of the items that go on with each batch."""
    told = []
    for one in batches:
        order.put(one)
        found = [(e.batch.source_partition, e.item.sequence) for e in order.take() if e.item is not None]
        told.append(found)
    return told


def test_who_is_ahead_waits_for_who_is_behind() -> None:
    told = heard(EventOrder(), says(1, 1), says(0, 60, 61), says(1, 59, 60.5, first=1), says(1, 99, first=3))
    assert told == [[(1, 0)], [], [(1, 1), (0, 0), (1, 2)], [(0, 1)]]


def test_at_their_ends_nobody_waits() -> None:
    assert heard(EventOrder(), says(1, 1, at_end=True), says(0, 60, at_end=True)) == [[(1, 0)], [(0, 0)]]


def test_a_source_keeps_its_own_order() -> None:
    assert heard(EventOrder(), says(0, 9, 5, 7)) == [[(0, 0), (0, 1), (0, 2)]]


def test_who_is_not_heard_of_is_not_waited_for() -> None:
    order = EventOrder()
    assert heard(order, says(1, 1), says(0, 60, sent_ms=SILENT_MS)) == [[(1, 0)], []]
    assert heard(order, says(0, 61, first=1, sent_ms=SILENT_MS + 1)) == [[(0, 0), (0, 1)]]


def test_no_more_waits_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 3)
    told = heard(EventOrder(), says(1, 1), says(0, 60, 61), says(0, 62, 63, first=2))
    assert told == [[(1, 0)], [], [(0, 0), (0, 1)]]


def test_what_waits_is_read_again_after_a_restart() -> None:
    batches = [says(1, 1), says(0, 60, 61), says(1, 60.5, first=1), says(0, 70, first=2), says(1, 90, first=2)]
    expected = heard(EventOrder(), *batches)
    order = EventOrder()
    told = heard(order, *batches[:4])
    assert order.oldest == 1
    state, order = order.dump(), EventOrder()
    order.load(state)
    for number in range(1, 4):
        order.put(batches[number], number)
        assert list(order.take()) == []
    assert [*told, *heard(order, batches[4])] == expected
