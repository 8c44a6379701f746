"""Changes that are surely there, and too small for anybody to be woken."""

from __future__ import annotations

import pytest

from tests.measured import answer, kinds, rule, told, watching

BEFORE = 3_000


@pytest.mark.parametrize(("one_of", "found"), [(12, []), (7, []), (6, ["breach"]), (4, ["breach"])])
def test_three_quarters_of_the_smallest_drop_are_worth_a_word(one_of: int, found: list[str]) -> None:
    """One wrong answer of 12 becomes one of 7, .06 more, or one of 6, .083 more; the smallest drop is .1."""
    watch = watching(rule(smallest_drop=0.1, resolve_after="14d"))
    rights = [number % (one_of if number >= BEFORE else 12) != 0 for number in range(2 * BEFORE)]
    verdicts = told(watch, [answer(number, gold_correct=right) for number, right in enumerate(rights)])
    assert kinds(verdicts)[:1] == found
