"""The views' arithmetic against plain Python, on random annotations."""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import clickhouse_connect
import pytest

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from detectors.sketches import KEPT_HASHES, DistinctSketch, bucket, hash64, quantile
from schemas.rows import SourceProgressRow, WindowPartialRow
from schemas.times import to_ms
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink

pytestmark = pytest.mark.integration

START = datetime(2026, 1, 30, 22, 58, tzinfo=UTC)  # so that hours, days and months change on the way
MEASURES = [
    "annotations", "revisions", "duplicates", "late", "tasks", "labelers", "gold_seen", "gold_right",
    "gold_accuracy", "consensus_seen", "consensus_agreed", "consensus_agreement", "handling_seconds",
    "aht_seconds", "handling_p50_seconds", "handling_p90_seconds", "forecast_seen", "forecast_seconds",
    "forecast_error_seconds", "expected_handling_seconds", "forecast_mae_seconds", "label_histogram",
]  # fmt: skip
VIEWS = {
    "quality_by_minute": ("minute", lambda moment: moment.replace(second=0, microsecond=0)),
    "quality_by_hour": ("hour", lambda moment: moment.replace(minute=0, second=0, microsecond=0)),
    "quality_daily": ("day", lambda moment: moment.date()),
}


@dataclass(frozen=True)
class Answer:
    """One random annotation, with what the pipeline would have found out about it. Forecast 0: none."""

    at: datetime
    segment: tuple[str, str, str]
    partition: int
    task: str
    labeler: str
    label: str
    microseconds: int
    gold: bool | None
    agreed: bool | None
    forecast: int
    flags: tuple[bool, bool, int] = field(default=(False, False, 0))  # revision, late, duplicates of it


def random_answers(rng: random.Random, count: int, tasks: int = 40) -> list[Answer]:
    return [
        Answer(
            at=START + timedelta(seconds=rng.random() * rng.choice([60, 3_600, 3 * 86_400])),
            segment=(rng.choice(["p1", "p1", "p1", "p2"]), "image_class", rng.choice(["acme", "acme", "acme", "漢"])),
            partition=rng.randrange(3),
            task=f"task-{rng.randrange(tasks)}",
            labeler=f"labeler-{rng.randrange(tasks // 2)}",
            label=rng.choice(["cat", "dog", "", "naïve"]),
            microseconds=rng.choice([0, 999, 10**6, int(math.exp(rng.gauss(3.0, 1.5)) * 1e6)]),
            gold=rng.choice([None, None, True, False]),
            agreed=rng.choice([None, True, False]),
            forecast=rng.choice([0, int(math.exp(rng.gauss(3.0, 1.0)) * 1e6)]),
            flags=(rng.random() < 0.1, rng.random() < 0.1, rng.choice([0, 0, 0, 2])),
        )
        for _ in range(count)
    ]


def partial(
    key: tuple[datetime, tuple[str, str, str], int], offsets: list[int], some: list[Answer]
) -> WindowPartialRow:
    minute, segment, partition = key
    tasks, labelers = DistinctSketch(), DistinctSketch()
    for answer in some:
        tasks.add(hash64(answer.task))
        labelers.add(hash64(answer.labeler))
    return WindowPartialRow(
        to_ms(minute),
        *segment,
        partition,
        offsets[0],
        offsets[-1],
        annotations=len(some),
        revisions=sum(a.flags[0] for a in some),
        duplicates=sum(a.flags[2] for a in some),
        late=sum(a.flags[1] for a in some),
        gold_seen=sum(a.gold is not None for a in some),
        gold_right=sum(a.gold is True for a in some),
        consensus_seen=sum(a.agreed is not None for a in some),
        consensus_agreed=sum(a.agreed is True for a in some),
        handling_microseconds=sum(a.microseconds for a in some),
        handling_sketch=dict(Counter(bucket(a.microseconds / 1e6) for a in some)),
        forecast_seen=sum(a.forecast > 0 for a in some),
        forecast_microseconds=sum(a.forecast for a in some),
        forecast_error_microseconds=sum(abs(a.forecast - a.microseconds) for a in some if a.forecast),
        task_hashes=tasks.hashes(),
        labeler_hashes=labelers.hashes(),
        label_histogram=dict(Counter(a.label for a in some)),
    )


