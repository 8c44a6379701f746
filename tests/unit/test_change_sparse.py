"""A few labelers among many: what their evidence is worth together, whom it names, and what is forgotten."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import pytest

from detectors.change import sparse
from detectors.change.e_process import EProcess, Learning
from detectors.change.finding import Direction, Finding
from detectors.change.sparse import FORGOTTEN, LEARNED, PRIOR, STARTS, STEP_MS, SparseDetector, SparseProcess

NEVER = 1e200
MINUTE_MS = 60_000
LABELERS = 40
BEFORE = 12_000
"""Values before the fall, 300 a labeler."""


def answers(fallen: int, seed: int, after: float = 0.65) -> Iterator[tuple[int, str, float]]:
    """Five a minute of forty people, right with .88, some of whom fall after a time."""
    chance = random.Random(seed)
    for number in range(3 * BEFORE):
        who = chance.randrange(LABELERS)
        level = after if number >= BEFORE and who < fallen else 0.88
        yield number * MINUTE_MS // 5, f"w{who}", float(chance.random() < level)


def first(detector: SparseDetector, fallen: int, seed: int) -> tuple[int, Finding]:
    """After how many values since the fall it is found."""
    for number, (at_ms, who, value) in enumerate(answers(fallen, seed)):
        found = detector.update(value, at_ms, labeler_id=who)
        if found:
            return number - BEFORE, found
    raise AssertionError("not found")


@pytest.mark.parametrize("direction", ["down", "up"])
def test_each_start_is_worth_one_on_average_while_nobody_changes(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all orders of answers of two labelers in three hours, as probable as their learned levels make them."""
    monkeypatch.setattr(sparse, "LEARNED", 0)
    level = 0.7 if direction == "down" else 0.3
    method, total = SparseProcess(NEVER, level, 0.2, direction), 0.0
    plan = [(0, "ann"), (1, "bob"), (STEP_MS, "ann"), (STEP_MS + 1, "ann"), (STEP_MS + 2, "bob"), (3 * STEP_MS, "bob")]
    for order in product((0.0, 1.0), repeat=len(plan)):
        detector, chance = method.build(), 1.0
        known = {"": [PRIOR * level, PRIOR]}
        for value, (at_ms, who) in zip(order, plan, strict=True):
            good, seen = known[""]
            of_labeler = known.setdefault(who, [PRIOR * good / seen, PRIOR])
            right = of_labeler[0] / of_labeler[1]
            chance *= right if value else 1.0 - right
            for one in (of_labeler, known[""]):
                one[0] += value
                one[1] += 1.0
            detector.update(value, at_ms, labeler_id=who)
        total += chance * detector.statistic
    assert total == pytest.approx(1 + 2 + 3), "one at first, and as many as came in the hours before"


def test_a_few_are_found_sooner_together_than_one_of_them_or_all() -> None:
    threshold, fallen = 1e6, 6
    learning = Learning(prior=10, answers=50, lag=0)
    alone = {f"w{who}": EProcess(threshold, 0.88, 0.1, learning=learning).build() for who in range(fallen)}
    pooled = EProcess(threshold, 0.88, 0.1, learning=learning).build()
    found = dict[str, int]()
    together = SparseProcess(threshold, 0.88).build()
    for number, (at_ms, who, value) in enumerate(answers(fallen, seed=1)):
        if together.update(value, at_ms, labeler_id=who):
            found.setdefault("together", number - BEFORE)
        if pooled.update(value, at_ms):
            found.setdefault("pooled", number - BEFORE)
        if who in alone and alone[who].update(value, at_ms):
            found.setdefault("alone", number - BEFORE)
    assert 0 < found["together"] < 0.7 * found["alone"]
    assert found["together"] < 0.7 * found.get("pooled", 2 * BEFORE)


@pytest.mark.parametrize("seed", range(5))
def test_who_changed_is_named(seed: int) -> None:
    _, found = first(SparseProcess(1e6, 0.88).build(), fallen=6, seed=seed)
    right = {f"w{who}" for who in range(6)}
    assert 2 * len(right & set(found.labelers)) > len(found.labelers)
    assert found.baseline == pytest.approx(0.86, abs=0.04), "that of those who are named"
    assert 0.3 < found.level < 0.75, "at .65; those who are unlucky are found sooner"
    began_ms = BEFORE * MINUTE_MS // 5
    assert began_ms - 3 * STEP_MS <= found.since_ms <= found.at_ms


