"""Changes that are surely there, and too small for anybody to be woken."""

from __future__ import annotations

import pytest

from detectors.watch.rule_watch import RuleWatch
from schemas.measurements import Answer
from tests.measured import SEGMENT, answer, kinds, quick_plan, rule, told, watching

BEFORE = 3_000


@pytest.mark.parametrize(("one_of", "found"), [(12, []), (7, []), (6, ["breach"]), (4, ["breach"])])
def test_three_quarters_of_the_smallest_drop_are_worth_a_word(one_of: int, found: list[str]) -> None:
    """One wrong answer of 12 becomes one of 7, .06 more, or one of 6, .083 more; the smallest drop is .1."""
    watch = watching(rule(smallest_drop=0.1, resolve_after="14d"))
    rights = [number % (one_of if number >= BEFORE else 12) != 0 for number in range(2 * BEFORE)]
    verdicts = told(watch, [answer(number, gold_correct=right) for number, right in enumerate(rights)])
    assert kinds(verdicts)[:1] == found


def test_what_was_not_worth_a_word_is_not_found_together_with_others() -> None:
    """Ann's change is surely there and small: her detector begins anew, and Bob finds nobody beside him."""
    one = RuleWatch(rule(smallest_drop=0.1, resolve_after="14d"), quick_plan)
    ann, bob = (one.at(SEGMENT, name, 0) for name in ("ann", "bob"))
    assert ann is not None
    assert bob is not None
    for number in range(BEFORE):
        assert one.take(ann, float(number % 12 != 0), number) == []
        assert one.take(bob, float(number % 12 != 0), number) == []
    evidence = [0.0]
    while evidence[-1] <= 500:  # half of what it takes: enough to be found with somebody of whom as much is known
        assert one.take(ann, float(len(evidence) % 7 != 0), BEFORE) == []
        evidence.append(ann.detectors[0].statistic)  # type: ignore[attr-defined]  # of an e-detector
    assert one.take(ann, 0.0, BEFORE) == [], "found, and not worth a word"
    said = [told for number in range(60) for told in one.take(bob, float(number % 3 != 0), BEFORE)]
    assert [(told.kind, told.scope) for told in said[:1]] == [("breach", bob)]
    assert ann.breach is None


@pytest.mark.parametrize(("pause_hours", "found"), [(1, True), (8, False)])
def test_after_a_pause_one_more_slip_is_no_finding(pause_hours: int, found: bool) -> None:
    """Of a change that may be over by then answers must speak again."""

    def story(slips: int, more: list[bool]) -> list[Answer]:
        rights = [number % 12 != 0 for number in range(400)] + [number % 3 != 0 for number in range(slips)]
        later = [
            answer(1_000 + number, minute=400 + slips + 60 * pause_hours + number, gold_correct=right)
            for number, right in enumerate(more)
        ]
        return [answer(number, gold_correct=right) for number, right in enumerate(rights)] + later

    enough = next(slips for slips in range(60) if told(watching(rule()), story(slips, [])))
    assert bool(told(watching(rule()), story(enough - 1, [False]))) is found
    assert told(watching(rule()), story(enough - 1, [False, False, True] * 6)), "it goes on"
