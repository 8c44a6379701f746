"""What explanations are made from, asked of ClickHouse and of memory: the same answers, whatever is in them."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from detectors.explain import Row, Totals
from schemas.rows import AnnotationScoreRow, ReviewRow, TaskConfidenceRow
from schemas.scope import parse_scope
from streams.explanations import (
    EXPLAINED,
    CellsError,
    ClickHouseCells,
    Question,
    Recorder,
    Suspects,
    Why,
    clickhouse,
    recorder,
    why,
)
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.session import session
from tests.builders import HOSTILE_IDS, START_MS

pytestmark = pytest.mark.integration

HOUR = 3_600_000
SINCE = START_MS + 200 * HOUR
UNTIL = SINCE + 3 * HOUR
LABELS = ("cat", "dog", "it's", "", *(f"label {n}" for n in range(25)))
Stored = AnnotationScoreRow | ReviewRow | TaskConfidenceRow


def random_rows(rng: random.Random, answers: int = 1_500) -> list[Stored]:
    """Answers around the change, some twice or replaced, with the tasks and reviews they belong to."""
    rows: list[Stored] = []
    for number in range(answers):
        task, project = rng.randrange(answers // 4), rng.choice(("animals", "x'y", HOSTILE_IDS[2]))
        kind = rng.choice(("class", "class", "class", "multiclass", "rating", "text"))
        gold = rng.choice((None, None, *LABELS[:4]))
        label = rng.choice(LABELS[:3] if number % 3 else LABELS)
        p_value = rng.choice((None, 0.5))
        score = AnnotationScoreRow(
            project, rng.choice(("box", "poly\\gon")), rng.choice(("acme", "漢 🦉")),
            SINCE + rng.choice((-180 * HOUR, -100 * HOUR, -HOUR, -1, 0, 1, 2 * HOUR, 3 * HOUR, 3 * HOUR + 1)),
            f"task-{task}", f"event-{number}", rng.choice(HOSTILE_IDS), "human", kind, label,
            gold, None if gold is None else gold == label, rng.choice((None, True, False)), SINCE,
            rng.choice((0.5, 7.25, 8.0, 1e4)), None, rng.random() < 0.1, rng.random() < 0.2, SINCE, 0, number,
            handling_low_90=rng.choice((None, 5.0)), handling_high_90=rng.choice((None, 8.0)), handling_p_value=p_value,
            is_too_fast=None if p_value is None else rng.random() < 0.3,
            is_too_slow=None if p_value is None else rng.random() < 0.3,
            time_flag=rng.choice(("", "", "idle", "impossible")),
        )  # fmt: skip
        rows.append(score)
        if number % 10 == 0:
            rows.append(score._replace(label="cat", agrees_with_consensus=True, source_offset=number + answers))
        if number % 4 == 0:
            truth = rng.choice((None, None, *LABELS[:2]))
            rows.append(
                TaskConfidenceRow(
                    project, f"task-{task}", "box", rng.choice(LABELS[:4]), 0.8, rng.randrange(4), None, SINCE, 0,
                    number,
                    truth=truth, truth_source="review" if truth else "", is_subjective=rng.random() < 0.1,
                )
            )  # fmt: skip
        if number % 3 == 0:
            verdict = rng.choice((None, True, False))
            at = score.submitted_at + rng.choice((0, HOUR, 60 * HOUR))
            rows.append(ReviewRow(project, f"task-{task}", score.labeler_id, "r", at, None, verdict, at, 0, number))
    return rows


@dataclass
class Stores:
    """Both stores, with the same rows in them."""

    memory: Recorder
    database: ClickHouseCells
    sink: ClickHouseSink

    async def write(self, rows: list[Stored]) -> None:
        tables: dict[str, list[Any]] = {"annotation_scores": [], "reviews": [], "task_confidence": []}
        names = {AnnotationScoreRow: "annotation_scores", ReviewRow: "reviews", TaskConfidenceRow: "task_confidence"}
        for row in rows:
            self.memory.record(row)
            tables[names[type(row)]].append(row)
        await self.sink.write(tables)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as stack:
        yield stack.clickhouse_url


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    settings = ClickHouseSettings(url=url, database=f"cells_{uuid.uuid4().hex}")
    with session(settings, use_database=False) as client:
        client.database = settings.database
        migrate(client)
    made = Stores(Recorder(), ClickHouseCells(settings), ClickHouseSink(settings))
    yield made
    await made.database.close()
    await made.sink.close()


def question(**changes: Any) -> Question:
    asked: dict[str, Any] = {"metric": "gold_accuracy", "since_ms": SINCE, "at_ms": UNTIL, "baseline": 0.9}
    return Question(**{"direction": "down", **asked, **changes})


SCOPES: tuple[dict[str, Any], ...] = (
    {},
    {"project_id": "x'y"},
    {"project_id": "animals", "task_type": "poly\\gon", "vendor_id": "漢 🦉"},
    {"labeler_id": HOSTILE_IDS[9]},
    {"where": parse_scope("""not (vendor_id = "acme" or project_id in ("x'y", "none"))""").where},
)


def plain(rows: list[Row]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Rows by their keys, in any order."""

    def numbers(totals: Totals) -> tuple[Any, ...]:
        return tuple(None if number is None else pytest.approx(number, rel=1e-12) for number in totals)

    found: dict[tuple[str, ...], tuple[Any, ...]] = {
        (*row[:2], *row[4:]): (*numbers(row.before), *numbers(row.after)) for row in rows
    }
    assert len(found) == len(rows)
    return found


