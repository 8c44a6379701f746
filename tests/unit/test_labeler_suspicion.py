"""Ranking of labelers: every way to be bad is found by its kind of evidence, and nobody is made one by chance."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest

from detectors.labeler_suspicion import (
    KINDS,
    PEERS,
    VENDOR,
    Suspicion,
    beside_peers,
    rank_labelers,
    shrunken,
    surprises,
    vendor_surprises,
)
from detectors.text_traits import Given

TASKS, LABELERS, ANSWERS = 60, 24, 25
COMMON = ["the", "a", "is", "in", "on", "with", "and", "two", "of", "near"]

Spoil = Callable[[Given, random.Random], Given]


def crowd(seed: int, spoiled: dict[str, Spoil] | None = None, answers: dict[str, int] | None = None) -> list[Given]:
    """Labelers who each describe random tasks by some of the task's words, at a pace of about two letters a second."""
    rng = random.Random(seed)
    nouns = ["".join(rng.choices("abdeiklmnorst", k=rng.randint(4, 8))) for _ in range(200)]
    topics = [rng.sample(nouns, 8) for _ in range(TASKS)]
    given = []
    for who in (f"w{number:02}" for number in range(LABELERS)):
        for task in rng.sample(range(TASKS), (answers or {}).get(who, ANSWERS)):
            said = rng.sample(topics[task], rng.randint(3, 5)) + rng.sample(COMMON, 3)
            rng.shuffle(said)
            text = " ".join(said).capitalize() + "."
            one = Given(who, "v", f"t{task}", text, len(text) / 2 * rng.lognormvariate(0, 0.3), rng.random())
            given.append(spoiled[who](one, rng) if spoiled and who in spoiled else one)
    return given


def of(ranked: list[Suspicion], who: str) -> Suspicion:
    return next(one for one in ranked if one.labeler_id == who)


def constant(one: Given, rng: random.Random) -> Given:
    return one._replace(text="Nice picture of a thing with the people.")


def template(one: Given, rng: random.Random) -> Given:
    return one._replace(text=f"In this picture we can see {one.text.split()[-1]}")


def short(one: Given, rng: random.Random) -> Given:
    return one._replace(text=one.text.split()[0])


def shouting(one: Given, rng: random.Random) -> Given:
    return one._replace(text=one.text.upper() + "!!!!!!!!")


def foreign(one: Given, rng: random.Random) -> Given:
    return one._replace(text=" ".join("".join(rng.choices("xyzqwv", k=5)) for _ in range(6)))


def elsewhere(one: Given, rng: random.Random) -> Given:
    return one._replace(task_id=f"t{rng.randrange(TASKS)}")


def hasty(one: Given, rng: random.Random) -> Given:
    return one._replace(seconds=len(one.text) / 30, p_value=rng.random() / 10)


@pytest.mark.parametrize(
    ("spoil", "kind", "trait"),
    [
        (constant, "repetition", "repeated"),
        (template, "repetition", "near"),
        (short, "shape", "length"),
        (shouting, "shape", "upper"),
        (shouting, "shape", "longest_run"),
        (foreign, "words", "strange"),
        (elsewhere, "words", "shared"),
        (hasty, "pace", "typing"),
        (hasty, "pace", "too_fast"),
    ],
)
def test_every_way_to_be_bad_is_seen_by_its_kind(spoil: Spoil, kind: str, trait: str) -> None:
    ranked = rank_labelers(crowd(1, {"w07": spoil}))
    bad = of(ranked, "w07")
    assert bad.traits[trait] == pytest.approx(math.log(LABELERS)), "nobody is further off"
    assert bad.kinds[kind] > math.log(LABELERS / 4)
    assert ranked.index(bad) < 5


def test_many_ways_at_once_come_first() -> None:
    def lazy(one: Given, rng: random.Random) -> Given:
        return hasty(constant(one, rng), rng)._replace(text="Nice")

    ranked = rank_labelers(crowd(2, {"w03": lazy, "w11": lazy, "w15": lazy}))
    assert {one.labeler_id for one in ranked[:3]} == {"w03", "w11", "w15"}


def test_nobody_exceeds_the_bound_and_the_total_is_the_sum() -> None:
    ranked = rank_labelers(crowd(3, {"w07": constant}))
    bound = math.log(LABELERS) + 1e-9
    assert [set(one.kinds) for one in ranked] == [{*KINDS, VENDOR}] * LABELERS
    for one in ranked:
        assert all(0.0 <= nats <= bound for nats in (*one.kinds.values(), *one.traits.values()))
        assert one.total == pytest.approx(sum(one.kinds.values()))
        assert one.answers == ANSWERS


