"""Is it only here: the people at work, the project, or the vendor; and since which hour."""

from __future__ import annotations

import pytest

from detectors.explain import Meanwhile, Named, Others, Place, Row, Totals, Verdict, by_place, explain, onset, since
from detectors.explain.place import compared

WELL, BAD = 0.92, 0.7


def team(vendor: str, *rates: float, n: int = 60, task_type: str = "box") -> list[Row]:
    """Labelers with 400 answers before, 92 % of them right, and some since."""
    return [
        Row(f"{vendor}-{number}", vendor, Totals(400, 368), Totals(n, round(n * rate)), task_type)
        for number, rate in enumerate(rates)
    ]


def told(here: list[Row], of_project: list[Row], of_vendor: list[Row]) -> tuple[Verdict, list[str], Meanwhile]:
    found, meanwhile = by_place(Place("acme", here, of_project, of_vendor), explain(here))
    return found.cause.verdict, [one.value for one in found.cause.named], meanwhile


ALL_BAD, ALL_WELL = team("acme", *[BAD] * 8), team("acme", *[WELL] * 12, task_type="mask")
OTHERS_BAD, OTHERS_WELL = team("zeta", *[BAD] * 8), team("zeta", *[WELL] * 8)
ELSEWHERE_BAD = team("acme", *[BAD] * 12, task_type="mask")


def test_everyone_here_and_nobody_elsewhere_are_the_people_here() -> None:
    here = team("acme", 0.55, *[BAD] * 7)
    assert explain(here).cause.verdict is Verdict.EVERYONE
    verdict, named, meanwhile = told(here, OTHERS_WELL, ALL_WELL)
    assert (verdict, named[0], set(named)) == (Verdict.LABELERS, "acme-0", {f"acme-{n}" for n in range(8)})
    assert meanwhile == Meanwhile("acme", Others.WELL, Others.WELL)


def test_other_vendors_too_is_the_project() -> None:
    few = team("acme", *[BAD] * 3)
    assert explain(few).cause.verdict is Verdict.UNCLEAR
    verdict, _, meanwhile = told(few, OTHERS_BAD, ALL_WELL)
    assert (verdict, meanwhile.of_project, meanwhile.of_vendor) == (Verdict.EVERYONE, Others.CHANGED, Others.WELL)


def test_other_projects_too_is_the_vendor() -> None:
    verdict, named, meanwhile = told(ALL_BAD, OTHERS_WELL, ELSEWHERE_BAD)
    assert (verdict, named) == (Verdict.VENDOR, ["acme"])
    assert meanwhile == Meanwhile("acme", Others.WELL, Others.CHANGED)


def test_some_of_the_vendors_other_people_are_not_the_vendor() -> None:
    """Another incident of the same vendor, meanwhile."""
    other = team("acme", *[0.2] * 4, *[WELL] * 8, task_type="mask")
    assert compared(ALL_BAD, other, falls=True)[0] is Others.CHANGED
    assert told(ALL_BAD, OTHERS_WELL, other)[0] is not Verdict.VENDOR


def test_where_others_were_not_heard_it_is_as_it_was() -> None:
    verdict, _, meanwhile = told(ALL_BAD, [], [])
    assert (verdict, meanwhile) == (Verdict.EVERYONE, Meanwhile("acme", Others.UNKNOWN, Others.UNKNOWN))
    assert told(ALL_BAD, team("zeta", WELL, n=2), [])[2].of_project is Others.UNKNOWN


def test_on_a_project_of_one_vendor_it_is_everyone_if_the_vendor_is_well_elsewhere() -> None:
    """From its own answers it might as well be the vendor."""
    project = [*ALL_BAD, *team("zeta", WELL, n=1)]
    whole = explain(project)
    assert whole.cause.verdict is not Verdict.EVERYONE
    found, _ = by_place(Place("acme", ALL_BAD, project[8:], ALL_WELL), whole)
    assert found.cause.verdict is Verdict.EVERYONE
    assert found.contributions == whole.contributions


def test_a_pair_that_other_vendors_confuse_too_is_no_labelers() -> None:
    def confusing(vendor: str, times: int, people: int) -> list[Row]:
        return [
            row
            for person in range(people)
            for row in (
                Row(f"{vendor}{person}", vendor, Totals(200, 184), Totals(20, 20), "box", "cat", "cat"),
                Row(f"{vendor}{person}", vendor, Totals(16, 0), Totals(times, 0), "box", "cat", "dog"),
                Row(f"{vendor}{person}", vendor, Totals(200, 200), Totals(20, 20), "box", "cow", "cow"),
                Row(f"{vendor}{person}", vendor, Totals(2, 0), Totals(0, 0), "box", "dog", "cow"),
            )
        ]

    here = confusing("acme", 20, 2)
    assert explain(here).cause.verdict is not Verdict.CLASS_PAIR
    verdict, named, _ = told(here, confusing("zeta", 20, 6), [])
    assert (verdict, named[1:]) == (Verdict.CLASS_PAIR, ["cat", "dog"])


