"""Migrations on the engine, and the tables they make against schemas/rows.py and streams/sinks/tables.py."""

from __future__ import annotations

import re
import shutil
import threading
import types
import typing
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from deploy.clickhouse.dictionary import describe
from deploy.clickhouse.migrate import MIGRATIONS, MigrationError, database_exists, migrate, read_migrations, status
from deploy.clickhouse.retention import KEPT, apply_retention, retention_days
from deploy.local.stack import EmbeddedStack
from schemas.rows import TABLES
from streams.sinks.tables import KEYS

pytestmark = pytest.mark.integration

DICTIONARY = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as started:
        yield started


def connect(stack: EmbeddedStack, database: str) -> Any:
    client = clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False)
    client.database = database
    return client


@pytest.fixture
def client(stack: EmbeddedStack) -> Iterator[Any]:
    """Of a database that does not exist yet."""
    with connect(stack, f"migrations_{uuid.uuid4().hex}") as made:
        yield made


@pytest.fixture(scope="module")
def migrated(stack: EmbeddedStack) -> Iterator[Any]:
    with connect(stack, "migrated") as made:
        migrate(made)
        yield made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three small migrations; the second can be made to fail."""
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x;")
    (tmp_path / "0002_b.sql").write_text(
        "CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = MergeTree ORDER BY x;\n"
        "CREATE VIEW IF NOT EXISTS c AS SELECT x FROM missing_table;"
    )
    return tmp_path


def tables(client: Any) -> set[str]:
    sql = "SELECT name FROM system.tables WHERE database = {d:String}"
    return {name for (name,) in client.query(sql, parameters={"d": client.database}).result_rows}


def test_migrate_creates_everything_once(client: Any) -> None:
    applied = migrate(client)
    assert [(one.number, one.name) for one in applied] == [(m.number, m.name) for m in read_migrations()]
    assert all(one.applied_at is not None for one in applied)
    assert set(TABLES) | {"schema_migrations", "quality_by_hour"} <= tables(client)
    assert migrate(client) == []
    assert [(one.number, one.checksum) for one in status(client)] == [(one.number, one.checksum) for one in applied]
    assert client.query("SELECT count() FROM schema_migrations").result_rows == [(len(applied),)]


def test_a_dry_run_changes_nothing(client: Any) -> None:
    pending = migrate(client, dry_run=True)
    assert [one.number for one in pending] == [m.number for m in read_migrations()]
    assert all(one.applied_at is None for one in pending)
    assert all(one.applied_at is None for one in status(client))
    assert not database_exists(client)


def test_only_what_is_new_is_applied(client: Any, tmp_path: Path) -> None:
    shutil.copy(MIGRATIONS / "0001_tables.sql", tmp_path)
    assert [one.number for one in migrate(client, tmp_path)] == [1]
    assert [one.number for one in migrate(client, dry_run=True)] == [m.number for m in read_migrations()[1:]]
    assert [one.number for one in migrate(client)] == [m.number for m in read_migrations()[1:]]


def test_rows_of_the_first_release_stay_readable(client: Any, tmp_path: Path) -> None:
    for file in sorted(MIGRATIONS.glob("000[123]_*.sql")):
        shutil.copy(file, tmp_path)
    migrate(client, tmp_path)
    client.command("INSERT INTO task_confidence (task_id, confidence, gold_label, version) VALUES ('t', 0.5, 'cat', 1)")
    client.command("INSERT INTO annotation_scores (event_id, ingested_at) VALUES ('e', now())")
    client.command(
        "INSERT INTO window_partials (window_start, gold_seen, gold_right, consensus_seen, consensus_agreed)"
        " VALUES ('2026-01-05 07:00:00', 4294967295, 3, 2, 1)"
    )
    assert len(migrate(client)) == len(read_migrations()) - 3
    (task,) = client.query("SELECT * FROM task_confidence_current").named_results()
    assert (task["confidence"], task["gold_label"], task["truth"], task["truth_source"]) == (0.5, "cat", None, None)
    assert (task["raw_confidence"], task["posterior"], task["is_subjective"]) == (0.0, {}, False)
    (score,) = client.query("SELECT * FROM annotation_scores_current").named_results()
    assert (score["event_id"], score["probability_right"]) == ("e", None)
    sql = "SELECT gold_seen, gold_right, consensus_seen, consensus_agreed FROM quality_by_minute"
    assert client.query(sql).result_rows == [(4_294_967_295, 3, 2, 1)]
    assert client.query("SELECT * FROM agreement_by_hour").result_rows == []
    new = ("handling_low_50", "handling_high_90", "handling_p_value", "is_too_fast", "is_too_slow", "time_flag")
    assert [score[name] for name in new] == [None, None, None, None, None, ""]
    sql = "SELECT annotations, forecast_seen, mae_seconds, coverage_90, judged FROM handling_time_accuracy"
    assert client.query(sql).result_rows == [(1, 0, None, None, 0)]
    sql = "SELECT interval_seen, coverage_90, width_90_log, n_too_fast, is_break FROM handling_time_coverage"
    assert client.query(sql).result_rows == [(0, None, None, 0, 0)]


def test_a_migration_that_was_cut_off_is_resumed(client: Any, tmp_path: Path) -> None:
    """Each statement of 0004 and later can be run again, after all that follow it, too."""
    migrate(client)
    before = client.query("SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase()")
    for migration in read_migrations()[3:]:
        for statement in migration.statements:
            client.command(statement)
    after = client.query("SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase()")
    assert sorted(after.result_rows) == sorted(before.result_rows) != []


def test_an_edited_migration_is_refused(client: Any, directory: Path) -> None:
    (directory / "0002_b.sql").unlink()
    migrate(client, directory)
    (directory / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS a (y UInt8) ENGINE = MergeTree ORDER BY y;")
    for call in (migrate, status):
        with pytest.raises(MigrationError, match=r"0001_a\.sql was edited after it was applied"):
            call(client, directory)


def test_an_applied_migration_that_is_missing_is_refused(client: Any, directory: Path) -> None:
    (directory / "0002_b.sql").write_text("CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = Memory")
    migrate(client, directory)
    (directory / "0002_b.sql").unlink()
    with pytest.raises(MigrationError, match=r"0002_b\.sql was applied but is not in the directory"):
        migrate(client, directory)


def test_a_failed_statement_is_named_and_can_be_resumed(client: Any, directory: Path) -> None:
    with pytest.raises(MigrationError) as caught:
        migrate(client, directory)
    message = str(caught.value)
    assert message.startswith("0002_b.sql, statement 2 (CREATE VIEW IF NOT EXISTS c")
    assert "missing_table" in message
    assert "UNKNOWN_TABLE" in message
    assert [one.applied_at is not None for one in status(client, directory)] == [True, False]
    client.command("CREATE TABLE missing_table (x UInt8) ENGINE = MergeTree ORDER BY x")
    assert [one.number for one in migrate(client, directory)] == [2]
    assert {"a", "b", "c"} <= tables(client)


def test_runs_at_the_same_time_do_no_harm(stack: EmbeddedStack) -> None:
    database = f"migrations_{uuid.uuid4().hex}"
    problems: list[BaseException] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        try:
            with connect(stack, database) as one:
                barrier.wait()
                migrate(one)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with connect(stack, database) as client:
        assert migrate(client) == []
        assert client.query("SELECT count() FROM schema_migrations FINAL").result_rows == [(len(read_migrations()),)]


def test_retention_follows_the_settings(client: Any) -> None:
    migrate(client)
    assert retention_days(client) == 400
    assert not apply_retention(client, 400)
    assert apply_retention(client, 30)
    assert {retention_days(client, table) for table in KEPT} == {30}
    assert migrate(client) == []


def test_retention_needs_the_table(client: Any, directory: Path) -> None:
    (directory / "0002_b.sql").unlink()
    migrate(client, directory)
    with pytest.raises(MigrationError, match="no TTL"):
        retention_days(client)


def test_rows_older_than_the_retention_go_and_replayed_history_stays(client: Any) -> None:
    migrate(client)
    client.command(
        "INSERT INTO annotation_scores (event_id, submitted_at, ingested_at) VALUES"
        " ('old', '2020-01-01 00:00:00', '2020-01-01 00:00:00'), ('replayed', '2020-01-01 00:00:00', now())"
    )
    client.command("OPTIMIZE TABLE annotation_scores FINAL")
    assert client.query("SELECT event_id FROM annotation_scores_current").result_rows == [("replayed",)]


def test_closed_tasks_go_after_90_days(client: Any) -> None:
    migrate(client)
    client.command(
        "INSERT INTO closed_tasks (task_id, closed_at) VALUES"
        " ('old', now() - INTERVAL 91 DAY), ('kept', now() - INTERVAL 89 DAY)"
    )
    client.command("OPTIMIZE TABLE closed_tasks FINAL")
    assert client.query("SELECT task_id FROM closed_tasks").result_rows == [("kept",)]


SCALARS = {str: {"String"}, float: {"Float64"}, bool: {"Bool", "UInt8"}}
INTEGERS = re.compile(r"U?Int(8|16|32|64)|DateTime64\(3, 'UTC'\)")
TIMES = {
    "submitted_at", "started_at", "ingested_at", "window_start", "last_submitted_at", "failed_at", "updated_at",
    "watermark", "claimed_at", "reviewed_at", "as_of", "settled_at", "closed_at", "at", "since",
    "changed_at", "accepted_at", "fired_at", "resolved_at", "queued_at", "attempted_at", "noted_at", "until",
    "arrived_at", "sent_at", "first_at", "last_at",
}  # fmt: skip


def fits(python: Any, clickhouse: str) -> bool:
    """Whether a column of this ClickHouse type holds values of this Python type, no more and no less."""
    arguments = typing.get_args(python)
    if isinstance(python, types.UnionType):
        (inner,) = set(arguments) - {types.NoneType}
        match = re.fullmatch(r"Nullable\((.*)\)", clickhouse)
        return match is not None and fits(inner, match[1])
    if typing.get_origin(python) is list:
        match = re.fullmatch(r"Array\((.*)\)", clickhouse)
        return match is not None and fits(arguments[0], match[1])
    if typing.get_origin(python) is dict:
        match = re.fullmatch(r"Map\((.*?), (.*)\)", clickhouse)
        return match is not None and fits(arguments[0], match[1]) and fits(arguments[1], match[2])
    match = re.fullmatch(r"LowCardinality\((.*)\)", clickhouse)
    plain = match[1] if match else clickhouse
    return bool(INTEGERS.fullmatch(plain)) if python is int else plain in SCALARS[python]


@pytest.mark.parametrize(
    ("python", "clickhouse", "wanted"),
    [
        (int, "UInt64", True),
        (int, "Float64", False),
        (str, "LowCardinality(String)", True),
        (str, "Nullable(String)", False),
        (str | None, "Nullable(String)", True),
        (str | None, "String", False),
        (dict[int, int], "Map(Int16, UInt32)", True),
        (dict[int, int], "Map(String, UInt32)", False),
        (list[int], "Array(UInt64)", True),
    ],
)
def test_fits_can_say_no(python: Any, clickhouse: str, wanted: bool) -> None:
    assert fits(python, clickhouse) is wanted


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_the_rows_fields(migrated: Any, table: str) -> None:
    sql = """SELECT name, type, comment FROM system.columns
             WHERE database = {d:String} AND table = {t:String} ORDER BY position"""
    columns = migrated.query(sql, parameters={"d": migrated.database, "t": table}).result_rows
    hints = typing.get_type_hints(TABLES[table])
    assert [name for name, _, _ in columns] == list(TABLES[table]._fields)
    for name, type_name, comment in columns:
        assert fits(hints[name], type_name), (name, hints[name], type_name)
        assert ("DateTime64" in type_name) == (name in TIMES), name
        assert comment, f"{table}.{name} has no comment"


@pytest.mark.parametrize("table", TABLES)
def test_identity_and_version_are_the_declared_ones(migrated: Any, table: str) -> None:
    sql = """SELECT engine, sorting_key, partition_key, engine_full, comment FROM system.tables
             WHERE database = {d:String} AND name = {t:String}"""
    ((engine, sorting_key, partition_key, full, comment),) = migrated.query(
        sql, parameters={"d": migrated.database, "t": table}
    ).result_rows
    key = KEYS[table]
    assert engine == "ReplacingMergeTree"
    assert sorting_key == ", ".join(key.identity)
    assert full.startswith(f"ReplacingMergeTree({', '.join(filter(None, [key.version, key.deleted]))}) ")
    assert "fsync_after_insert = 1" in full
    assert comment
    partitioned_by = set(re.findall(r"[a-z_]+_(?:at|start|of)", partition_key))
    assert partitioned_by <= set(key.identity), "versions of a row must share its partition, or they never meet"
    partitioned = ("annotation_scores", "window_partials", "labeler_reliability", "findings", "measurements")
    assert (partition_key == "") == (table not in partitioned)


def test_the_data_dictionary_is_current(migrated: Any) -> None:
    assert DICTIONARY.read_text(encoding="utf-8") == describe(migrated), (
        "docs/data-dictionary.md is not what the migrations say: run python -m deploy.clickhouse.dictionary"
    )


def test_every_view_and_column_that_bi_reads_is_explained(migrated: Any) -> None:
    sql = """SELECT table, name FROM system.columns WHERE database = {d:String} AND comment = ''
             AND table IN (SELECT name FROM system.tables WHERE database = {d:String} AND engine = 'View')"""
    assert migrated.query(sql, parameters={"d": migrated.database}).result_rows == []
    sql = "SELECT name FROM system.tables WHERE database = {d:String} AND comment = ''"
    assert migrated.query(sql, parameters={"d": migrated.database}).result_rows == []


def test_current_views_declare_what_their_tables_do(migrated: Any) -> None:
    sql = """SELECT table, name, type, comment FROM system.columns WHERE database = {d:String}"""
    columns: dict[str, dict[str, tuple[str, str]]] = {}
    for table, *column in migrated.query(sql, parameters={"d": migrated.database}).result_rows:
        columns.setdefault(table, {})[column[0]] = (column[1], column[2])
    views = [table for table in columns if table.endswith("_current")]
    assert len(views) == 10
    differ = {
        (view, name)
        for view in views
        for name, declared in columns[view].items()
        if columns[view.removesuffix("_current")].get(name) != declared
    }
    assert differ == {
        ("task_confidence_current", "truth_source"),
        ("source_progress_current", "watermark"),
    }
    for view in views:
        assert columns[view.removesuffix("_current")].keys() <= columns[view].keys()


def test_tombstones_of_state_can_be_dropped_for_good(client: Any) -> None:
    migrate(client)
    client.command(
        "INSERT INTO state (app_id, key, version, is_deleted) VALUES ('a', 'gone', 1, 0), ('a', 'kept', 1, 0)"
    )
    client.command("INSERT INTO state (app_id, key, version, is_deleted) VALUES ('a', 'gone', 2, 1)")
    client.command("OPTIMIZE TABLE state FINAL CLEANUP")
    assert client.query("SELECT key FROM state").result_rows == [("kept",)]
