"""Views of handling time, against figures computed by hand or in plain Python."""

from __future__ import annotations

import math
import random
import statistics
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import clickhouse_connect
import pytest

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.rows import AnnotationScoreRow, WindowPartialRow
from schemas.times import to_ms
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from tests.builders import START, START_MS

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000


@pytest.fixture
async def sink(stack: EmbeddedStack) -> AsyncIterator[ClickHouseSink]:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"views_{uuid.uuid4().hex}")
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False) as client:
        client.database = settings.database
        migrate(client)
    made = ClickHouseSink(settings)
    yield made
    await made.close()


def score(number: int, seconds: float, expected: float | None = None, **overrides: Any) -> AnnotationScoreRow:
    """Ana's annotation of a task of that number, a second after the one before; no gold, no intervals."""
    return AnnotationScoreRow(
        project_id="animals",
        task_type="image_class",
        vendor_id="acme",
        submitted_at=START_MS + number * 1_000,
        task_id=f"t-{number}",
        event_id=f"e-{number}",
        labeler_id="ana",
        labeler_kind="human",
        label_kind="class",
        label="cat",
        gold_label=None,
        gold_correct=None,
        agrees_with_consensus=None,
        started_at=START_MS,
        handling_seconds=seconds,
        expected_handling_seconds=expected,
        is_revision=False,
        is_late=False,
        ingested_at=to_ms(datetime.now(UTC)),  # or retention would drop them
        source_partition=0,
        source_offset=number,
    )._replace(**overrides)


def bounds(low_90: float, low_50: float, high_50: float, high_90: float) -> dict[str, float]:
    return {
        "handling_low_50": low_50,
        "handling_high_50": high_50,
        "handling_low_90": low_90,
        "handling_high_90": high_90,
    }


def judged(p_value: float) -> dict[str, Any]:
    return {"handling_p_value": p_value, "is_too_fast": p_value <= 0.025, "is_too_slow": p_value >= 0.975}


async def write(sink: ClickHouseSink, rows: Iterable[AnnotationScoreRow]) -> None:
    """Each twice, in different parts, as a replay does: versions of a row must meet when it is read."""
    rows = list(rows)
    await sink.fetch("SYSTEM STOP MERGES annotation_scores")
    await sink.write({"annotation_scores": [row._replace(handling_seconds=1e6, source_offset=0) for row in rows[1:]]})
    await sink.write({"annotation_scores": rows})
    await sink.write({"annotation_scores": rows[:1]})