def test_all_who_changed_are_found_too() -> None:
    delay, found = first(SparseProcess(1e6, 0.88).build(), fallen=LABELERS, seed=3)
    assert 0 < delay < 500
    assert len(found.labelers) > LABELERS / 3
    assert 0.5 < found.level < 0.75


def test_false_alarms_keep_to_the_budget() -> None:
    threshold, values, alarms = 100.0, 0, 0
    for seed in range(10):
        detector, chance = SparseProcess(threshold, 0.88).build(), random.Random(seed)
        for number in range(4_000):
            who, value = chance.randrange(10), float(chance.random() < 0.88)
            alarms += detector.update(value, number * MINUTE_MS, labeler_id=str(who)) is not None
            values += 1
    assert 0 < alarms <= values / threshold


def worse(detector: SparseDetector) -> int:
    """Let ann fall; the time after it."""
    for number in range(600):
        value = number % (10 if number < 500 else 2) != 0
        assert detector.update(float(value), number * MINUTE_MS, labeler_id="ann") is None
    return 600 * MINUTE_MS


def test_what_was_long_ago_says_nothing_any_more() -> None:
    detector = SparseProcess(NEVER, 0.9).build()
    at_ms = worse(detector)
    assert detector.statistic > 1e4
    detector.update(1.0, at_ms + (STARTS - 4) * STEP_MS, labeler_id="bob")
    assert detector.statistic > 1e4
    detector.update(1.0, at_ms + STARTS * STEP_MS, labeler_id="bob")
    assert detector.statistic < 1e3, "as many as started"


def test_evidence_can_be_limited() -> None:
    detector = SparseProcess(1e20, 0.9).build()
    worse(detector)
    assert detector.statistic > 1e4
    detector.limit(1e-17)
    assert detector.statistic == pytest.approx(1e3)
    detector.limit(1.0)
    assert detector.statistic == pytest.approx(1e3), "never more than it was"


def test_nothing_is_tested_while_levels_are_only_learned() -> None:
    detector = SparseProcess(2.0, 0.9).build()
    said = [detector.update(0.0, number, labeler_id="ann") for number in range(LEARNED)]
    assert not any(said)


def test_starts_alone_are_no_finding() -> None:
    detector = SparseProcess(50.0, 0.9).build()
    for number in range(1_000):  # five hundred an hour
        assert detector.update(1.0, number * STEP_MS // 500, labeler_id="ann") is None
    assert detector.update(0.0, 2 * STEP_MS - 1, labeler_id="ann") is None
    assert detector.statistic > 50.0


def test_spread_asks_for_more() -> None:
    strict, plain = SparseProcess(NEVER, 0.9, spread=2.0).build(), SparseProcess(NEVER, 0.9).build()
    worse(strict)
    worse(plain)
    assert 1.0 < strict.statistic < plain.statistic


def test_who_is_gone_for_long_is_forgotten() -> None:
    detector = SparseProcess(NEVER, 0.9).build()
    at_ms = worse(detector)
    for steps, names in ((FORGOTTEN, ["ann", "bob"]), (FORGOTTEN + 1, ["bob"])):
        detector.update(1.0, at_ms + steps * STEP_MS, labeler_id="bob")
        assert [one[0] for one in detector.dump()[-1]] == names  # type: ignore[index, union-attr, attr-defined]
    assert detector.update(0.0, at_ms + FORGOTTEN * STEP_MS + STEP_MS, labeler_id="cy") is None


def test_one_who_never_slips_is_no_reason_to_speak() -> None:
    method = SparseProcess(NEVER, 0.9)
    detector = method.build()
    worse(detector)
    before = detector.statistic
    for number in range(50):
        detector.update(1.0, 600 * MINUTE_MS + number, labeler_id=f"new{number}")
    assert detector.statistic < before


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"threshold": 1.0}, "threshold must be above 1"),
        ({"min_count": -1}, "min_count must not be negative"),
        ({"direction": "sideways"}, "direction must be down or up"),
        ({"spread": 0.5}, "spread must be at least 1"),
        ({"smallest_drop": 0.95}, "smallest_drop must be above 0 and below the level"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SparseProcess(**{"threshold": 1e6, "level": 0.9, **wrong})  # type: ignore[arg-type]


def test_a_state_of_other_bets_is_refused() -> None:
    detector = SparseProcess(NEVER, 0.9, 0.1).build()
    worse(detector)
    with pytest.raises(ValueError, match="the state is not of 2 bets"):
        SparseProcess(NEVER, 0.9, 0.5).build(detector.dump())
