"""A rule on a few of many labelers: whom its figures are about, and when it is well again."""

from __future__ import annotations

import random

import pytest

from detectors.change.finding import Finding
from detectors.watch.breach import AWAY_MS, Breach
from schemas.measurements import LateTruth
from schemas.verdicts import Verdict
from tests.measured import MINUTE_MS, START_MS, answer, batch, kinds, rule, watching

LABELERS = 30
FALLEN = 4
FALL, BACK, END = 9_000, 13_000, 16_000
"""Answers until some are worse, until they are as before, and in all."""
RULE = rule(name="few", scope="segment", method="e_sparse", level=0.9, smallest_drop=0.15)


def story(*, leave: bool = False) -> list[Verdict]:
    """Two answers a minute; ``leave``: who is worse stops working and never comes back."""
    watch, chance, said = watching(RULE), random.Random(1), list[Verdict]()
    for number in range(END):
        who = chance.randrange(LABELERS)
        is_worse = who < FALLEN and FALL <= number < BACK
        if leave and who < FALLEN and number >= BACK:
            continue
        right = chance.random() < (0.5 if is_worse else 0.9)
        said += watch.take(batch([answer(number, minute=number / 2, labeler_id=f"w{who}", gold_correct=right)]))
    return said


def minute_of(number: int) -> int:
    return START_MS + number * MINUTE_MS // 2


def test_it_is_about_whom_it_names_until_they_are_well() -> None:
    said = story()
    assert kinds(said) == ["breach", "recovered"]
    first, last = said[0], said[-1]
    assert first.scope.project_id == "p"
    assert not first.scope.labeler_id
    figures = first.figures
    assert figures is not None
    assert figures.labelers is not None
    assert 1 <= figures.labelers <= FALLEN + 1
    assert figures.level < 0.7 < figures.baseline, "of those few: that of all falls by five points"
    assert minute_of(FALL) < first.at_ms < minute_of(FALL + 1_500)
    assert minute_of(BACK) < last.at_ms, "what the others do does not end it"


def test_it_is_over_a_day_after_they_left() -> None:
    said = story(leave=True)
    assert kinds(said) == ["breach", "recovered"]
    assert minute_of(BACK) + AWAY_MS - 3_600_000 < said[-1].at_ms < minute_of(BACK) + AWAY_MS + 3_600_000
    assert said[-1].figures is not None
    assert said[-1].figures.answers == 0, "nothing says that they are well"


def test_what_they_gave_before_they_left_does_not_say_that_they_are_well() -> None:
    finding = Finding(0, "down", 4_300.0, 4_270.0, 0.92, 0.70, since_ms=-60_000, answers=40, labelers=("ann",))
    breach = Breach.of(finding, drop=0.1, resolve_after_ms=1_800_000)
    assert [breach.see(1.0, minute) for minute in range(3)] == [None] * 3
    assert breach.since_well() == (1.0, 3)
    assert breach.miss(AWAY_MS) is None
    assert breach.miss(AWAY_MS + 2) == "recovered"
    assert breach.since_well()[1] == 0


@pytest.mark.parametrize(("labeler", "is_withdrawn"), [("ann", True), ("bob", False)])
def test_late_truth_of_others_takes_nothing_back(labeler: str, is_withdrawn: bool) -> None:
    watch, number, said = watching(RULE), 0, list[Verdict]()
    while not said:
        slips = 2 if number >= 1_000 and number % 2 else 10
        one = answer(number, labeler_id=("bob", "ann")[number % 2], gold_correct=number // 2 % slips != 0)
        said, number = watch.take(batch([one])), number + 1
    (breach,) = said
    assert breach.figures is not None
    assert breach.figures.labelers == 1
    late = [LateTruth(number + more, 0, labeler, breach.at_ms - more, False, True) for more in range(60)]
    told = kinds(watch.take(batch(truths=late)))
    assert told == (["withdrawn"] if is_withdrawn else [])
