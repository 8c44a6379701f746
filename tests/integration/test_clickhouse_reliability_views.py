"""Views of reliability, confidence and agreement, against figures computed by hand or by another library."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import clickhouse_connect
import krippendorff
import pytest

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from detectors.agreement import Coincidences, alpha_interval, alpha_nominal, alpha_ordinal, unit_contribution
from schemas.rows import ReviewRow, TaskConfidenceRow, WindowPartialRow
from schemas.times import to_ms
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from tests.builders import START, START_MS, outcome_row, reliability_row

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
LEVELS = ("nominal", "ordinal", "interval")


@pytest.fixture
async def sink(stack: EmbeddedStack) -> AsyncIterator[ClickHouseSink]:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"views_{uuid.uuid4().hex}")
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False) as client:
        client.database = settings.database
        migrate(client)
    made = ClickHouseSink(settings)
    yield made
    await made.close()


async def test_the_leaderboard_has_the_latest_of_each_labeler(sink: ClickHouseSink) -> None:
    latest = reliability_row(at=120, labels=120, accuracy=0.8, accuracy_low=0.72, version=1)
    history = [
        latest,
        reliability_row(at=0, version=9),  # a higher version, of an earlier minute
        reliability_row(at=60, labels=110),
        latest._replace(labels=121, version=2),
        reliability_row(at=30, task_type="text_class", labels=7),
    ]
    lucky = reliability_row(labeler_id="lucky", labels=3, accuracy=1.0, accuracy_low=0.4)
    opinion = reliability_row(
        labeler_id="zoe", form="subjective", accuracy=None, accuracy_low=None, accuracy_high=None, stability=0.9
    )
    await sink.fetch("SYSTEM STOP MERGES labeler_reliability")  # or they would hide that versions have met
    for row in [*history, lucky, opinion]:
        await sink.write({"labeler_reliability": [row]})
    found = await sink.fetch(
        """SELECT labeler_id, accuracy_low, accuracy, labels, form, stability, last_seen FROM labeler_leaderboard
           WHERE project_id = 'animals' AND task_type = 'image_class' ORDER BY accuracy_low DESC NULLS LAST"""
    )
    assert found == [
        ("ana", 0.72, 0.8, 121, "confusion", None, START + timedelta(seconds=120)),
        ("lucky", 0.4, 1.0, 3, "confusion", None, START),  # more accurate so far, and yet below
        ("zoe", None, None, 100, "subjective", 0.9, START),
    ]
    found = await sink.fetch("SELECT labeler_id, labels FROM labeler_leaderboard WHERE task_type = 'text_class'")
    assert found == [("ana", 7)]
    found = await sink.fetch("SELECT labels FROM labeler_reliability_current WHERE labeler_id = 'ana' ORDER BY as_of")
    assert found == [(100,), (7,), (110,), (121,)], "the history has each minute once"


async def test_the_leaderboard_does_not_read_old_history(sink: ClickHouseSink) -> None:
    for month in range(6):
        await sink.write({"labeler_reliability": [reliability_row(at=month * 31 * 86_400)]})
    for view in ("labeler_leaderboard", "confusion_pairs"):
        plan = " ".join(line.strip() for (line,) in await sink.fetch(f"EXPLAIN indexes = 1 SELECT * FROM {view}"))
        assert "Parts: 1/6" in plan, plan


async def test_confusion_pairs_are_the_mistakes_of_the_latest_row(sink: ClickHouseSink) -> None:
    rows = [
        reliability_row(at=0, confusion_true=["fox"], confusion_answer=["cat"], confusion_weight=[5.0]),
        reliability_row(
            at=60,
            confusion_true=["cat", "cat", "cat", "dog", "dog", "fox"],
            confusion_answer=["cat", "dog", "fox", "cat", "dog", "dog"],
            confusion_weight=[30.0, 8.0, 2.0, 0.0, 40.0, 0.25],
        ),
        reliability_row(labeler_id="ben", confusion_true=[], confusion_answer=[], confusion_weight=[]),
    ]
    await sink.fetch("SYSTEM STOP MERGES labeler_reliability")
    await sink.write({"labeler_reliability": rows})
    await sink.write({"labeler_reliability": rows})  # a replay
    found = await sink.fetch(
        "SELECT labeler_id, true_label, answer, weight, share, last_seen FROM confusion_pairs ORDER BY weight DESC"
    )
    seen = START + timedelta(minutes=1)
    assert found == [
        ("ana", "cat", "dog", 8.0, 0.2, seen),  # of 40 cats
        ("ana", "cat", "fox", 2.0, 0.05, seen),
        ("ana", "fox", "dog", 0.25, 1.0, seen),
    ]


async def test_calibration_by_hand(sink: ClickHouseSink) -> None:
    rows = [
        outcome_row("a", 0.95, is_right=True, raw_confidence=0.99, version=2),
        outcome_row("a", 0.15, is_right=False, version=1),  # was settled otherwise before
        outcome_row("b", 0.95, is_right=False, raw_confidence=0.99),
        outcome_row("c", 1.0, is_right=True, raw_confidence=0.5),
        outcome_row("d", 0.7, is_right=True, raw_confidence=0.5),
        outcome_row("e", 0.72, is_right=False, raw_confidence=0.5),
        outcome_row("f", 0.0, is_right=False, raw_confidence=0.3),
        outcome_row("no answers", 0.0, is_right=False, labels=0),  # no forecast
        outcome_row("other day", 0.6, is_right=True, settled_at=START_MS + DAY_MS),
        outcome_row("other type", 0.1, is_right=True, task_type="text_class"),
    ]
    await sink.fetch("SYSTEM STOP MERGES confidence_outcomes")
    for row in rows:
        await sink.write({"confidence_outcomes": [row]})
    day = "WHERE day = '2026-01-05' AND project_id = 'animals' AND task_type = 'image_class'"
    bins = await sink.fetch(
        f"""SELECT bin, tasks, tasks_right, mean_confidence, share_right,
                   raw_tasks, raw_tasks_right, raw_mean_confidence, raw_share_right
            FROM calibration {day} ORDER BY bin"""
    )
    assert bins == [
        (0, 1, 0, 0.0, 0.0, 0, 0, None, None),
        (3, 0, 0, None, None, 1, 0, 0.3, 0.0),
        (5, 0, 0, None, None, 3, 2, 0.5, 2 / 3),
        (7, 2, 1, pytest.approx(0.71), 0.5, 0, 0, None, None),
        (9, 3, 2, pytest.approx(2.9 / 3), 2 / 3, 2, 1, pytest.approx(0.99), 0.5),
    ]
    ((tasks, right, mean, raw_mean, ece, raw_ece, brier, raw_brier),) = await sink.fetch(
        f"""SELECT tasks, share_right, mean_confidence, raw_mean_confidence, ece, raw_ece, brier, raw_brier
            FROM calibration_daily {day}"""
    )
    assert (tasks, right) == (6, 0.5)
    assert mean == pytest.approx((0.95 + 0.95 + 1.0 + 0.7 + 0.72) / 6)
    assert raw_mean == pytest.approx((2 * 0.99 + 3 * 0.5 + 0.3) / 6)
    assert ece == pytest.approx((abs(2.9 - 2) + abs(1.42 - 1) + 0) / 6)
    assert raw_ece == pytest.approx((abs(1.98 - 1) + abs(1.5 - 2) + 0.3) / 6)
    assert brier == pytest.approx((0.05**2 + 0.95**2 + 0 + 0.3**2 + 0.72**2 + 0) / 6)
    assert raw_brier == pytest.approx((0.01**2 + 0.99**2 + 3 * 0.5**2 + 0.3**2) / 6)
    found = await sink.fetch("SELECT day, task_type, tasks, ece FROM calibration_daily ORDER BY day, task_type")
    assert found == [
        (date(2026, 1, 5), "image_class", 6, ece),
        (date(2026, 1, 5), "text_class", 1, pytest.approx(0.9)),
        (date(2026, 1, 6), "image_class", 1, pytest.approx(0.4)),
    ]


@pytest.mark.parametrize("edge", range(11))
async def test_a_bin_starts_with_its_lower_edge(sink: ClickHouseSink, edge: int) -> None:
    await sink.write({"confidence_outcomes": [outcome_row("t", edge / 10, is_right=True)]})
    found = await sink.fetch("SELECT bin, tasks, raw_tasks FROM calibration")
    assert found == [(min(edge, 9), 1, 1)]


async def test_a_tasks_truth_is_the_rows(sink: ClickHouseSink) -> None:
    """Not that of the reviews table, which may be ahead of what was applied."""

    def task(name: str, truth: str | None, source: str, **more: Any) -> TaskConfidenceRow:
        row = TaskConfidenceRow("p", name, "t", "cat", 0.5, 2, None, START_MS, 0, 1, truth=truth, truth_source=source)
        return row._replace(**more)

    tasks = [
        task("bare", None, "", raw_confidence=0.75, entropy=0.5, posterior={"cat": 0.75, "dog": 0.25}),
        task("gold", "dog", "gold", gold_label="dog"),
        task("reviewed", "fox", "review", gold_label="dog", is_subjective=True),
    ]
    review = ReviewRow("p", "bare", "", "rob", START_MS, "cat", None, START_MS, 0, 1)
    await sink.fetch("SYSTEM STOP MERGES task_confidence")
    await sink.write({"task_confidence": [task("gold", None, "", version=0)]})
    await sink.write({"task_confidence": tasks, "reviews": [review]})
    found = await sink.fetch(
        """SELECT task_id, truth, truth_source, raw_confidence, entropy, posterior, is_subjective
           FROM task_confidence_current ORDER BY task_id"""
    )
    assert found == [
        ("bare", None, None, 0.75, 0.5, {"cat": 0.75, "dog": 0.25}, False),
        ("gold", "dog", "gold", 0.0, 0.0, {}, False),
        ("reviewed", "fox", "review", 0.0, 0.0, {}, True),
    ]


def window(minute: datetime, sums: Coincidences, *, vendor: str = "acme", partition: int = 0, first: int = 0) -> Any:
    """A partial that holds agreement alone."""
    ids = (to_ms(minute), "animals", "quality", vendor, partition, first, first)
    rest = (0,) * 8 + (0, {}, 0, 0, 0, [], [], {})
    return WindowPartialRow(*ids, *rest, *sums.to_plain())


def units_of(rng: random.Random, tasks: int, values: list[str]) -> list[list[str]]:
    """Answers by task, from one to six; most are alike."""
    truths = [rng.choice(values) for _ in range(tasks)]
    return [[truth if rng.random() < 0.6 else rng.choice(values) for _ in range(rng.randint(1, 6))] for truth in truths]


def reference(units: list[list[str]], level: str, *, numeric: bool) -> float:
    """Alpha by the krippendorff package."""
    convert: Any = float if numeric else str
    domain = sorted({convert(value) for unit in units for value in unit})
    counts = [[[convert(value) for value in unit].count(one) for one in domain] for unit in units]
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
async def test_alpha_is_that_of_the_krippendorff_package(sink: ClickHouseSink, seed: int) -> None:
    """By hour and vendor, of windows in pieces by partition, with corrections of what came late."""
    rng = random.Random(seed)
    values = ["-1", "0", "2.5", "3", "10", "1e+06"] if seed == 0 else [str(value) for value in range(1, 13)]
    rows, units_by = [], {}
    for hour in range(2):
        for vendor in ("acme", "漢"):
            units = units_by[START + timedelta(hours=hour), vendor] = units_of(rng, 80, values)
            for number, unit in enumerate(units):
                at = START + timedelta(hours=hour, minutes=number % 60)
                early = Coincidences()
                early.add(unit_contribution(Counter(unit[:-1]), numeric=True))
                late = Coincidences()
                late.add(unit_contribution(Counter(unit), numeric=True))
                late.add(unit_contribution(Counter(unit[:-1]), numeric=True), -1)
                rows += [
                    window(at, share, vendor=vendor, partition=number, first=first)
                    for first, share in enumerate((early, late))
                ]
    assert min(min(row.agreement_weight, default=0) for row in rows) < 0, "some corrections must be negative"
    rng.shuffle(rows)
    for row in rows[::50]:
        await sink.write({"window_partials": [row]})  # twice, so that versions meet
    await sink.write({"window_partials": rows})
    found = await sink.fetch(
        """SELECT hour, vendor_id, units, answers, alpha_nominal, alpha_ordinal, alpha_interval
           FROM agreement_by_hour WHERE project_id = 'animals' ORDER BY hour, vendor_id"""
    )
    assert [row[:2] for row in found] == sorted(units_by)
    for *key, units, answers, nominal, ordinal, interval in found:
        comparable = [unit for unit in units_by[tuple(key)] if len(unit) > 1]
        assert (units, answers) == (len(comparable), sum(map(len, comparable)))
        assert (nominal, ordinal, interval) == pytest.approx(
            tuple(reference(comparable, level, numeric=True) for level in LEVELS), abs=1e-7
        )
        sums = Coincidences()
        for unit in comparable:
            sums.add(unit_contribution(Counter(unit), numeric=True))
        ours = (alpha_nominal(sums), alpha_ordinal(sums), alpha_interval(sums))
        assert (nominal, ordinal, interval) == pytest.approx(ours, abs=1e-9)


async def test_alpha_by_hand(sink: ClickHouseSink) -> None:
    """Three tasks, cat-cat, cat-dog and dog-dog: n = 6, half of it dogs. 1 - 5 * 2 / (36 - 18) = 4 / 9."""
    sums = Coincidences(3, 6, {("cat", "cat"): 2 * 10**9, ("cat", "dog"): 2 * 10**9, ("dog", "dog"): 2 * 10**9})
    await sink.write({"window_partials": [window(START, sums)]})
    (found,) = await sink.fetch("SELECT hour, units, answers, alpha_nominal FROM agreement_by_hour")
    assert found == (START, 3, 6, pytest.approx(4 / 9))


async def test_alpha_is_null_where_it_is_not_defined(sink: ClickHouseSink) -> None:
    contents: dict[str, tuple[list[list[str]], bool]] = {
        "all the same": ([["3", "3"], ["3", "3", "3"]], True),
        "classes": ([["cat", "cat"], ["cat", "dog"]], False),
        "inf": ([["inf", "inf"], ["nan", "1"]], False),
        "no pairs": ([["cat"], ["dog"]], False),
        "numbered classes": ([["1", "1"], ["2", "2"], ["01", "2"]], False),
    }
    rows = []
    for vendor, (units, numeric) in contents.items():
        sums = Coincidences()
        for unit in units:
            sums.add(unit_contribution(Counter(unit), numeric=numeric))
        rows.append(window(START, sums, vendor=vendor))
    gone = Coincidences()
    gone.add(unit_contribution({"cat": 1, "dog": 1}))
    back = Coincidences()
    back.add(unit_contribution({"cat": 1, "dog": 1}), -1)
    rows += [window(START, gone, vendor="gone"), window(START, back, vendor="gone", first=1)]
    await sink.write({"window_partials": rows})
    found = {
        vendor: [alpha is not None for alpha in alphas]
        for vendor, *alphas in await sink.fetch(
            "SELECT vendor_id, alpha_nominal, alpha_ordinal, alpha_interval FROM agreement_by_hour"
        )
    }
    assert found == {
        "all the same": [False, False, False],
        "classes": [True, False, False],
        "inf": [True, False, False],
        "numbered classes": [True, True, False],
    }


@pytest.mark.parametrize(("view", "column"), [("agreement_by_hour", "hour"), ("labeler_reliability_current", "as_of")])
async def test_a_bound_on_time_reaches_the_partitions(sink: ClickHouseSink, view: str, column: str) -> None:
    sums = Coincidences(1, 2, {("cat", "cat"): 2 * 10**9})
    for month in range(6):
        at = datetime(2026, 1 + month, 5, tzinfo=UTC)
        row = reliability_row(as_of=to_ms(at))
        await sink.write({"window_partials": [window(at, sums)], "labeler_reliability": [row]})
    query = f"SELECT * FROM {view} WHERE {column} >= '2026-05-01 00:00:00'"
    assert len(await sink.fetch(query)) == 2
    plan = " ".join(line.strip() for (line,) in await sink.fetch(f"EXPLAIN indexes = 1 {query}"))
    assert "Parts: 2/6" in plan, plan
