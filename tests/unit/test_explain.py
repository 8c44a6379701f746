"""Explanations against numbers worked out by hand, and the verdicts on built incidents."""

from __future__ import annotations

import math

import pytest

from detectors.explain import Explanation, Row, Totals, Verdict, explain


def row(labeler: str, before: tuple[float, float], after: tuple[float, float], **keys: str) -> Row:
    return Row(labeler, keys.pop("vendor", "acme"), Totals(*before), Totals(*after), **keys)


def team(size: int, vendor: str, hits_after: int, **keys: str) -> list[Row]:
    """Labelers with 92 of 100 right before."""
    return [row(f"{vendor}{n}", (100, 92), (100, hits_after), vendor=vendor, **keys) for n in range(size)]


def named(why: Explanation) -> list[tuple[str, str]]:
    return [tuple(one) for one in why.cause.named]


def test_rate_and_mix_by_hand() -> None:
    # Shares .5 and .5 before, .25 and .75 after; rates .9 and .8 before, .9 and .6 after; .85 falls to .675.
    why = explain([row("ann", (100, 90), (50, 45)), row("bob", (100, 80), (150, 90))])
    assert (why.before, why.after) == (0.85, 0.675)
    ann, bob = sorted(why.contributions["labeler"], key=lambda c: c.value)
    assert (ann.rate, bob.rate) == (0.0, pytest.approx(0.625 * -0.2))
    assert ann.mix == pytest.approx(-0.25 * (0.9 - 0.7625))
    assert bob.mix == pytest.approx(0.25 * (0.7 - 0.7625))
    assert why.rate + why.mix == pytest.approx(-0.175, abs=1e-12)
    assert why.mix_alone == pytest.approx(0.25 * 0.9 + 0.75 * 0.8 - 0.85)


def test_a_newcomer_is_compared_with_peers_of_the_vendor() -> None:
    why = explain(
        [
            row("ann", (100, 90), (100, 90)),
            row("other", (100, 50), (0, 0), vendor="zeta"),
            row("new", (0, 0), (100, 40)),
        ]
    )
    new = next(c for c in why.contributions["labeler"] if c.value == "new")
    assert new.status == "new"
    assert new.rate == pytest.approx(0.5 * (0.4 - 0.9))
    assert new.total == pytest.approx(0.5 * (0.4 - (0.7 + 0.65) / 2))
    gone = next(c for c in why.contributions["labeler"] if c.value == "other")
    assert (gone.status, gone.rate) == ("vanished", 0.0)


def test_harder_work_is_not_a_worse_labeler() -> None:
    # Ann is as good as ever at both, and gets the hard ones now: her own rate falls from .94 to .66.
    why = explain(
        [
            row("ann", (80, 78), (20, 19.5), task_type="easy"),
            row("ann", (20, 12), (80, 48), task_type="hard"),
            row("bob", (50, 48.75), (50, 48.75), task_type="easy"),
            row("bob", (50, 30), (50, 30), task_type="hard"),
        ]
    )
    assert why.rate == pytest.approx(0, abs=1e-12)
    assert all(c.rate == pytest.approx(0, abs=1e-12) and not c.beyond_chance for c in why.contributions["labeler"])
    assert why.cause.verdict is Verdict.MIX
    assert why.cause.share == pytest.approx(1)


def test_three_answers_are_not_named_before_a_hundred() -> None:
    rows = [*team(8, "acme", 92), row("few", (50, 46), (3, 0)), row("many", (100, 92), (100, 62))]
    why = explain(rows)
    assert why.contributions["labeler"][0].value == "many"
    few = next(c for c in why.contributions["labeler"] if c.value == "few")
    assert not few.beyond_chance
    assert named(why) == [("labeler", "many")]


def test_the_chance_of_a_labeler_is_bounded_as_fisher_has_it() -> None:
    from scipy.stats import fisher_exact

    for before, after in [((50, 46), (3, 0)), ((100, 92), (100, 62)), ((30, 29), (20, 14)), ((200, 184), (10, 8))]:
        why = explain([row("ann", before, after), row("bob", (10, 9), (10, 9))])
        ann = next(c for c in why.contributions["labeler"] if c.value == "ann")
        table = [[after[0] - after[1], after[1]], [before[0] - before[1], before[1]]]
        assert fisher_exact(table, "greater").pvalue <= ann.p_value <= 1


