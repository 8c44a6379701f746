"""A task as a unit of agreement."""

from __future__ import annotations

from detectors.agreement import unit_contribution
from detectors.consensus import MAX_VOTES, Answer
from detectors.units import Unit, units
from tests.builders import answered


def test_each_vendor_is_a_unit_of_its_own() -> None:
    task = answered(("ana", "cat", 5_000), ("bob", "dog", 3_000))
    task.stand("cy", Answer("cat", 1_000, "bolt"))
    task.stand("dee", Answer("cat", 9_000, "bolt"))
    assert units(task, numeric=False) == [
        Unit("acme", 3_000, unit_contribution({"cat": 1, "dog": 1})),
        Unit("bolt", 1_000, unit_contribution({"cat": 2})),
    ]


def test_one_answer_agrees_with_nobody() -> None:
    assert units(answered(("ana", "cat")), numeric=False) == []
    assert units(answered(("ana", "cat"), ("bob", None)), numeric=False) == [], "nor with free text"
    assert units(answered(), numeric=False) == []


def test_home_is_the_earliest_standing_answer_whatever_came_first() -> None:
    for answers in ([("ana", "a", 2), ("bob", "a", 7)], [("bob", "a", 7), ("ana", "a", 2)]):
        (unit,) = units(answered(*answers), numeric=False)
        assert unit.home_ms == 2
    task = answered(("ana", "a", 2), ("bob", "a", 7), ("ana", "b", 9))
    (unit,) = units(task, numeric=False)
    assert unit.home_ms == 7, "her first answer stands no more"


def test_ratings_have_moments() -> None:
    (unit,) = units(answered(("ana", "3"), ("bob", "5")), numeric=True)
    assert (unit.contribution.sum, unit.contribution.sum_squares) == (8.0, 34.0)


def test_only_the_votes_count() -> None:
    task = answered(*[(f"l-{i}", "cat", i) for i in range(MAX_VOTES + 5)])
    (unit,) = units(task, numeric=False)
    assert (unit.contribution.values, unit.home_ms) == (MAX_VOTES, 5)