class TestAccuracy:
    async def test_by_hand(self, sink: ClickHouseSink) -> None:
        usual = bounds(5, 8, 16, 20)
        await write(
            sink,
            [
                score(0, 12.0, 10.0, **usual, **judged(0.6)),  # inside both: error 2
                score(1, 4.0, 10.0, **usual, **judged(0.02)),  # below both: error 6
                score(2, 18.0, 10.0, **usual, **judged(0.975)),  # inside 90 % only: error 8
                score(3, 0.5, 1.5),  # error 1, no interval, too short for a relative error
                score(4, 30.0, None),  # no forecast
                score(5, 0.0, 10.0, **usual, time_flag="impossible"),
                score(6, 3_610.0, 10.0, **bounds(5, 8, 16, 40), **judged(1.0), time_flag="idle"),  # error 3,600
                score(7, 9.0, 10.0, labeler_kind="model"),
                score(8, 9.0, 11.0, submitted_at=START_MS + DAY_MS),
            ],
        )
        found = await sink.fetch(
            """SELECT annotations, forecast_seen, mae_seconds, median_absolute_error_seconds, mape, interval_seen,
                      pinball_seconds, coverage_50, coverage_90, width_90_log, judged, n_too_fast, n_too_slow,
                      share_too_fast, share_too_slow, n_flagged, share_flagged
               FROM handling_time_accuracy
               WHERE day = '2026-01-05' AND project_id = 'animals' AND task_type = 'image_class'
                 AND labeler_kind = 'human'"""
        )
        # Above a bound b, the loss of quantile q is q * (y - b), below it (1 - q) * (b - y). Bounds 5 8 10 16 20:
        losses = [
            0.05 * 7 + 0.25 * 4 + 0.5 * 2 + 0.25 * 4 + 0.05 * 8,  # of 12
            0.95 * 1 + 0.75 * 4 + 0.5 * 6 + 0.25 * 12 + 0.05 * 16,  # of 4
            0.05 * 13 + 0.25 * 10 + 0.5 * 8 + 0.75 * 2 + 0.05 * 2,  # of 18
            0.05 * 3_605 + 0.25 * 3_602 + 0.5 * 3_600 + 0.75 * 3_594 + 0.95 * 3_570,  # of 3,610
        ]
        mae = pytest.approx((2 + 6 + 8 + 1 + 3_600) / 5)
        mape = pytest.approx((2 / 12 + 6 / 4 + 8 / 18 + 3_600 / 3_610) / 4)
        pinball = pytest.approx(sum(losses) / 5 / 4)
        width = pytest.approx((3 * math.log(4) + math.log(8)) / 4)
        speeds = (4, 1, 2, 0.25, 0.5, 2, pytest.approx(2 / 7))
        assert found == [(7, 5, mae, 6.0, mape, 4, pinball, 0.25, 0.5, width, *speeds)]
        found = await sink.fetch(
            """SELECT day, labeler_kind, forecast_seen, mae_seconds, pinball_seconds, coverage_50, coverage_90,
                      width_90_log, share_too_fast, share_too_slow, share_flagged
               FROM handling_time_accuracy ORDER BY day, labeler_kind"""
        )
        assert [row[:2] for row in found] == [
            (date(2026, 1, 5), "human"),
            (date(2026, 1, 5), "model"),
            (date(2026, 1, 6), "human"),
        ]
        assert found[1][2:] == (1, 1.0, None, None, None, None, None, None, 0.0)
        assert found[2][2:] == (1, 2.0, None, None, None, None, None, None, 0.0)

    async def test_an_impossible_time_is_only_flagged(self, sink: ClickHouseSink) -> None:
        await write(sink, [score(0, 0.0, 10.0, **bounds(0.1, 1, 2, 3), time_flag="impossible")])
        found = await sink.fetch(
            """SELECT annotations, forecast_seen, mae_seconds, median_absolute_error_seconds, mape, interval_seen,
                      pinball_seconds, coverage_50, coverage_90, width_90_log, n_flagged FROM handling_time_accuracy"""
        )
        assert found == [(1, 0, None, None, None, 0, None, None, None, None, 1)]

    async def test_bounds_belong_to_their_intervals(self, sink: ClickHouseSink) -> None:
        """And the median of an even number of errors is between them."""
        usual = bounds(5, 8, 16, 20)
        await write(sink, [score(n, seconds, 10.0, **usual) for n, seconds in enumerate((5.0, 8.0, 16.0, 20.0))])
        found = await sink.fetch(
            "SELECT coverage_50, coverage_90, median_absolute_error_seconds FROM handling_time_accuracy"
        )
        assert found == [(0.5, 1.0, 5.5)]

    async def test_pinball_is_that_of_its_definition(self, sink: ClickHouseSink) -> None:
        rng, rows, losses = random.Random(7), [], []
        for number in range(300):
            stated = sorted(math.exp(rng.gauss(3, 0.5)) for _ in range(5))
            seconds = math.exp(rng.gauss(3, 1))
            rows.append(score(number, seconds, stated[2], **bounds(stated[0], stated[1], stated[3], stated[4])))
            for quantile, bound in zip((0.05, 0.25, 0.5, 0.75, 0.95), stated, strict=True):
                losses.append(max(quantile * (seconds - bound), (quantile - 1) * (seconds - bound)))
        await write(sink, rows)
        ((found,),) = await sink.fetch("SELECT pinball_seconds FROM handling_time_accuracy")
        assert found == pytest.approx(statistics.fmean(losses))


