"""What is asked, what it is compared with, which evidence is believed, and which tasks are affected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detectors.explain import Explanation, Row, Totals, Verdict, explain
from detectors.explain.explanation import Cause, Named
from detectors.explain.place import is_shared
from schemas.rows import AnnotationScoreRow, TaskConfidenceRow
from schemas.thresholds import MetricName
from streams.explanations import Question, Recorder, Suspects, Unexplained, Why, why
from streams.explanations.affected import MAX_LABELERS, list_query, list_sql, rests_on_suspects, suspects_of
from streams.explanations.explained import FEW_GOLDS, golds_are_few, stands_alone, which
from streams.explanations.grouping import MAX_CLASSES, Group, rows_of
from streams.explanations.question import HOUR_MS, Period, enough_before
from streams.explanations.sql_text import literal, with_literals
from tests.builders import HOSTILE_IDS, START_MS

DAY = 24 * HOUR_MS
SINCE = START_MS


def question(**changes: Any) -> Question:
    asked: dict[str, Any] = {"metric": "gold_accuracy", "since_ms": SINCE, "at_ms": SINCE + HOUR_MS, "baseline": 0.9}
    return Question(**{"direction": "down", **asked, **changes})


def task(**changes: Any) -> TaskConfidenceRow:
    return TaskConfidenceRow("p", "t", "box", "cat", 0.9, 3, None, SINCE, 0, 1)._replace(**changes)


def score(number: int, at: int, labeler: str, right: bool, **changes: Any) -> AnnotationScoreRow:
    label = "cat" if right else "dog"
    return AnnotationScoreRow(
        "p", "box", "v", at, f"t{number}", f"e{number}", labeler, "human", "class", label, None, None, right, at, 9.0,
        None, False, False, at, 0, number,
    )._replace(**changes)  # fmt: skip


# ---- periods


def test_a_week_before_is_compared_with_what_came_since() -> None:
    asked = question()
    assert asked.before == Period(SINCE - 7 * DAY, SINCE)
    assert asked.after == Period(SINCE, SINCE + HOUR_MS + 1)
    assert question(at_ms=SINCE + 30 * DAY).after.from_ms == SINCE + 23 * DAY
    assert question(since_ms=5, at_ms=5).before == Period(0, 5)


def test_times_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="the times are not in order"):
        question(at_ms=SINCE - 1)


@pytest.mark.parametrize(
    ("an_hour", "hours"),
    [(0, 168), (100, 168), (150, 144), (1_000, 24), (1_100, 22), (25_000, 1), (30_000, 1)],
)
def test_before_is_as_many_whole_days_or_hours_as_are_few_enough(an_hour: int, hours: int) -> None:
    assert enough_before(30 * DAY, lambda hour: an_hour, most=25_000) == Period(30 * DAY - hours * HOUR_MS, 30 * DAY)


# ---- rows


def test_rare_classes_are_one() -> None:
    groups = [Group("w", "v", "box", f"c{n:02}", "c00", "", False, 30 - n, 1.0, 1.0) for n in range(30)]
    rows = rows_of(groups, mean=False)
    told = {row.true_class for row in rows}
    assert told == {"", *(f"c{n:02}" for n in range(MAX_CLASSES))}
    (rest,) = [row for row in rows if not row.true_class]
    assert (rest.answer, rest.before) == ("", Totals(sum(range(1, 11)), 10.0))


def test_means_have_squares_and_rates_none() -> None:
    group = Group("w", "v", "box", "", "", "", True, 2, 30.0, 500.0)
    assert rows_of([group], mean=True)[0].after == Totals(2, 30.0, 500.0)
    assert rows_of([group], mean=False)[0].after == Totals(2, 30.0)


# ---- which evidence


def level(labelers: dict[str, tuple[int, float, float]]) -> Explanation:
    """An explanation of labelers' answers, rate before and rate after; ten times as many before."""
    return explain(
        Row(name, "v", Totals(10 * n, 10 * n * before), Totals(n, n * after))
        for name, (n, before, after) in labelers.items()
    )


def test_golds_are_few_by_the_labeler_in_the_middle() -> None:
    def rows(*golds: int) -> list[Row]:
        return [Row(f"w{n}", "v", Totals(1_000, 900), Totals(count, 0.0)) for n, count in enumerate(golds)]

    assert golds_are_few(rows(FEW_GOLDS, FEW_GOLDS - 1, 0, 0, 0, FEW_GOLDS - 1))
    assert not golds_are_few(rows(FEW_GOLDS, FEW_GOLDS, 5, 0, 0, 0))
    assert golds_are_few([])