def partials(rng: random.Random, answers: list[Answer]) -> list[WindowPartialRow]:
    """Windows cut at random into partials, each with some of its earlier versions, in random order."""
    windows: dict[Any, list[tuple[int, Answer]]] = {}
    for offset, answer in enumerate(answers):
        key = (answer.at.replace(second=0, microsecond=0), answer.segment, answer.partition)
        windows.setdefault(key, []).append((offset, answer))
    rows = []
    for key, numbered in windows.items():
        cut = rng.randrange(len(numbered) + 1)
        for piece in (numbered[:cut], numbered[cut:]):
            for end in {len(piece), rng.randint(0, len(piece))} - {0}:
                offsets, some = zip(*piece[:end], strict=True)
                rows.append(partial(key, list(offsets), list(some)))
    rng.shuffle(rows)
    return rows


def distinct(ids: set[str]) -> int:
    hashes = sorted(hash64(one) for one in ids)
    return len(hashes) if len(hashes) < KEPT_HASHES else round((KEPT_HASHES - 1) / (hashes[KEPT_HASHES - 1] / 2**64))


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def expected(answers: list[Answer]) -> list[Any]:
    """What a view must show, straight from the annotations."""
    gold = [a.gold for a in answers if a.gold is not None]
    agreed = [a.agreed for a in answers if a.agreed is not None]
    forecast = [(a.forecast, a.microseconds) for a in answers if a.forecast]
    sketch = Counter(bucket(a.microseconds / 1e6) for a in answers)
    seconds = sum(a.microseconds for a in answers) / 1e6
    return [
        len(answers),
        sum(a.flags[0] for a in answers),
        sum(a.flags[2] for a in answers),
        sum(a.flags[1] for a in answers),
        distinct({a.task for a in answers}),
        distinct({a.labeler for a in answers}),
        len(gold),
        sum(gold),
        ratio(sum(gold), len(gold)),
        len(agreed),
        sum(agreed),
        ratio(sum(agreed), len(agreed)),
        seconds,
        ratio(seconds, len(answers)),
        quantile(sketch, 0.5),
        quantile(sketch, 0.9),
        len(forecast),
        sum(f for f, _ in forecast) / 1e6,
        sum(abs(f - m) for f, m in forecast) / 1e6,
        ratio(sum(f for f, _ in forecast) / 1e6, len(forecast)),
        ratio(sum(abs(f - m) for f, m in forecast) / 1e6, len(forecast)),
        dict(Counter(a.label for a in answers)),
    ]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as started:
        yield started


@pytest.fixture
async def sink(stack: EmbeddedStack) -> AsyncIterator[ClickHouseSink]:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"views_{uuid.uuid4().hex}")
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False) as client:
        client.database = settings.database
        migrate(client)
    made = ClickHouseSink(settings)
    yield made
    await made.close()


async def quality(sink: ClickHouseSink, view: str) -> list[tuple[Any, ...]]:
    time_column = VIEWS[view][0]
    return await sink.fetch(
        f"SELECT {time_column}, project_id, task_type, vendor_id, {', '.join(MEASURES)} FROM {view} ORDER BY 1, 2, 3, 4"
    )


@pytest.mark.parametrize(("seed", "tasks"), [(0, 40), (1, 10_000), (2, 10_000)])
async def test_quality_views_equal_plain_python(sink: ClickHouseSink, seed: int, tasks: int) -> None:
    rng = random.Random(seed)
    answers = random_answers(rng, 3_000, tasks)
    most_distinct = 0
    for row in (rows := partials(rng, answers))[::10]:
        await sink.write({"window_partials": [row]})  # some alone, so that versions meet across parts
    await sink.write({"window_partials": rows})
    for view, (_, start_of) in VIEWS.items():
        groups: dict[Any, list[Answer]] = {}
        for answer in answers:
            groups.setdefault((start_of(answer.at), *answer.segment), []).append(answer)
        found = await quality(sink, view)
        assert [tuple(row[:4]) for row in found] == sorted(groups)
        for row in found:
            most_distinct = max(most_distinct, min(row[8:10]))
            for name, got, wanted in zip(MEASURES, row[4:], expected(groups[tuple(row[:4])]), strict=True):
                if isinstance(wanted, float):
                    assert got == pytest.approx(wanted, rel=1e-12), (view, name)
                else:
                    assert got == wanted, (view, name)
    assert (most_distinct > KEPT_HASHES) == (tasks > KEPT_HASHES), "the samples must go past what a sketch keeps"