async def test_the_same_sums_of_every_metric_and_scope(stores: Stores) -> None:
    await stores.write(random_rows(random.Random(1)))
    for scope in SCOPES:
        for metric in EXPLAINED:
            asked = question(metric=metric, **scope)
            rows = await stores.memory.rows(asked)
            assert sum(row.before.weight for row in rows) > 0 < sum(row.after.weight for row in rows), asked
            assert plain(await stores.database.rows(asked)) == plain(rows), asked
        asked = question(**scope)
        judged = await stores.memory.rows(asked, "by consensus")
        assert plain(await stores.database.rows(asked, "by consensus")) == plain(judged), asked


@pytest.mark.parametrize("scope", SCOPES)
async def test_the_same_tasks_are_affected_and_the_query_lists_them(stores: Stores, scope: dict[str, Any]) -> None:
    await stores.write(random_rows(random.Random(2)))
    asked = question(**scope)
    counts = set()
    for suspects in (
        Suspects(),
        Suspects(HOSTILE_IDS[:6]),
        Suspects(vendor_id="漢 🦉"),
        Suspects(task_type="poly\\gon", labels=("it's", "cat")),
    ):
        in_memory = await stores.memory.affected(asked, suspects)
        assert await stores.database.affected(asked, suspects) == in_memory
        assert len(await stores.sink.fetch(in_memory.query)) == in_memory.tasks
        counts.add(in_memory.tasks)
    assert len(counts) > 1


async def test_what_changes_hands_is_counted_once(stores: Stores) -> None:
    """A row that is written again, and one that is replaced."""
    rows = random_rows(random.Random(3), 200)
    await stores.write(rows)
    before = plain(await stores.database.rows(question(metric="late_share")))
    await stores.write(rows[::-1])
    assert plain(await stores.database.rows(question(metric="late_share"))) == before
    assert plain(await stores.memory.rows(question(metric="late_share"))) == before