def test_consensus_is_believed_if_it_shows_the_change() -> None:
    gold = level({"a": (20, 0.9, 0.3), "b": (20, 0.9, 0.9)})
    bad = {"a": (200, 0.9, 0.3), "b": (200, 0.9, 0.9)}
    same = {"a": (200, 0.9, 0.7), "b": (200, 0.9, 0.9)}
    assert which(gold, None) == "as asked"
    assert which(None, gold) == "by consensus"
    assert which(gold, level(bad)) == "by consensus"
    assert which(gold, level(same)) == "as asked"
    few = level({"a": (1, 0.9, 0.0), "b": (1, 0.9, 1.0)})
    assert few.cause.verdict is Verdict.UNCLEAR
    assert which(gold, few) == "as asked"


@pytest.mark.parametrize(
    ("gold_says", "believed"),
    [(Verdict.EVERYONE, "by consensus"), (Verdict.UNCLEAR, "by consensus"), (Verdict.LABELERS, "as asked")],
)
def test_a_pair_that_the_consensus_names_is_believed_where_gold_tells_nobody_apart(
    gold_says: Verdict, believed: str
) -> None:
    """The consensus follows a new guideline, and hardly falls."""
    gold, judged = level({"a": (20, 0.9, 0.3)}), level({"a": (200, 0.9, 0.8)})
    gold = replace(gold, cause=gold.cause._replace(verdict=gold_says))
    assert which(gold, replace(judged, cause=judged.cause._replace(verdict=Verdict.CLASS_PAIR))) == believed
    assert which(gold, replace(judged, cause=judged.cause._replace(verdict=Verdict.EVERYONE))) == "as asked"


def test_who_is_tested_more_often_counts_more() -> None:
    """A labeler of ten is bad, and has half of the golds: consensus shows a fifth of the change, and is believed."""
    gold = level({"bad": (90, 0.9, 0.3), **{f"w{n}": (10, 0.9, 0.9) for n in range(9)}})
    everyone = level({"bad": (100, 0.9, 0.3), **{f"w{n}": (100, 0.9, 0.9) for n in range(9)}})
    assert everyone.change / gold.change < 0.25
    assert which(gold, everyone) == "by consensus"


async def test_no_gold_before_the_change_leaves_the_consensus() -> None:
    store = Recorder()
    for number in range(2_000):
        labeler, at = f"w{number % 4}", SINCE - 5 * HOUR_MS + number * 10_000
        right = number % 20 != 7 and not (labeler == "w3" and at >= SINCE and number % 8 == 7)
        gold = {"gold_label": "cat", "gold_correct": right} if at >= SINCE and number % 3 == 0 else {}
        store.record(score(number, at, labeler, right, **gold))
        store.record(task(task_id=f"t{number}"))
    found = await why(question(project_id="p", at_ms=SINCE + 2 * HOUR_MS), store)
    assert isinstance(found, Why)
    assert (found.asked, found.based_on, found.explanation) == (None, "by consensus", found.judged)
    assert found.explanation.cause.named == (Named("labeler", "w3"),)
    assert found.explanation.without is not None
    assert found.affected is not None


@pytest.mark.parametrize("metric", ["volume", "krippendorff_alpha", "lag_seconds"])
async def test_what_is_not_made_of_answers_is_not_explained(metric: MetricName) -> None:
    found = await why(question(metric=metric), Recorder())
    assert isinstance(found, Unexplained)
    assert metric in found.reason


async def test_nothing_to_compare_is_said() -> None:
    assert await why(question(), Recorder()) == Unexplained(
        "there are no answers before the change, or none since, to compare"
    )


async def test_the_recorder_forgets_what_was_recorded_first() -> None:
    store = Recorder(max_answers=10)
    for number in range(30):
        store.record(score(number, SINCE + number, f"w{number}", True))
    rows = await store.rows(question(metric="late_share"))
    assert {row.labeler for row in rows} == {f"w{number}" for number in range(20, 30)}