async def test_same_content_gives_the_same_rows(sink: ClickHouseSink) -> None:
    """In other inserts, another order, written twice, and merged."""
    rng = random.Random(7)
    rows = partials(rng, random_answers(rng, 500))
    await sink.write({"window_partials": rows})
    first = [await quality(sink, view) for view in VIEWS]
    rng.shuffle(rows)
    for start in range(0, len(rows), 100):
        await sink.write({"window_partials": rows[start : start + 100]})
    assert [await quality(sink, view) for view in VIEWS] == first
    await sink.fetch("OPTIMIZE TABLE window_partials FINAL")
    assert [await quality(sink, view) for view in VIEWS] == first


async def test_no_denominator_gives_null(sink: ClickHouseSink) -> None:
    """Duplicates alone make a window without annotations."""
    key = (START, ("p1", "image_class", "acme"), 0)
    empty = partial(key, [4], [])._replace(duplicates=3)
    await sink.write({"window_partials": [empty]})
    for view in VIEWS:
        (row,) = await quality(sink, view)
        measures = dict(zip(MEASURES, row[4:], strict=True))
        assert {name for name, value in measures.items() if value is None} == {
            "gold_accuracy",
            "consensus_agreement",
            "aht_seconds",
            "handling_p50_seconds",
            "handling_p90_seconds",
            "expected_handling_seconds",
            "forecast_mae_seconds",
        }
        assert measures["duplicates"] == 3
        assert measures["label_histogram"] == {}


async def test_a_late_truth_corrects_a_closed_window(sink: ClickHouseSink) -> None:
    """By a partial that holds nothing but differences, some of them negative."""
    answers = [
        Answer(START, ("p1", "t", "v"), 0, f"task-{n}", "ana", "cat", 10**6, gold=n > 1, agreed=n > 0, forecast=0)
        for n in range(5)
    ]
    correction = partial((START, answers[0].segment, 0), [9], [])._replace(
        gold_seen=-2, gold_right=-1, consensus_seen=-1, consensus_agreed=-2
    )
    await sink.write({"window_partials": [partial((START, answers[0].segment, 0), [0], answers), correction]})
    for view in VIEWS:
        (row,) = await quality(sink, view)
        measures = dict(zip(MEASURES, row[4:], strict=True))
        assert {name: measures[name] for name in MEASURES if name.startswith(("gold", "consensus"))} == {
            "gold_seen": 3, "gold_right": 2, "gold_accuracy": 2 / 3,
            "consensus_seen": 4, "consensus_agreed": 2, "consensus_agreement": 1 / 2,
        }  # fmt: skip
        assert (measures["annotations"], measures["tasks"], measures["label_histogram"]) == (5, 5, {"cat": 5})


async def test_sums_do_not_wrap_at_32_bits(sink: ClickHouseSink) -> None:
    answer = Answer(START, ("p1", "t", "v"), 0, "task", "labeler", "cat", 10**6, True, None, 0)
    rows = [
        partial((START, answer.segment, partition), [0], [answer])._replace(
            annotations=2**32 - 1, handling_sketch={0: 2**32 - 1}, label_histogram={"cat": 2**32 - 1}
        )
        for partition in (0, 1)
    ]
    await sink.write({"window_partials": rows})
    (row,) = await sink.fetch(
        "SELECT annotations, label_histogram['cat'], round(handling_p50_seconds, 2) FROM quality_by_minute"
    )
    assert row == (2 * (2**32 - 1), 2 * (2**32 - 1), 0.99)


