"""Apply the numbered migrations of a directory, once each, and remember which.

A migration is ``NNNN_name.sql``: statements that end with ``;``, each safe to run again (IF NOT EXISTS), because
ClickHouse has no transactions: one that failed half-way is resumed from its beginning, and two runs at the
same time do no harm. An applied file never changes (its checksum is kept); what comes next is a new file.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MIGRATIONS = Path(__file__).parent / "migrations"
STATUS_TABLE = "schema_migrations"

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql\Z")
_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)"
    r"|(?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<end>;)|(?P<other>[^;'`\"/-]+|.)",
    re.DOTALL,
)
_STATUS_DDL = f"""
CREATE TABLE IF NOT EXISTS {STATUS_TABLE}
(
    number UInt32 COMMENT 'Number of the migration file.',
    name String COMMENT 'Name of the migration file.',
    checksum String COMMENT 'SHA-256 of the file: an applied migration never changes.',
    applied_at DateTime64(3, 'UTC') COMMENT 'When it was applied. Version of the row.',
    seconds Float64 COMMENT 'How long it took.'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
SETTINGS fsync_after_insert = 1
COMMENT 'Migrations that were applied. Identity: number.'
"""
_ADD = f"INSERT INTO {STATUS_TABLE} (number, name, checksum, applied_at, seconds) VALUES"


class MigrationError(Exception):
    """A migration was refused or failed; the message names the file, the statement and ClickHouse's error."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the directory."""

    number: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{self.number:04d}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration and what became of it. ``applied_at`` is None while it is pending (and after a dry run)."""

    number: int
    name: str
    checksum: str
    applied_at: datetime | None
    seconds: float


def split_statements(sql: str) -> list[str]:
    """The statements of a file, without their ``;`` and without comments.

    >>> split_statements("-- one; two\\nSELECT ';' /* ; */ AS a;\\n\\nSELECT 2;")
    ["SELECT ';'  AS a", 'SELECT 2']
    """
    statements, current = [], ""
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            statements.append(current.strip())
            current = ""
        elif not token["comment"]:
            current += token[0]
    statements.append(current.strip())
    return [statement for statement in statements if statement]


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The directory's migrations, in order.

    Raises:
        MigrationError: a file's name is not NNNN_name.sql, a number is missing or taken twice, a file is empty.
    """
    migrations = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if not match:
            raise MigrationError(f"{path}: a migration is named NNNN_name.sql, such as 0001_tables.sql")
        content = path.read_bytes()
        statements = tuple(split_statements(content.decode("utf-8")))
        if not statements:
            raise MigrationError(f"{path}: no statement in it")
        migrations.append(Migration(int(match[1]), match[2], hashlib.sha256(content).hexdigest(), statements))
    for expected, migration in enumerate(migrations, start=1):
        if migration.number != expected:
            raise MigrationError(f"{directory / migration.file}: expected number {expected:04d} here")
    if not migrations:
        raise MigrationError(f"{directory}: no migrations there")
    return migrations


def status(client: Client, directory: Path = MIGRATIONS) -> list[Applied]:
    """Every migration of the directory and whether it was applied. Changes nothing.

    Raises:
        MigrationError: an applied file was edited or is missing.
    """
    return _compare(read_migrations(directory), _recorded(client))


def migrate(client: Client, directory: Path = MIGRATIONS, *, dry_run: bool = False) -> list[Applied]:
    """Apply what is pending, in order, and return just that; create the client's database where it is missing.

    Args:
        client: its ``database`` is the one to migrate; it need not exist yet.
        directory: where the .sql files are.
        dry_run: change nothing; return what would be applied.

    Raises:
        MigrationError: an applied file was edited or is missing, or a statement failed. Run again to resume.
    """
    migrations = {migration.number: migration for migration in read_migrations(directory)}
    pending = [one for one in _compare(list(migrations.values()), _recorded(client)) if one.applied_at is None]
    if dry_run or not pending:
        return pending
    _create_database(client)
    _run(client, STATUS_TABLE, 1, _STATUS_DDL)
    return [_apply(client, migrations[one.number]) for one in pending]


def _apply(client: Client, migration: Migration, clock: Callable[[], float] = time.perf_counter) -> Applied:
    started = clock()
    for position, statement in enumerate(migration.statements, start=1):
        _run(client, migration.file, position, statement)
    seconds = clock() - started
    applied_at = datetime.now(UTC)
    values = "({number:UInt32}, {name:String}, {checksum:String}, {applied_at:DateTime64(3, 'UTC')}, {seconds:Float64})"
    parameters = {
        "number": migration.number,
        "name": migration.name,
        "checksum": migration.checksum,
        "applied_at": f"{applied_at:%Y-%m-%d %H:%M:%S}.{applied_at.microsecond // 1000:03d}",
        "seconds": seconds,
    }
    client.command(f"{_ADD} {values}", parameters=parameters, settings={"async_insert": 0})
    return Applied(migration.number, migration.name, migration.checksum, applied_at, seconds)


def _run(client: Client, file: str, position: int, statement: str) -> None:
    try:
        client.command(statement)
    except ClickHouseError as error:
        first_line = statement.strip().splitlines()[0]
        raise MigrationError(f"{file}, statement {position} ({first_line}): {error}") from error


def database_exists(client: Client) -> bool:
    """Whether the client's database is there."""
    return bool(int(str(_command_outside(client, f"EXISTS DATABASE `{client.database}`"))))


def _create_database(client: Client) -> None:
    if database_exists(client):  # first, so that a user without the right to create one can migrate
        return
    try:
        _command_outside(client, f"CREATE DATABASE IF NOT EXISTS `{client.database}` ENGINE = Atomic")
    except ClickHouseError as error:
        raise MigrationError(f"cannot create database {client.database}: {error}") from error


def _command_outside(client: Client, statement: str) -> object:
    """Run a statement while the client's database may not exist: in `system`, which always does."""
    database, client.database = client.database, "system"
    try:
        return client.command(statement)
    finally:
        client.database = database


def _recorded(client: Client) -> dict[int, Applied]:
    if not database_exists(client) or not int(str(client.command(f"EXISTS TABLE {STATUS_TABLE}"))):
        return {}
    sql = f"SELECT number, name, checksum, toUnixTimestamp64Milli(applied_at), seconds FROM {STATUS_TABLE} FINAL"  # noqa: S608  (a constant)
    found = (
        Applied(number, name, checksum, datetime.fromtimestamp(milliseconds / 1000, UTC), seconds)
        for number, name, checksum, milliseconds, seconds in client.query(sql).result_rows
    )
    return {one.number: one for one in found}


def _compare(migrations: Sequence[Migration], recorded: dict[int, Applied]) -> list[Applied]:
    known = {migration.number: migration for migration in migrations}
    for number, done in sorted(recorded.items()):
        if number not in known:
            raise MigrationError(
                f"{number:04d}_{done.name}.sql was applied but is not in the directory: is this an older release?"
            )
        migration = known[number]
        if (migration.name, migration.checksum) != (done.name, done.checksum):
            raise MigrationError(
                f"{migration.file} was edited after it was applied (as {number:04d}_{done.name}.sql,"
                f" checksum {done.checksum[:12]}, now {migration.checksum[:12]}): restore it and add a new migration"
            )
    return [recorded.get(m.number) or Applied(m.number, m.name, m.checksum, None, 0.0) for m in migrations]