def test_what_leads_in_every_dimension() -> None:
    rows = [
        Row(f"w{n}", "v", Totals(200, 184), Totals(0, 0), "box", "cat") for n in range(4)
    ] + [
        Row(f"w{n}", "v", Totals(0, 0), Totals(50, right), "box", "cat", "", hour)
        for n in range(4) for hour, right in (("09", 46), ("10", 5 if n == 3 else 45))
    ]  # fmt: skip
    found = Why(explain(rows), None, "as asked", None)
    labeler, hour = found.leading()
    assert (labeler[:2], hour[:2]) == (("labeler", "w3"), ("hour", "10"))
    assert labeler.share == pytest.approx(41 / 44)
    assert hour.share == pytest.approx(1.0)


# ---- affected tasks


@pytest.mark.parametrize(
    ("answers", "about", "rests"),
    [
        ("cat! cat cat", {}, False),
        ("cat! cat", {}, True),
        ("cat! cat dog", {}, True),
        ("cat! dog dog", {}, True),
        ("cat! cat cat dog", {}, False),
        ("cat cat", {}, False),
        ("dog! cat cat", {}, False),
        ("cat!", {"truth": "cat"}, False),
        ("cat!", {"consensus_label": ""}, False),
    ],
)
def test_a_task_rests_on_suspects(answers: str, about: dict[str, Any], rests: bool) -> None:
    """``!``: is suspect. The consensus is cat."""
    given = [(one.rstrip("!"), one.endswith("!")) for one in answers.split()]
    assert rests_on_suspects(given, task(**about)) is rests
    assert not rests_on_suspects(given, None)


def caused(verdict: Verdict, *named: tuple[str, str], swapped: bool = False) -> Explanation:
    found = level({"a": (20, 0.9, 0.3), "b": (20, 0.9, 0.9)})
    return replace(found, cause=Cause(verdict, tuple(Named(*one) for one in named), swapped, 1.0, 9.0, 9.0, None))


def test_suspects_are_who_or_what_is_named() -> None:
    def of(why: Explanation, metric: MetricName = "gold_accuracy") -> Suspects | None:
        return suspects_of(question(metric=metric), why)

    labelers = caused(Verdict.LABELERS, *(("labeler", f"w{n}") for n in range(MAX_LABELERS + 9)))
    assert of(labelers) == Suspects(tuple(f"w{n}" for n in range(MAX_LABELERS)))
    assert of(labelers, "late_share") is None
    assert of(caused(Verdict.VENDOR, ("vendor", "v"), ("task_type", "box"))) == Suspects((), "v", "box")
    pair = (("task_type", "box"), ("true_class", "cat"), ("answer", "dog"))
    assert of(caused(Verdict.CLASS_PAIR, *pair)) == Suspects((), "", "box", ("dog",))
    assert of(caused(Verdict.CLASS_PAIR, *pair, swapped=True)) == Suspects((), "", "box", ("cat", "dog"))
    assert of(caused(Verdict.EVERYONE)) == Suspects()
    assert suspects_of(question(labeler_id="ana"), caused(Verdict.UNCLEAR)) == Suspects(("ana",))
    assert of(caused(Verdict.MIX)) is None
    assert of(caused(Verdict.UNCLEAR)) is None


def test_of_a_class_the_answers_it_is_taken_for_are_suspect() -> None:
    """Not those it is taken for less often than before."""
    answers = {"cat": (80, 30), "dog": (2, 30), "cow": (2, 40), "owl": (16, 0)}
    found = explain(
        Row(f"w{n}", "v", Totals(before, before * right), Totals(after, after * right), "box", "cat", answer)
        for n in range(6)
        for answer, (before, after) in answers.items()
        for right in [answer == "cat"]
    )
    cause = Cause(Verdict.CLASS_PAIR, (Named("true_class", "cat"),), False, 1.0, 9.0, 9.0, None)
    assert suspects_of(question(), replace(found, cause=cause)) == Suspects((), "", "", ("cow", "dog"))


# ---- SQL for people


@pytest.mark.parametrize("value", [*HOSTILE_IDS, "x' OR 1=1 --", "\\", "\\'", "`", "{n:Int64}", "\ud800"])
def test_a_literal_ends_where_its_value_does(value: str) -> None:
    text = literal(value)
    assert text[0] == text[-1] == "'"
    inside = text[1:-1]
    assert inside.isprintable()
    assert not set("'`<>&{}") & set(inside)
    assert inside.replace("\\x", "").count("\\") == 0
    back = inside.encode().decode("unicode_escape").encode("latin-1") if inside.isascii() else None
    if back is not None:
        assert back == value.encode("utf-8", "surrogatepass")