@pytest.mark.parametrize("view", VIEWS)
async def test_a_bound_on_time_reaches_the_key_and_the_partitions(sink: ClickHouseSink, view: str) -> None:
    column, start_of = VIEWS[view]
    answer = Answer(START, ("p1", "t", "v"), 0, "task", "labeler", "cat", 10**6, True, None, 0)
    months = [START + timedelta(days=31 * month) for month in range(6)]
    await sink.write({"window_partials": [partial((at, answer.segment, 0), [0], [answer]) for at in months]})
    bound = start_of(months[4])
    literal = f"'{bound:%Y-%m-%d}'" if type(bound) is date else f"'{bound:%Y-%m-%d %H:%M:%S}'"
    query = f"SELECT * FROM {view} WHERE {column} >= {literal}"
    assert len(await sink.fetch(query)) == 2
    plan = " ".join(line.strip() for (line,) in await sink.fetch(f"EXPLAIN indexes = 1 {query}"))
    assert "Parts: 2/6" in plan, plan
    primary_key = plan.partition("PrimaryKey")[2]
    assert "window_start" in primary_key.partition("Parts:")[0], plan
    assert "Condition: true" not in primary_key, plan


async def test_completeness_follows_the_slowest_partition_that_is_alive(sink: ClickHouseSink) -> None:
    answer = Answer(START, ("p1", "t", "v"), 0, "task", "labeler", "cat", 10**6, True, None, 0)
    minutes = [START + timedelta(minutes=n) for n in range(3)]
    await sink.write({"window_partials": [partial((at, answer.segment, 0), [0], [answer]) for at in minutes]})

    async def progress(partition: int, watermark: datetime, version: int, *, is_idle: bool = False) -> None:
        row = SourceProgressRow(
            "app", "annotations", partition, 1, to_ms(watermark), 0, 0, 0, 0, is_idle, to_ms(START), version
        )
        await sink.write({"source_progress": [row]})

    async def final() -> list[int]:
        return [row[0] for row in await sink.fetch("SELECT is_final FROM window_completeness ORDER BY minute")]

    assert await final() == [0, 0, 0]  # nothing was read yet, as far as anybody knows
    await progress(0, minutes[2], 1)
    await progress(1, minutes[1], 1)
    await progress(2, START - timedelta(days=1), 1, is_idle=True)
    assert await final() == [1, 0, 0]
    await progress(1, minutes[2] + timedelta(minutes=1), 2)
    assert await final() == [1, 1, 0]
    for partition in (0, 1, 2):
        await progress(partition, minutes[partition], 3, is_idle=True)
    assert await final() == [1, 1, 0]  # all idle: the furthest decides
    await progress(2, minutes[1], 4)
    assert await final() == [1, 0, 0]  # one is heard of again, and is behind


def progress_row(
    app: str, topic: str, watermark: datetime, updated: datetime, *, version: int = 1
) -> SourceProgressRow:
    return SourceProgressRow(app, topic, 0, 1, to_ms(watermark), 0, 0, 0, 0, False, to_ms(updated), version)


async def test_completeness_looks_at_the_application_that_wrote_last(sink: ClickHouseSink) -> None:
    answer = Answer(START, ("p1", "t", "v"), 0, "task", "labeler", "cat", 10**6, True, None, 0)
    await sink.write({"window_partials": [partial((START, answer.segment, 0), [0], [answer])]})
    behind, ahead = START - timedelta(days=1), START + timedelta(days=1)

    async def final() -> int:
        ((found,),) = await sink.fetch("SELECT is_final FROM window_completeness")
        return int(found)

    await sink.write({"source_progress": [progress_row("given-up", "annotations", behind, START)]})
    assert await final() == 0
    await sink.write({"source_progress": [progress_row("new", "annotations", ahead, START + timedelta(seconds=1))]})
    assert await final() == 1
    again = progress_row("given-up", "annotations", behind, START + timedelta(seconds=2), version=2)
    await sink.write({"source_progress": [again]})
    assert await final() == 0


async def test_a_topic_without_a_watermark_shows_none(sink: ClickHouseSink) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = [progress_row("app", "reviews", epoch, START), progress_row("app", "annotations", START, START)]
    await sink.write({"source_progress": rows})
    found = await sink.fetch("SELECT topic, watermark FROM source_progress_current ORDER BY topic")
    assert found == [("annotations", START), ("reviews", None)]