def test_among_equals_surprise_is_as_rare_as_it_says() -> None:
    ranked = [one for seed in range(5) for one in rank_labelers(crowd(seed))]
    for kind in KINDS:
        nats = [one.kinds[kind] for one in ranked]
        assert fmean(nats) <= 1.0
        for bound in (1.0, 2.0, 3.0):
            assert fmean(one >= bound for one in nats) <= math.exp(-bound)


def test_a_single_odd_answer_is_not_held_against_a_newcomer() -> None:
    given = crowd(4, {"w00": short, "w01": short}, {"w00": 1})
    length = {one.labeler_id: one.traits["length"] for one in rank_labelers(given)}
    assert length["w01"] == pytest.approx(math.log(LABELERS))
    assert length["w00"] < length["w01"]


def test_names_and_file_order_of_labelers_change_nothing() -> None:
    given = crowd(5, {"w07": template})
    renamed = [one._replace(labeler_id="x" + one.labeler_id[::-1]) for one in sorted(given, key=lambda g: g.task_id)]
    again = [one._replace(labeler_id="x" + one.labeler_id[::-1]) for one in given]
    totals = {one.labeler_id: one.total for one in rank_labelers(again)}
    assert totals == pytest.approx({"x" + one.labeler_id[::-1]: one.total for one in rank_labelers(given)})
    assert rank_labelers(renamed)[0].labeler_id == "x70w"


def test_who_gets_tasks_that_ask_for_little_is_not_short() -> None:
    given = [
        Given(
            f"w{who}", "v", f"t{task}", "yes" if task < 5 else "a long description of all that is there " + "ab" * who
        )
        for task in range(10)
        for who in range(8)
        if task < 5 or who >= 4
    ]
    column = [float(len(one.text)) for one in given]
    beside = {who: fmean(values) for who, values in beside_peers(given, [*column]).items()}
    assert [beside[f"w{who}"] for who in range(4)] == [0.0] * 4
    assert beside["w4"] < 0 < beside["w7"]


def test_too_few_peers_are_everybody() -> None:
    given = [Given(who, "v", "t", "") for who in ("ann", "bob", "cat")] + [Given("dan", "v", "u", "")]
    assert len({"ann", "bob", "cat"}) - 1 < PEERS
    assert beside_peers(given, [1.0, 2.0, 3.0, None]) == {"ann": [-1.0], "bob": [0.0], "cat": [1.0]}
    assert beside_peers(given, [None] * 4) == {}
    one_task = [one._replace(task_id="t") for one in given]
    assert beside_peers(one_task, [1.0, 2.0, 3.0, 6.0])["dan"] == [4.0]


def test_shrinks_by_how_few_and_how_scattered() -> None:
    found = shrunken({"many": [8.0, 12.0] * 50, "few": [8.0, 12.0], "rest": [-2.0, 2.0] * 50})
    assert 0 < found["few"] < found["many"]
    assert shrunken({"ann": [0.0, 4.0], "bob": [4.0, 0.0]}) == {"ann": 0.0, "bob": 0.0}
    assert shrunken({"ann": [7.0, 8.0]}) == {"ann": 0.0}
    assert shrunken({}) == {}


def test_equal_values_are_equally_unsurprising() -> None:
    assert surprises({"ann": 0.0, "bob": 0.0}) == {"ann": 0.0, "bob": 0.0}
    assert surprises({}) == {}


def test_a_vendor_says_nothing_where_vendors_do_not_differ() -> None:
    own = {f"{vendor}{n}": float(n) for vendor in "xyz" for n in range(5)}
    assert set(vendor_surprises(own, {who: who[0] for who in own}).values()) == {0.0}


def test_a_bad_vendor_tells_of_its_labelers_and_one_labeler_less_of_its_vendor() -> None:
    level = {"x": 6.0, "y": 1.0, "z": 1.0, "o": 6.0}
    own = {f"{vendor}{n}": level[vendor] + n % 3 for vendor in "xyz" for n in range(9)} | {"o0": 7.0}
    found = vendor_surprises(own, {who: who[0] for who in own})
    assert found["x0"] == found["x1"] > 0
    assert found["y0"] == found["z0"] == 0.0
    assert found["o0"] < found["x0"]


def test_nobody_is_ranked_where_nobody_answered() -> None:
    assert rank_labelers([]) == []
    assert [one.total for one in rank_labelers([Given("ann", "v", "t", "a dog")])] == [0.0]