async def test_too_many_groups_are_made_coarser_and_stay_whole(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten labelers and two classes, an hour before and two after: 60 groups, 40 without hours, 20 without classes."""
    rows: list[Stored] = []
    for number in range(60):
        at, gold = SINCE + HOUR * (number % 3 - 1), LABELS[number // 3 % 2]
        rows.append(
            AnnotationScoreRow(
                "p", "box", "v", at, f"t{number}", f"e{number}", f"w{number // 6}", "human", "class", gold,
                gold, True, None, at, 9.0, None, False, False, at, 0, number,
            )
        )  # fmt: skip
    await stores.write(rows)
    seen = []
    for limit in (60, 59, 40, 39, 20):
        for module in (recorder, clickhouse):
            monkeypatch.setattr(module, "MAX_GROUPS", limit)
        found = await stores.memory.rows(question())
        assert plain(await stores.database.rows(question())) == plain(found)
        assert [sum(getattr(row, side).value for row in found) for side in ("before", "after")] == [20, 40]
        seen.append((any(row.hour for row in found), any(row.true_class for row in found)))
    assert seen == [(True, True), (False, True), (False, True), (False, False), (False, False)]
    for module in (recorder, clickhouse):
        monkeypatch.setattr(module, "MAX_GROUPS", 19)
    for cells in (stores.memory, stores.database):
        with pytest.raises(CellsError, match="a smaller scope can be explained"):
            await cells.rows(question())


async def test_the_latest_hours_that_hold_enough(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a week before the change would be more than is looked at."""
    rows = random_rows(random.Random(5), 800)
    await stores.write(rows)
    asked = question(metric="late_share")
    a_week = sum(row.before.weight for row in await stores.memory.rows(asked))
    monkeypatch.setattr("streams.explanations.question.enough_before.__defaults__", (int(a_week) - 1,))
    less = await stores.memory.rows(asked)
    assert 0 < sum(row.before.weight for row in less) < a_week
    assert plain(await stores.database.rows(asked)) == plain(less)


async def test_clickhouse_away_leaves_the_alert_unexplained(free_port: int) -> None:
    cells = ClickHouseCells(ClickHouseSettings(url=f"http://127.0.0.1:{free_port}"))
    found = await why(question(), cells)
    assert not isinstance(found, Why)
    assert f"cannot reach ClickHouse at http://127.0.0.1:{free_port}" in found.reason


async def test_clickhouse_without_our_views_is_said(url: str) -> None:
    cells = ClickHouseCells(ClickHouseSettings(url=url, database="default"))
    with pytest.raises(CellsError, match="labelwatch migrate"):
        await cells.rows(question())
    await cells.close()


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def test_a_bad_labeler_is_found_through_the_database(stores: Stores) -> None:
    rng = random.Random(6)
    rows: list[Stored] = []
    for number in range(4_000):
        at = SINCE - 30 * HOUR + number * 33 * HOUR // 4_000
        labeler = f"w{number % 8}"
        right = rng.random() < (0.4 if labeler == "w3" and at >= SINCE else 0.92)
        gold = "cat" if number % 10 == 3 else None
        label, task = "cat" if right else "dog", f"t{number // 3}"
        rows.append(
            AnnotationScoreRow(
                "animals", "box", "acme", at, task, f"e{number}", labeler, "human", "class", label,
                gold, None if gold is None else right, right, at, 9.0, None, False, False, at, 0, number,
            )
        )  # fmt: skip
        rows.append(TaskConfidenceRow("animals", task, "box", "cat", 0.9, 1 + number % 3, None, at, 0, number))
    await stores.write(rows)
    asked = question(project_id="animals", metric="consensus_agreement")
    found = [await why(asked, cells) for cells in (stores.memory, stores.database)]
    assert found[0] == found[1]
    assert isinstance(found[0], Why)
    assert [one.value for one in found[0].explanation.cause.named] == ["w3"]
    assert found[0].affected is not None
    assert 0 < found[0].affected.tasks < 200
    by_gold = await why(replace(asked, metric="gold_accuracy"), stores.database)
    assert isinstance(by_gold, Why)
    assert by_gold.based_on == "by consensus"
