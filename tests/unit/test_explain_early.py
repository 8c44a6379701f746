"""With few answers it is too early to say who it was; and what is any fall is no pair of classes."""

from __future__ import annotations

import pytest

from detectors.explain import Row, Totals, Verdict, explain
from detectors.explain.cells import cells_of
from detectors.explain.decompose import compare
from detectors.explain.others import others_are_well


def row(labeler: str, before: tuple[int, int], after: tuple[int, int], true_class: str = "", answer: str = "") -> Row:
    return Row(labeler, "acme", Totals(*before), Totals(*after), "pets", true_class, answer)


def test_few_answers_that_may_be_some_or_all_name_nobody() -> None:
    """Four of eight were bad, five answers each: everyone is as likely as some, and so neither is said."""
    rows = [row(f"w{n}", (200, 184), (5, 2 if n < 4 else 5)) for n in range(8)]
    assert explain(rows).cause.verdict is Verdict.UNCLEAR
    more = [row(f"w{n}", (200, 184), (100, 50 if n < 4 else 92)) for n in range(8)]
    assert {one.value for one in explain(more).cause.named} == {"w0", "w1", "w2", "w3"}


def test_few_answers_that_are_wrong_of_all_alike_are_everyone() -> None:
    rows = [row(f"w{n}", (200, 184), (12, 6)) for n in range(10)]
    assert explain(rows).cause.verdict is Verdict.EVERYONE


def test_the_worst_of_all_are_not_the_cause() -> None:
    rows = [row(f"w{n}", (200, 190), (40, 14 if n < 2 else 30)) for n in range(12)]
    assert explain(rows).cause.verdict is not Verdict.LABELERS


@pytest.mark.parametrize(("of_others", "verdict"), [(1, Verdict.UNCLEAR), (10, Verdict.LABELERS)])
def test_who_is_at_work_is_not_named_while_the_others_are_not_heard(of_others: int, verdict: Verdict) -> None:
    rows = [row(f"w{n}", (200, 184), (25, 8) if n < 2 else (of_others, of_others)) for n in range(3)]
    assert explain(rows).cause.verdict is verdict


@pytest.mark.parametrize(("heard", "verdict"), [(2, Verdict.UNCLEAR), (3, Verdict.LABELERS)])
def test_of_one_or_two_others_nobody_can_say_whether_all_are_well(heard: int, verdict: Verdict) -> None:
    bad = [row(f"w{n}", (200, 184), (50, 20)) for n in range(2)]
    others = [row(f"x{n}", (200, 184), (50, 46) if n < heard else (0, 0)) for n in range(8)]
    assert explain([*bad, *others]).cause.verdict is verdict


@pytest.mark.parametrize(("cats", "are_well"), [(0, False), (25, True)])
def test_others_have_to_be_well_on_the_classes_that_it_is_about(cats: int, are_well: bool) -> None:
    """Two take cats for dogs since; the others see owls, and say nothing of cats unless they see some."""
    rows = []
    for n in range(8):
        for true in ("cat", "owl"):
            seen = 40 if n < 2 else cats if true == "cat" else 60
            wrong = 16 if n < 2 and true == "cat" else round(0.04 * seen)
            rows.append(row(f"w{n}", (96, 96), (seen - wrong, seen - wrong), true, true))
            rows.append(row(f"w{n}", (4, 0), (wrong, 0), true, "dog"))
    cells = cells_of(rows)
    compare(cells)
    assert others_are_well({("w0", "acme"), ("w1", "acme")}, cells) is are_well


def harder_work(times: int, right_of_hard: int) -> Verdict:
    """Two thirds are hard by now and were a quarter before: .7 of it was right, and now so many of 30 a labeler."""
    rows = []
    for n in range(8):
        rows.append(row(f"w{n}", (2_000, 1_900), (15 * times, 15 * times), "easy"))
        rows.append(row(f"w{n}", (600, 420), (30 * times, times * right_of_hard), "hard"))
    return explain(rows).cause.verdict


def test_it_is_not_the_mix_where_something_else_may_be() -> None:
    assert harder_work(1, 21) is Verdict.MIX
    assert harder_work(1, 17) is Verdict.UNCLEAR, "near half of it may be of the class"
    assert harder_work(8, 21) is Verdict.MIX
    assert harder_work(8, 17) is Verdict.CLASS_PAIR, "near half of it is, surely"


def of_classes(classes: tuple[str, ...], wrong: int, n: int = 100) -> list[Row]:
    """Eight labelers; before 5 of 100 of a class are wrong, after so many; the first two classes for each other."""
    rows = []
    for labeler in range(8):
        for true in classes:
            other = classes[1 - classes.index(true)] if true in classes[:2] else classes[0]
            now = wrong if true in classes[:2] else 5
            rows.append(row(f"w{labeler}", (n - 5, n - 5), (n - now, n - now), true, true))
            rows.append(row(f"w{labeler}", (5, 0), (now, 0), true, other))
    return rows


@pytest.mark.parametrize(
    ("classes", "wrong", "verdict"),
    [
        (("yes", "no"), 25, Verdict.EVERYONE),
        (("yes", "no"), 70, Verdict.CLASS_PAIR),
        (("cat", "dog", "owl"), 25, Verdict.CLASS_PAIR),
    ],
)
def test_of_two_classes_a_swap_is_worse_than_guessing(classes: tuple[str, ...], wrong: int, verdict: Verdict) -> None:
    cause = explain(of_classes(classes, wrong)).cause
    assert (cause.verdict, cause.swapped) == (verdict, verdict is Verdict.CLASS_PAIR)


@pytest.mark.parametrize(("people", "verdict"), [(3, Verdict.UNCLEAR), (6, Verdict.EVERYONE)])
def test_all_of_a_few_may_be_the_bad_ones_who_are_at_work(people: int, verdict: Verdict) -> None:
    rows = [row(f"w{n}", (200, 184), (40, 20)) for n in range(people)]
    assert explain(rows).cause.verdict is verdict


def test_everyone_is_not_named_for_what_may_be_a_pair() -> None:
    """Twenty answers, ten wrong: nine of them of the pair. Of the other classes one more is nothing."""
    rows = []
    for n in range(6):
        for true, other in (("cat", "dog"), ("dog", "cat"), ("owl", "cat"), ("bat", "owl")):
            rows += [row(f"w{n}", (92, 92), (1, 1), true, true), row(f"w{n}", (8, 0), (0, 0), true, other)]
    swapped = [row(f"w{n}", (0, 0), (1, 0), "cat", "dog") for n in range(6)]
    assert explain([*rows, *swapped]).cause.verdict is not Verdict.EVERYONE
    careless = [
        row(f"w{n}", (0, 0), (3, 0), true, other)
        for n in range(6)
        for true, other in (("cat", "dog"), ("dog", "owl"), ("owl", "bat"), ("bat", "cat"))
    ]
    assert explain([*rows, *careless]).cause.verdict is Verdict.EVERYONE


def test_constant_answers_of_most_are_no_pair_of_classes() -> None:
    """Two of three always say owl: most of it is cat for owl, and the rest is no chance, either."""
    rows = []
    for n in range(3):
        for true, answers in (("cat", 40), ("dog", 25), ("owl", 15)):
            wrong = answers - 2 if n < 2 else 2
            rows.append(row(f"w{n}", (190, 190), (answers - wrong, answers - wrong), true, true))
            rows.append(row(f"w{n}", (10, 0), (wrong, 0), true, "owl" if true != "owl" else "cat"))
    assert explain(rows).cause.verdict is not Verdict.CLASS_PAIR