def test_bad_labelers_are_named_worst_first_and_the_metric_is_back_without_them() -> None:
    rows = [
        *team(8, "acme", 92),
        *team(9, "zeta", 92),
        row("bad", (100, 92), (100, 30)),
        row("worse", (100, 92), (200, 40)),
    ]
    why = explain(rows, band=(0.9, 1.0))
    assert named(why) == [("labeler", "worse"), ("labeler", "bad")]
    assert why.without is not None
    assert (why.without.values, why.without.in_band) == (("worse", "bad"), True)
    assert why.without.metric == pytest.approx(0.92)
    assert why.cause.margin > 5


def test_all_of_a_vendor_is_the_vendor() -> None:
    why = explain([*team(10, "acme", 74), *team(10, "zeta", 92)], band=(0.9, 1.0))
    assert named(why) == [("vendor", "acme")]
    assert why.cause.share == pytest.approx(1)
    assert why.cause.spread is not None
    assert why.cause.spread.even_share == 1
    assert why.without is not None
    assert (why.without.values, why.without.in_band) == (("acme",), True)


@pytest.mark.parametrize(
    ("least", "verdict"), [(0.0, Verdict.LABELERS), (0.03, Verdict.LABELERS), (0.07, Verdict.EVERYONE)]
)
def test_all_may_be_hit_though_some_are_hit_harder(least: float, verdict: Verdict) -> None:
    """Eight of twelve fall by 20 points. Of the others a fall by 3 in 200 answers may be chance, one by 7 is none."""
    falls = [least] * 4 + [0.2] * 8
    why = explain([row(f"l{n}", (400, 368), (200, round(200 * (0.92 - fall)))) for n, fall in enumerate(falls)])
    assert why.cause.verdict is verdict
    assert len(why.cause.named) == (8 if verdict is Verdict.LABELERS else 0)


def test_most_of_a_vendor_is_not_the_vendor_while_some_are_as_ever() -> None:
    bots = [row(f"bot{n}", (30, 27), (900, 360)) for n in range(5)]
    why = explain([*bots, *team(3, "acme", 92), *team(4, "zeta", 92)])
    assert (why.cause.verdict, len(why.cause.named)) == (Verdict.LABELERS, 5)


@pytest.mark.parametrize(
    ("others", "says"), [((2, 1), []), ((2, 2), []), ((20, 19), [("vendor", "acme")])], ids=["bad", "few", "well"]
)
def test_where_others_hardly_worked_nobody_knows_whether_it_was_the_vendor_or_everyone(
    others: tuple[int, int], says: list[tuple[str, str]]
) -> None:
    zeta = [row(f"z{n}", (100, 92), others, vendor="zeta") for n in range(4)]
    assert named(explain([*team(8, "acme", 74), *zeta])) == says


def test_all_of_a_task_type_is_the_task_type_and_all_of_everything_is_everyone() -> None:
    rows = [
        row(f"{v}{n}", (100, 92), (100, hits), vendor=v, task_type=kind)
        for v in ("acme", "zeta")
        for n in range(6)
        for kind, hits in (("audio", 75), ("text", 92))
    ]
    assert named(explain(rows)) == [("task_type", "audio")]
    why = explain([*team(10, "acme", 80), *team(10, "zeta", 80)])
    assert (why.cause.verdict, named(why), why.without) == (Verdict.EVERYONE, [], None)


def confused(labeler: str, vendor: str, swapped: bool) -> list[Row]:
    """Three classes, 90 of 100 right; cat and dog for each other in 60 of 100 where swapped."""
    rows = []
    for true in ("cat", "dog", "owl"):
        for answer in ("cat", "dog", "owl"):
            was = now = 90 if true == answer else 5
            if swapped and "owl" not in (true, answer):
                now = 35 if true == answer else 60
            before, after = ((n, n if true == answer else 0) for n in (was, now))
            rows.append(row(labeler, before, after, vendor=vendor, task_type="pets", true_class=true, answer=answer))
    return rows


