"""Today's volumes as ClickHouse has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.rows import AnnotationScoreRow, ReviewRow, WindowPartialRow
from streams import cli
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.session import session
from streams.volumes import SegmentVolume, stored_volumes

pytestmark = pytest.mark.integration

T0 = 1_767_596_400_000  # 2026-01-05 07:00 UTC
HOUR = 3_600_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseSettings]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as stack:
        settings = ClickHouseSettings(url=stack.clickhouse_url, database="volumes")
        with session(settings, use_database=False) as client:
            client.database = settings.database
            migrate(client)
        yield settings


def score(
    number: int, labeler: str, at: int, gold: bool | None, late: bool = False, kind: str = "class"
) -> AnnotationScoreRow:
    return AnnotationScoreRow(
        "x", "box", "a", at, f"t-{number}", f"e-{number}", labeler, "human", kind, "cat",
        None if gold is None else "cat", gold, True, at - 9_000, 9.0, 8.0, False, late, at, 0, number,
        handling_low_90=4.0, handling_high_90=8.5, is_too_fast=False, is_too_slow=True,
    )  # fmt: skip


WINDOW = WindowPartialRow(T0, "x", "box", "a", 0, 1, 2, 3, *[0] * 7, 0, {}, 0, 0, 0, [], [], {})


async def test_of_less_than_a_day_what_there_is(settings: ClickHouseSettings) -> None:
    with session(settings) as client:
        assert stored_volumes(client) is None
    sink = ClickHouseSink(settings)
    await sink.write({"annotation_scores": [score(1, "ana", T0, True)], "window_partials": [WINDOW]})
    with session(settings) as client:
        found = stored_volumes(client)
        assert found is not None
        assert (found.hours, found.source) == (1.0, "ClickHouse, the hour until 2026-01-05 07:01 UTC")
        text = score(3, "bob", T0 - 2 * HOUR + 60_000, None, kind="text")
        await sink.write({"annotation_scores": [text]})
        found = stored_volumes(client)
        assert found is not None
        assert (found.hours, found.source) == (2.0, "ClickHouse, the 2 hours until 2026-01-05 07:01 UTC")
        assert [(one.answers, one.free) for one in found.segments] == [(2, 1)]
        for table in ("annotation_scores", "window_partials"):
            client.command(f"TRUNCATE TABLE {table}")
    await sink.close()


async def test_the_latest_day_by_segment(settings: ClickHouseSettings) -> None:
    sink = ClickHouseSink(settings)
    old = [score(9, "eve", T0 - 30 * HOUR, True)]
    rows = [score(1, "ana", T0, True), score(2, "ana", T0, False), score(3, "bob", T0 - 20 * HOUR, None, late=True)]
    reviews = [
        ReviewRow("x", "t-1", "ana", "rita", T0, None, True, T0, 0, 1),
        ReviewRow("x", "t-9", "eve", "rita", T0, None, False, T0, 0, 2),
        ReviewRow("x", "t-2", "", "rita", T0, "cat", None, T0, 0, 3),
    ]
    await sink.write({"annotation_scores": [*old, *rows, *rows], "window_partials": [WINDOW], "reviews": reviews})
    await sink.close()
    with session(settings) as client:
        found = stored_volumes(client)
    assert found is not None
    assert found.source == "ClickHouse, the 24 hours until 2026-01-05 07:01 UTC"
    assert found.segments == [
        SegmentVolume(
            project_id="x", task_type="box", vendor_id="a", labelers=2, answers=3, late=1, golds=2, golds_right=1,
            compared=3, agreed=3, forecasts=3, covered_90=0, too_fast=0, too_slow=3, reviews=2, rejected=1,
        )
    ]  # fmt: skip


def test_the_command_takes_them(settings: ClickHouseSettings, tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", settings.url)
    no_settings.setenv("LABELWATCH_CLICKHOUSE__DATABASE", settings.database)
    path = tmp_path / "t.yaml"
    path.write_text("version: 1\nrules:\n- {name: a, metric: gold_accuracy, level: 0.92}\n...\n")
    result = CliRunner().invoke(cli.cli, ["thresholds", "check", str(path)])
    assert result.exit_code == 0, result.output
    assert "At the volumes of ClickHouse, the 24 hours until 2026-01-05 07:01 UTC" in result.output
    assert "at today's 2 golds a day" in result.output
