"""What every sink does, run on each of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Iterator

import clickhouse_connect
import pytest

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.alert_rows import AlertDeliveryRow, AlertNoteRow, AlertRow
from schemas.rows import (
    TABLES,
    AnnotationScoreRow,
    ClosedTaskRow,
    ConfidenceOutcomeRow,
    DeadLetterRow,
    FindingRow,
    LabelerReliabilityRow,
    MeasurementRow,
    PartitionClaimRow,
    ReviewRow,
    Row,
    SourceProgressRow,
    StateRow,
    TaskConfidenceRow,
    ThresholdChangeRow,
    WindowPartialRow,
)
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.sink import MemorySink, Sink
from streams.sinks.tables import KEYS

T0 = 1_767_596_400_000  # 2026-01-05 07:00 UTC

EXAMPLES: dict[str, Row] = {
    "annotation_scores": AnnotationScoreRow(
        project_id="captions",
        task_type="image_caption",
        vendor_id="acme",
        submitted_at=T0 + 1,
        event_id="e-1",
        task_id="t-1",
        labeler_id="ana",
        labeler_kind="human",
        label_kind="class",
        label="naïve 'quoted' \\ \t 漢",
        gold_label=None,
        gold_correct=None,
        agrees_with_consensus=True,
        started_at=T0 - 20_001,
        handling_seconds=20.002,
        expected_handling_seconds=None,
        is_revision=False,
        is_late=True,
        ingested_at=T0 + 100,
        source_partition=3,
        source_offset=17,
        probability_right=0.75,
        handling_low_50=15.5,
        handling_high_50=1 / 3,
        handling_low_90=None,
        handling_high_90=1e-9,
        handling_p_value=0.995,
        is_too_fast=False,
        is_too_slow=True,
        time_flag="idle",
    ),
    "task_confidence": TaskConfidenceRow(
        project_id="captions",
        task_id="t-1",
        task_type="image_caption",
        consensus_label="cat",
        confidence=0.87,
        labels=3,
        gold_label=None,
        last_submitted_at=T0,
        source_partition=3,
        version=17,
        raw_confidence=0.9,
        entropy=0.325,
        posterior={"cat": 0.9, "": 0.1},
        truth="cat",
        truth_source="review",
        is_subjective=True,
    ),
    "reviews": ReviewRow("captions", "t-1", "ana", "rob", T0, "cat", None, T0 + 5, 3, 18),
    "window_partials": WindowPartialRow(
        window_start=T0,
        project_id="captions",
        task_type="image_caption",
        vendor_id="acme",
        source_partition=3,
        first_offset=0,
        last_offset=17,
        annotations=3,
        revisions=1,
        duplicates=2,
        late=0,
        gold_seen=2,
        gold_right=1,
        consensus_seen=2,
        consensus_agreed=2,
        handling_microseconds=60_000_001,
        handling_sketch={-348: 1, 152: 2},
        forecast_seen=1,
        forecast_microseconds=20_000_000,
        forecast_error_microseconds=1,
        task_hashes=[5, 2**64 - 1],
        labeler_hashes=[7],
        label_histogram={"cat": 2, "": 1},
        agreement_units=-1,
        agreement_values=-3,
        agreement_first=["", "cat"],
        agreement_second=["cat", "cat"],
        agreement_weight=[-2_000_000_000, 1],
        agreement_sum=-7.5,
        agreement_sum_squares=18.25,
        agreement_within=0.5,
        interval_seen=3,
        covered_50=1,
        covered_90=2,
        width_90_log_micro=2**40,
        n_too_fast=4,
        n_too_slow=5,
        n_time_flagged=6,
    ),
    "labeler_reliability": LabelerReliabilityRow(
        project_id="captions",
        task_type="image_caption",
        labeler_id="ana",
        as_of=T0,
        form="confusion",
        labels=2**33,
        accuracy=0.9,
        accuracy_low=None,
        accuracy_high=0.95,
        effective_labels=120.5,
        spammer_score=0.8,
        bias_label="",
        bias=-0.25,
        precision=None,
        confused_true="cat",
        confused_answer="dog",
        confused_share=0.05,
        stability=None,
        distance=0.5,
        attention=1.0,
        confusion_true=["cat", "dog"],
        confusion_answer=["dog", ""],
        confusion_weight=[0.5, 1e-12],
        version=17,
    ),
    "confidence_outcomes": ConfidenceOutcomeRow(
        "captions", "t-1", "image_caption", T0, "cat", "dog", "gold", 0.9, 0.87, False, 3, 3, 17
    ),
    "closed_tasks": ClosedTaskRow("app", 3, "captions", "t-1", 4_000_000_000_000, 1, '{"labels": {}}', 17),
    "findings": FindingRow(
        "interval_coverage_90",
        "",
        "image_caption",
        "",
        "",
        T0,
        3,
        "down",
        T0 - 60_000,
        0.9,
        0.75,
        140,
        5e4,
        5e4,
        19,
        "coverage",
        "task_type = 'image_caption'",
    ),
    "measurements": MeasurementRow("app", T0 + 2, 19, T0 + 1, "measurements", 3, T0 - 60_000, T0, 1, '{"a": "漢"}'),
    "threshold_changes": ThresholdChangeRow(
        app_id="app",
        changed_at=T0,
        sha256="ab" * 32,
        previous_sha256="",
        changed_by="ana",
        source="/etc/labelwatch/thresholds.yaml",
        rules_added=["gold-accuracy"],
        rules_changed=[],
        rules_removed=["a", "b"],
        diff="--- a\n+++ b\n-version: 1\n+version: 1 # 'x' 漢\n",
        content="version: 1 # 'x' 漢\n",
        worker_id="worker-1",
        accepted_at=T0 + 1,
    ),
    "alerts": AlertRow(
        app_id="app",
        alert_id="1c4b048c409a9ecf",
        rule="gold",
        metric="gold_accuracy",
        family="quality",
        about="change",
        severity="critical",
        scope_kind="vendor",
        scope="vendor",
        project_id="",
        task_type="",
        vendor_id="acme",
        labeler_id="",
        state="firing",
        held="",
        inhibited_by="",
        is_flapping=False,
        started_at=T0,
        fired_at=T0 + 300_000,
        resolved_at=None,
        ended="",
        told=1,
        direction="down",
        unit="share",
        counted="golds",
        baseline=0.92,
        level=0.8,
        since=T0 - 60_000,
        answers=120,
        labelers=6,
        statistic=4_300.5,
        threshold=4_270.0,
        labels={"team": "a 漢"},
        runbook="",
        title="Gold accuracy fell",
        body="from 92 % to 80 %\nsince 10:00",
        explanation="{}",
        version=3,
    ),
    "alert_deliveries": AlertDeliveryRow(
        "app", "1c4b048c409a9ecf", "json-1a2b3c4d", 1, "firing", "waiting", T0, 2, T0 + 1, "HTTP 500", 2
    ),
    "alert_notes": AlertNoteRow("app", "n-1", "silence", "", "gold", "ana", "it's known", T0, T0 + 7_200_000),
    "dead_letters": DeadLetterRow("annotations", 3, 19, "t-1", "not_json", "it is not", "{", 1, T0, "open", 1),
    "source_progress": SourceProgressRow("app", "annotations", 3, -1, T0, 20, 17, 2, 1, True, T0 + 1, 1),
    "state": StateRow("app", 3, "task", "t-1", 17, 1, '{"labels": {}}', False),
    "partition_claims": PartitionClaimRow("app", 3, 1, "worker-1", T0),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as started:
        yield started


@pytest.fixture
async def clickhouse(stack: EmbeddedStack) -> AsyncIterator[ClickHouseSink]:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"contract_{uuid.uuid4().hex}")
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False) as client:
        client.database = settings.database
        migrate(client)
        sink = ClickHouseSink(settings)
        yield sink
        await sink.close()
        client.command(f"DROP DATABASE {settings.database} SYNC")


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.integration)])
def sink(request: pytest.FixtureRequest) -> Sink:
    if request.param == "memory":
        return MemorySink()
    made: Sink = request.getfixturevalue("clickhouse")
    return made


def later(table: str, row: Row, by: int = 1) -> Row:
    version = KEYS[table].version
    return row._replace(**{version: getattr(row, version) + by})


def test_there_is_an_example_of_every_table() -> None:
    assert set(EXAMPLES) == set(TABLES) == set(KEYS)


@pytest.mark.parametrize("table", TABLES)
async def test_what_is_written_is_read(sink: Sink, table: str) -> None:
    row = EXAMPLES[table]
    await sink.write({table: [row]})
    (found,) = await sink.read(table)
    assert found == row
    assert type(found) is TABLES[table]


@pytest.mark.parametrize("table", TABLES)
async def test_writing_again_changes_nothing(sink: Sink, table: str) -> None:
    row = EXAMPLES[table]
    await sink.write({table: [row, row]})
    await sink.write({table: [row]})
    assert await sink.read(table) == [row]


@pytest.mark.parametrize("table", TABLES)
async def test_the_highest_version_counts_in_any_order(sink: Sink, table: str) -> None:
    row = EXAMPLES[table]
    await sink.write({table: [later(table, row, 2), row]})
    await sink.write({table: [later(table, row, 1)]})
    assert await sink.read(table) == [later(table, row, 2)]
    await sink.write({table: [later(table, row, 3)]})
    assert await sink.read(table) == [later(table, row, 3)]


async def test_of_equal_versions_the_last_written_counts(sink: Sink) -> None:
    row = EXAMPLES["task_confidence"]
    await sink.write({"task_confidence": [row, row._replace(confidence=0.1)]})
    assert await sink.read("task_confidence") == [row._replace(confidence=0.1)]
    await sink.write({"task_confidence": [row._replace(confidence=0.2)]})
    assert await sink.read("task_confidence") == [row._replace(confidence=0.2)]


async def test_a_deleted_row_is_gone_until_a_later_version(sink: Sink) -> None:
    row = EXAMPLES["state"]
    assert isinstance(row, StateRow)
    await sink.write({"state": [row]})
    await sink.write({"state": [row._replace(version=18, is_deleted=True, payload="")]})
    assert await sink.read("state") == []
    await sink.write({"state": [row]})  # a replay
    assert await sink.read("state") == []
    await sink.write({"state": [row._replace(version=19)]})
    assert await sink.read("state") == [row._replace(version=19)]


async def test_read_filters_and_orders_by_identity(sink: Sink) -> None:
    row = EXAMPLES["state"]
    rows = [row._replace(source_partition=p, key=k) for p in (1, 0) for k in ("b", "a", "漢", "B")]
    await sink.write({"state": rows})
    found = await sink.read("state", app_id="app", source_partition=1)
    assert [(r.source_partition, r.key) for r in found if isinstance(r, StateRow)] == [
        (1, "B"), (1, "a"), (1, "b"), (1, "漢"),
    ]  # fmt: skip
    assert await sink.read("state", app_id="other") == []


async def test_read_takes_any_of_a_list(sink: Sink) -> None:
    keys = ["b", "it's", "back\\slash", "漢", "[1, 'x']", "tab\there"]
    await sink.write({"state": [EXAMPLES["state"]._replace(key=key) for key in keys]})
    wanted = [*keys[1:], "nowhere"]
    assert sorted(row.key for row in await sink.read("state", key=wanted) if isinstance(row, StateRow)) == sorted(
        keys[1:]
    )
    assert await sink.read("state", key=[]) == []


async def test_unknown_names_are_refused(sink: Sink) -> None:
    with pytest.raises(KeyError, match="no table 'nope'"):
        await sink.write({"nope": []})
    with pytest.raises(KeyError, match="no table 'nope'"):
        await sink.read("nope")
    with pytest.raises(KeyError, match="no column 'nope'"):
        await sink.read("state", nope=1)


@pytest.mark.parametrize("seed", range(5))
async def test_both_sinks_agree_on_random_histories(clickhouse: ClickHouseSink, seed: int) -> None:
    rng = random.Random(seed)
    memory = MemorySink()
    row = EXAMPLES["state"]
    assert isinstance(row, StateRow)
    for _ in range(8):
        rows = [
            row._replace(
                key=rng.choice("abc"),
                source_partition=rng.randrange(2),
                version=rng.randrange(6),
                payload=str(rng.random()),
                is_deleted=rng.random() < 0.3,
            )
            for _ in range(rng.randrange(1, 6))
        ]
        await memory.write({"state": rows})
        await clickhouse.write({"state": rows})
        assert await clickhouse.read("state") == await memory.read("state")