def test_a_swap_by_everyone_is_the_guideline() -> None:
    why = explain([r for n in range(8) for r in confused(f"w{n}", "acme" if n % 2 else "zeta", True)])
    assert (why.cause.verdict, why.cause.swapped) == (Verdict.CLASS_PAIR, True)
    assert named(why) == [("task_type", "pets"), ("true_class", "cat"), ("answer", "dog")]
    assert [(p.true_class, p.answer, round(p.rate, 4)) for p in why.pairs[:2]] == [
        ("cat", "dog", round(-0.55 / 3, 4)),
        ("dog", "cat", round(-0.55 / 3, 4)),
    ]
    assert math.fsum(p.rate for p in why.pairs) == pytest.approx(why.rate, abs=1e-12)


def test_a_swap_by_one_vendor_names_it() -> None:
    why = explain([r for n in range(12) for r in confused(f"w{n}", "acme" if n % 2 else "zeta", bool(n % 2))])
    assert named(why)[0] == ("vendor", "acme")
    assert why.cause.verdict is Verdict.CLASS_PAIR


def test_a_swap_by_two_labelers_is_theirs() -> None:
    why = explain([r for n in range(12) for r in confused(f"w{n}", "acme" if n % 2 else "zeta", n in (3, 4))])
    assert sorted(named(why)) == [("labeler", "w3"), ("labeler", "w4")]


def test_a_mean_that_rises() -> None:
    def seconds(labeler: str, mean_after: float) -> Row:
        return Row(
            labeler, "acme", Totals(100, 3_000, 100_000), Totals(100, 100 * mean_after, 100 * (mean_after**2 + 100))
        )

    why = explain([seconds(f"w{n}", 60 if n == 2 else 30) for n in range(6)], band=(0, 32))
    assert why.change == pytest.approx(5)
    assert named(why) == [("labeler", "w2")]
    assert (why.pairs, why.without and why.without.metric) == ((), 30)


def test_hours_add_up_and_show_when() -> None:
    rows = [
        *(row(f"w{n}", (100, 92), (50, 46), hour="09") for n in range(4)),
        *(row(f"w{n}", (0, 0), (50, 30), hour="10") for n in range(4)),
    ]
    why = explain(rows)
    nine, ten = sorted(why.contributions["hour"], key=lambda c: c.value)
    assert (nine.rate, ten.rate) == (pytest.approx(0), pytest.approx(-0.16))
    assert (nine.beyond_chance, ten.beyond_chance) == (False, True)


def test_nothing_is_unclear() -> None:
    why = explain(team(5, "acme", 91), band=(0.95, 1.0))
    assert (why.cause.verdict, why.without) == (Verdict.UNCLEAR, None)
    assert explain(team(5, "acme", 92)).contributions["labeler"][0].share == 0


def test_a_summary_has_what_a_sentence_needs() -> None:
    rows = [*team(8, "acme", 92), row("bad", (100, 92), (100, 20))]
    found = explain(rows, band=(0.9, 1.0)).summary("gold accuracy", since_ms=1_000)
    assert (found.metric, found.since_ms, round(found.before, 2), round(found.after, 2)) == (
        "gold accuracy",
        1_000,
        0.92,
        0.84,
    )
    assert (found.verdict, found.named[0].value, found.odds) == (Verdict.LABELERS, "bad", pytest.approx(1e9))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no answers before"),
        ([row("ann", (0, 0), (5, 4))], "no answers before"),
        ([row("ann", (5, 4), (0, 0))], "no answers after"),
        ([row("ann", (5, 6), (5, 4))], "'ann'"),
        ([row("ann", (-1, 0), (5, 4))], "not sums"),
        ([row("ann", (math.nan, 0), (5, 4))], "not sums"),
        ([Row("ann", "acme", Totals(0, 5, 25), Totals(1, 5, 25))], "not sums"),
    ],
)
def test_what_cannot_be_is_refused(rows: list[Row], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        explain(rows)