@pytest.mark.parametrize(
    ("rate", "n", "others"),
    [
        (0.92, 60, Others.WELL),
        (0.9, 60, Others.WELL),  # the hour of the day
        (0.7, 60, Others.CHANGED),
        (0.85, 60, Others.UNKNOWN),  # something between
        (0.92, 1, Others.UNKNOWN),
    ],
)
def test_how_others_did(rate: float, n: int, others: Others) -> None:
    found, nats = compared(ALL_BAD, team("zeta", *[rate] * 8, n=n), falls=True)
    assert found is others
    assert (nats >= 2.9) == (others is not Others.UNKNOWN)


def test_little_here_says_nothing_of_others() -> None:
    """What is within the swing of a day cannot be looked for elsewhere."""
    assert compared(team("acme", *[0.89] * 8), OTHERS_WELL, falls=True) == (Others.UNKNOWN, 0.0)


def test_what_began_late_elsewhere_is_not_well() -> None:
    def hours(vendor: str, *rates: float) -> list[Row]:
        rows = [Row(vendor, vendor, Totals(4_000, 3_680), Totals())]
        return rows + [
            Row(vendor, vendor, Totals(), Totals(40, round(40 * rate)), hour=f"{hour:02}")
            for hour, rate in enumerate(rates)
        ]

    here = hours("acme", *[WELL] * 20, *[0.6] * 3)
    there = hours("zeta", *[WELL] * 20, *[0.6] * 3)
    assert compared(here, hours("zeta", *[WELL] * 23), falls=True)[0] is not Others.CHANGED
    assert compared(hours("acme", *[0.6] * 23), there, falls=True)[0] is Others.UNKNOWN
    assert compared(hours("acme", *[0.6] * 23), hours("zeta", *[WELL] * 23), falls=True)[0] is Others.WELL


def test_a_rise_is_looked_for_as_a_rise() -> None:
    rose, same = ([row._replace(after=Totals(60, n)) for row in team("acme", *[0.0] * 8)] for n in (59, 55))
    low = [row._replace(before=Totals(400, 100), after=Totals(60, n)) for row, n in zip(rose, [40] * 8, strict=True)]
    level = [row._replace(before=Totals(400, 100), after=Totals(60, 15)) for row in rose]
    assert compared(low, level, falls=False)[0] is Others.WELL
    assert compared(low, low, falls=False)[0] is Others.CHANGED
    assert compared(same, level, falls=False)[0] is Others.UNKNOWN


# ---- since when


def by_hour(*wrong: int) -> list[Row]:
    rows = [Row("w", "v", Totals(400, 380), Totals())]
    return rows + [Row("w", "v", Totals(), Totals(20, 20 - n), hour=f"{hour:02}") for hour, n in enumerate(wrong)]


@pytest.mark.parametrize(
    ("wrong", "hour"),
    [
        ((2, 0, 1, 6, 5), "03"),
        ((6, 5, 7), "00"),
        ((0, 0, 0), ""),
        ((1, 0, 1, 1, 0, 8), "05"),
        ((8, 0, 0, 0, 0, 0), "00"),
    ],
)
def test_it_began_in_the_hour_from_which_it_is_most_likely(wrong: tuple[int, ...], hour: str) -> None:
    assert onset(by_hour(*wrong), falls=True) == hour


def test_harder_work_is_no_beginning() -> None:
    """Hours are held against what is usual of their own classes."""
    usual = [Row("w", "v", Totals(400, right), Totals(), "box", name) for name, right in (("easy", 396), ("hard", 200))]
    work = [("easy", 20), ("easy", 20), ("hard", 10), ("hard", 10), ("easy", 12)]
    rows = usual + [
        Row("w", "v", Totals(), Totals(20, right), "box", name, hour=f"{n}") for n, (name, right) in enumerate(work)
    ]
    assert onset(rows, falls=True) == "4"


def test_without_hours_nobody_knows() -> None:
    rows = [Row("w", "v", Totals(400, 380), Totals(60, 30))]
    assert onset(rows, falls=True) == ""
    assert since(rows, "") == rows


def test_what_came_earlier_is_before() -> None:
    moved = since(by_hour(2, 0, 6), "02")
    whole = explain(moved)
    assert (whole.answers_before, whole.answers_after) == (440, 20)
    assert whole.before * 440 == pytest.approx(418)
    assert [row.hour for row in moved if row.after.weight] == ["02"]
    both = since([Row("w", "v", Totals(2, 9.0, 50.0), Totals(1, 3.0, 9.0), hour="01")], "02")
    assert both == [Row("w", "v", Totals(3, 12.0, 59.0), Totals())]


def test_the_cause_by_place_has_its_own_counterfactual() -> None:
    here = team("acme", *[BAD] * 3, *[WELL] * 5)
    found = explain(here, band=(0.85, 1.0))
    blamed = found.by(found.cause._replace(verdict=Verdict.LABELERS, named=(Named("labeler", "acme-1"),)))
    assert blamed.without is not None
    assert (blamed.without.values, blamed.change) == (("acme-1",), found.change)