def window(minute: int = 0, **sums: Any) -> WindowPartialRow:
    """A partial that holds handling time's intervals alone."""
    ids = (
        START_MS + minute * 60_000,
        "animals",
        "image_class",
        sums.pop("vendor_id", "acme"),
        sums.pop("partition", 0),
    )
    first, last = sums.pop("first", 0), sums.pop("last", 0)
    return WindowPartialRow(*ids, first, last, *(0,) * 9, {}, 0, 0, 0, [], [], {}, **sums)


class TestCoverage:
    async def test_by_hand(self, sink: ClickHouseSink) -> None:
        rows = [
            window(0, interval_seen=1, covered_50=1, covered_90=1),  # an earlier version of the next
            window(0, last=1, interval_seen=4, covered_50=2, covered_90=3, width_90_log_micro=5_000_000, n_too_fast=1),
            window(0, partition=1, interval_seen=2, covered_90=2, width_90_log_micro=1_000_001, n_too_slow=2),
            window(0, first=9, last=9, n_time_flagged=1),  # of the same window, late
            window(59, interval_seen=2, covered_50=1, covered_90=2, width_90_log_micro=2, n_too_slow=1),
            window(60, interval_seen=1, width_90_log_micro=693_147),  # the next hour
            window(0, vendor_id="漢", n_time_flagged=3),
        ]
        await sink.fetch("SYSTEM STOP MERGES window_partials")
        for row in rows:
            await sink.write({"window_partials": [row._replace(annotations=10)]})
        found = await sink.fetch(
            """SELECT hour, vendor_id, annotations, interval_seen, covered_50, covered_90, coverage_50, coverage_90,
                      width_90_log, n_too_fast, n_too_slow, n_time_flagged, is_break
               FROM handling_time_coverage WHERE project_id = 'animals' ORDER BY hour, vendor_id"""
        )
        width = pytest.approx(6.000003 / 8)
        assert found == [
            (START, "acme", 40, 8, 3, 7, 0.375, 0.875, width, 1, 3, 1, 0),
            (START, "漢", 10, 0, 0, 0, None, None, None, 0, 0, 3, 0),
            (START + timedelta(hours=1), "acme", 10, 1, 0, 0, 0.0, 0.0, pytest.approx(0.693147), 0, 0, 0, 0),
        ]

    @pytest.mark.parametrize(
        ("seen", "covered", "is_break"),
        [
            (99, 0, 0),  # too few to say
            (100, 90, 0),
            (100, 78, 0),  # four standard errors of 0.03 are 0.12: exactly so far is not farther
            (100, 77, 1),
            (100, 100, 0),  # 0.1 too many
            (144, 144, 0),  # standard error 0.025
            (145, 145, 1),  # too wide
            (2_500, 2_236, 0),
            (2_500, 2_190, 0),  # standard error 0.006
            (2_500, 2_189, 1),
            (2_500, 2_310, 0),
            (2_500, 2_311, 1),
            (4_000_000_000, 3_600_000_000, 0),
        ],
    )
    async def test_a_break_is_what_chance_does_not_explain(
        self, sink: ClickHouseSink, seen: int, covered: int, is_break: int
    ) -> None:
        half = {"interval_seen": seen // 2, "covered_90": covered // 2}
        rest = {"interval_seen": seen - seen // 2, "covered_90": covered - covered // 2}
        await sink.write({"window_partials": [window(0, **half), window(30, partition=1, **rest)]})
        found = await sink.fetch("SELECT interval_seen, coverage_90, is_break FROM handling_time_coverage")
        assert found == [(seen, covered / seen, is_break)]


async def test_labeler_speed_by_hand(sink: ClickHouseSink) -> None:
    await write(
        sink,
        [
            score(0, 20.0, 10.0, **judged(0.99)),
            score(1, 20.0, 20.0, **judged(0.5)),
            score(2, 2.0, 8.0, **judged(0.01)),
            score(3, 40.0, 10.0, **judged(0.98)),
            score(4, 6.0),  # no forecast
            score(5, 3_600.0, 10.0, **judged(1.0), time_flag="idle"),
            score(6, 0.0, 10.0, time_flag="impossible"),
            score(7, 0.0, 10.0),  # of the first release, which flagged nothing
            score(8, 5.0, 10.0, labeler_id="ben", **judged(0.2)),
            score(9, 5.0, labeler_id="ben", submitted_at=START_MS + DAY_MS),
            score(10, 0.0, 10.0, labeler_id="zoe", time_flag="impossible"),
        ],
    )
    found = await sink.fetch(
        """SELECT day, labeler_id, annotations, median_handling_seconds, speed_seen, speed_ratio, judged,
                  n_too_fast, n_too_slow, share_too_fast, share_too_slow, n_flagged
           FROM labeler_speed WHERE project_id = 'animals' AND task_type = 'image_class' ORDER BY day, labeler_id"""
    )
    ratio = pytest.approx(2 ** (1 / 4))  # of 2, 1, 1/4 and 4
    assert found == [
        (date(2026, 1, 5), "ana", 8, 20.0, 4, ratio, 5, 1, 3, 0.2, 0.6, 2),
        (date(2026, 1, 5), "ben", 1, 5.0, 1, pytest.approx(0.5), 1, 0, 0, 0.0, 0.0, 0),
        (date(2026, 1, 5), "zoe", 1, None, 0, None, 0, 0, 0, None, None, 1),
        (date(2026, 1, 6), "ben", 1, 5.0, 0, None, 0, 0, 0, None, None, 0),
    ]


def golds(right: list[float], wrong: list[float], start: int = 0, **overrides: Any) -> list[AnnotationScoreRow]:
    """Right and wrong answers to gold that took so long, with a forecast of 10 s."""
    answers = [(seconds, True) for seconds in right] + [(seconds, False) for seconds in wrong]
    return [
        score(number, seconds, 10.0, gold_label="cat" if is_right else "dog", gold_correct=is_right)._replace(
            **overrides
        )
        for number, (seconds, is_right) in enumerate(answers, start)
    ]


def auc(right: list[float], wrong: list[float]) -> float:
    """The probability that the right answer took longer, by its definition."""
    pairs = [(r > w) + (r == w) / 2 for r in right for w in wrong]
    return statistics.fmean(pairs)


class TestSpeedLink:
    async def test_by_hand(self, sink: ClickHouseSink) -> None:
        """Ten wrong answers of 1 to 10 s; of the right ones eight are slower than all, one as slow as 5, one as 1."""
        right, wrong = [20.0] * 8 + [5.0, 1.0], [float(seconds) for seconds in range(1, 11)]
        rows = golds(right, wrong)
        # Relative to forecasts: the right ones took twice as long as expected, the wrong ones half as long.
        rows = [
            row._replace(expected_handling_seconds=row.handling_seconds * (0.5 if row.gold_correct else 2.0))
            for row in rows
        ]
        rows += [score(100, 1.0, 10.0)]  # no gold
        rows += golds([0.5] * 20, [], 200, time_flag="idle")
        rows += golds([0.5] * 20, [], 300, labeler_kind="model")
        rows += golds([0.0] * 20, [], 400)
        await write(sink, rows)
        chance = pytest.approx(math.sqrt(21 / 1_200))
        assert await sink.fetch("SELECT * FROM speed_link WHERE project_id = 'animals'") == [
            ("animals", "image_class", 10, 10, pytest.approx((80 + 4.5 + 0.5) / 100), chance, 10, 10, 1.0, chance)
        ]

    async def test_of_few_it_says_nothing(self, sink: ClickHouseSink) -> None:
        rows = golds([1.0] * 9, [2.0] * 30)
        rows += golds([1.0] * 30, [2.0] * 9, 100, project_id="birds")
        more = golds([1.0] * 10, [2.0] * 12, 200, project_id="cells")
        await write(sink, [*rows, *(row._replace(expected_handling_seconds=None) for row in more[:1]), *more[1:]])
        found = await sink.fetch(
            """SELECT project_id, golds_right, golds_wrong, auc_absolute, chance_error_absolute,
                      forecast_right, forecast_wrong, auc_relative, chance_error_relative
               FROM speed_link ORDER BY project_id"""
        )
        assert found == [
            ("animals", 9, 30, None, None, 9, 30, None, None),
            ("birds", 30, 9, None, None, 30, 9, None, None),
            ("cells", 10, 12, 0.0, pytest.approx(math.sqrt(23 / 1_440)), 9, 12, None, None),
        ]

    @pytest.mark.parametrize("seed", range(3))
    async def test_is_the_probability_that_the_right_answer_took_longer(self, sink: ClickHouseSink, seed: int) -> None:
        rng = random.Random(seed)
        right = [float(rng.randint(1, 30)) for _ in range(rng.randint(10, 80))]
        wrong = [float(rng.randint(1, 20)) for _ in range(rng.randint(10, 80))]
        rows = golds(right, wrong)
        rng.shuffle(rows)
        await write(sink, rows)
        found = await sink.fetch("SELECT auc_absolute, auc_relative FROM speed_link")
        assert found == [(pytest.approx(auc(right, wrong)), pytest.approx(auc(right, wrong)))]


async def test_capacity_by_hand(sink: ClickHouseSink) -> None:
    """START is Monday 07:00."""
    sunday = to_ms(datetime(2026, 1, 11, 23, 59, 59, 999_000, tzinfo=UTC))
    await write(
        sink,
        [
            score(0, 1_800.0),
            score(1, 1_800.0, is_revision=True),
            score(2, 900.0, labeler_id="ben"),
            score(3, 7_200.0, labeler_id="ben", time_flag="idle"),
            score(4, 0.0, labeler_id="zoe", time_flag="impossible"),
            score(5, 3.6, labeler_id="bot", labeler_kind="model"),
            score(6, 36.0, project_id="birds"),
            score(7, 7_200.0, submitted_at=sunday),
            score(8, 36.0, submitted_at=sunday + 1),
        ],
    )
    found = await sink.fetch(
        """SELECT hour, hour_of_week, project_id, labeler_kind, labelers, annotations, revisions, labeler_hours
           FROM capacity_by_hour WHERE task_type = 'image_class' ORDER BY hour, project_id, labeler_kind"""
    )
    hour = datetime(2026, 1, 11, 23, tzinfo=UTC)
    assert found == [
        (START, 7, "animals", "human", 3, 5, 1, 1.25),
        (START, 7, "animals", "model", 1, 1, 0, 0.001),
        (START, 7, "birds", "human", 1, 1, 0, 0.01),
        (hour, 167, "animals", "human", 1, 1, 0, 2.0),
        (hour + timedelta(hours=1), 0, "animals", "human", 1, 1, 0, 0.01),
    ]


@pytest.mark.parametrize(
    ("view", "column"),
    [
        ("handling_time_accuracy", "day"),
        ("handling_time_coverage", "hour"),
        ("labeler_speed", "day"),
        ("capacity_by_hour", "hour"),
    ],
)
async def test_a_bound_on_time_reaches_the_partitions(sink: ClickHouseSink, view: str, column: str) -> None:
    for month in range(6):
        at = to_ms(datetime(2026, 1 + month, 5, tzinfo=UTC))
        row = window()._replace(window_start=at)
        await sink.write({"window_partials": [row], "annotation_scores": [score(month, 1.0, submitted_at=at)]})
    query = f"SELECT * FROM {view} WHERE {column} >= '2026-05-01'"
    assert len(await sink.fetch(query)) == 2
    plan = " ".join(line.strip() for (line,) in await sink.fetch(f"EXPLAIN indexes = 1 {query}"))
    assert "Parts: 2/6" in plan, plan


async def test_a_project_is_found_by_the_key(sink: ClickHouseSink) -> None:
    for number, project in enumerate(("animals", "birds", "cells")):
        await sink.write({"annotation_scores": golds([1.0] * 10, [2.0] * 10, number * 100, project_id=project)})
    query = "SELECT * FROM speed_link WHERE project_id = 'birds'"
    assert [row[0] for row in await sink.fetch(query)] == ["birds"]
    plan = " ".join(line.strip() for (line,) in await sink.fetch(f"EXPLAIN indexes = 1 {query}"))
    assert "Parts: 1/3" in plan, plan