def test_what_is_no_value_is_refused() -> None:
    for value in (None, 1.5, True, [1]):
        with pytest.raises(TypeError, match="cannot be written into SQL"):
            literal(value)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(KeyError):
        with_literals("SELECT {a:String}", {})


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_the_query_has_every_value_and_no_placeholder(name: str) -> None:
    asked = question(project_id=name, task_type=name, vendor_id=name, labeler_id=name)
    text = list_query(asked, Suspects((name, name), name, name, (name,)))
    sql, parameters = list_sql(asked, Suspects((name, name), name, name, (name,)))
    assert "{" not in text
    assert "`" not in text
    assert "<" not in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("'") - sql.count("'") >= 2 * 4
    assert {key: value for key, value in parameters.items() if isinstance(value, str)} == dict.fromkeys(
        ("project_id", "task_type", "vendor_id", "labeler_id", "suspect_vendor", "suspect_type"), name
    )
    assert name not in sql or len(name) < 3


# ---- agreement, and labelers who do what all do


def test_agreement_is_explained_by_what_is_believed_now() -> None:
    bad = level({"a": (200, 0.9, 0.3), "b": (200, 0.9, 0.9)})
    few = level({"a": (1, 0.9, 0.0), "b": (1, 0.9, 1.0)})
    assert which(bad, few, "consensus_agreement") == "by consensus"
    assert which(bad, None, "consensus_agreement") == "as asked"


def test_what_more_answers_leave_open_gold_does_not_decide() -> None:
    gold = level({"a": (20, 0.9, 0.3), "b": (20, 0.9, 0.9)})
    many = replace(gold, cause=caused(Verdict.UNCLEAR).cause, answers_after=100.0)
    assert which(gold, many) == "by consensus"


@pytest.mark.parametrize("swapping", [8, 1])
async def test_a_labeler_who_swaps_classes_as_all_do_is_not_alone(swapping: int) -> None:
    store = Recorder()
    for number in range(4_000):
        who, at, true = number % 8, SINCE - 5 * HOUR_MS + number * 6_000, ("cat", "dog", "owl")[number // 8 % 3]
        is_swapped = at >= SINCE and who < swapping and true != "owl"
        label = {"cat": "dog", "dog": "cat"}[true] if is_swapped else "owl" if number % 29 == 7 else true
        changes = {"label": label, "gold_label": true, "gold_correct": label == true}
        store.record(score(number, at, f"w{who}", True, **changes))
        store.record(task(task_id=f"t{number}", truth=true, consensus_label=true))
    found = await why(question(labeler_id="w0", at_ms=SINCE + 2 * HOUR_MS), store)
    assert isinstance(found, Why)
    assert (found.shared is not None) is (swapping == 8)
    if found.shared is not None:
        assert found.explanation.cause.verdict is Verdict.CLASS_PAIR
        assert found.affected is not None


@pytest.mark.parametrize(("answers", "well"), [(1, False), (20, True)])
def test_a_labeler_is_alone_if_the_others_were_heard_and_are_well(answers: int, well: bool) -> None:
    everybody = level({"a": (20, 0.9, 0.2), "b": (answers, 0.9, 0.9), "c": (answers, 0.9, 0.9)})
    assert stands_alone("a", everybody) is well


@pytest.mark.parametrize(("after", "shared"), [(0.5, True), (0.05, False)])
def test_what_all_do_alike_is_not_one_labelers_unless_it_is_half_of_it_at_most(after: float, shared: bool) -> None:
    everybody = level({f"w{number}": (100, 0.9, 0.5) for number in range(8)})
    assert everybody.cause.verdict is Verdict.EVERYONE
    assert is_shared(level({"a": (100, 0.9, after)}), everybody) is shared


async def test_a_labeler_who_is_alone_at_work_may_be_as_bad_as_all() -> None:
    def stored(others: int) -> Recorder:
        store = Recorder()
        for number in range(2_000):
            who, at = number % 4, SINCE - 5 * HOUR_MS + number * 10_000
            if at < SINCE or who == 3 or number % 100 < others:
                right = number % 19 != 7 and not (at >= SINCE and who == 3 and number % 8 == 7)
                store.record(score(number, at, f"w{who}", right, gold_label="cat", gold_correct=right))
                store.record(task(task_id=f"t{number}", truth="cat", consensus_label="cat"))
        return store

    for others, is_alone in ((0, False), (60, True)):
        found = await why(question(labeler_id="w3", at_ms=SINCE + 2 * HOUR_MS), stored(others))
        assert isinstance(found, Why)
        assert found.is_alone is is_alone
