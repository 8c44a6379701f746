"""Forecasts do not depend on restarts, on replay, or on the order in which others are heard."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from detectors.expected_time import ExpectedTimes, Work
from detectors.labeler_speed import SpeedEvidence, SpeedKey
from tests.expected_times import dumped, restored

WORKS = st.lists(
    st.builds(
        Work,
        labeler_id=st.sampled_from(["ann", "bob", "cy"]),
        project_id=st.sampled_from(["p", "q"]),
        task_type=st.sampled_from(["caption", "class"]),
        vendor_id=st.sampled_from(["v", "w"]),
        task_id=st.sampled_from(["t1", "t2", "t3", "t4"]),
        started_ms=st.integers(0, 40).map(lambda n: n * 500_000),
        submitted_ms=st.integers(40, 90).map(lambda n: n * 500_000),
        seconds=st.one_of(st.none(), st.floats(0.001, 1e6), st.sampled_from([5.0, 6.0])),
        is_page_time=st.booleans(),
        labeler_kind=st.sampled_from(["human", "model"]),
        features=st.dictionaries(st.sampled_from(["length", "kind"]), st.one_of(st.integers(), st.text(max_size=5))),
    ),
    min_size=1,
    max_size=60,
)
EVIDENCE = st.builds(
    SpeedEvidence, st.floats(0.0, 50.0), st.floats(0.0, 8.0), st.floats(-4.0, 1.0), st.integers(0, 10**12)
)


@given(works=WORKS, data=st.data())
def test_a_model_restored_at_any_point_goes_on_bit_for_bit(works: list[Work], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(works)))
    uninterrupted, before = ExpectedTimes(), ExpectedTimes()
    expected = [uninterrupted.observe(work) for work in works]
    found = [before.observe(work) for work in works[:at]]
    after = restored(dumped(before))
    found += [after.observe(work) for work in works[at:]]
    assert found == expected
    assert dumped(after) == dumped(uninterrupted)


@given(works=WORKS)
def test_the_same_events_give_the_same_forecasts(works: list[Work]) -> None:
    one, other = ExpectedTimes(), ExpectedTimes()
    assert [one.observe(work) for work in works] == [other.observe(work) for work in works]


@given(works=WORKS, heard=st.lists(EVIDENCE, min_size=2, max_size=3))
def test_others_may_be_heard_in_any_order_and_again(works: list[Work], heard: list[SpeedEvidence]) -> None:
    key = SpeedKey("ann", "p", "caption")
    results = []
    for order in permutations(enumerate(heard)):
        model = ExpectedTimes()
        for partition, evidence in (*order, order[0]):
            model.hear(key, partition, evidence)
        results.append([model.observe(work) for work in works])
    assert all(result == results[0] for result in results)
