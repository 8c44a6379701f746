"""How long single annotations, and what rules saw of them, are kept: a setting, and so not part of a migration, which
never changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy.clickhouse.migrate import MigrationError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_TTL = re.compile(r"\bTTL .*?toIntervalDay\((\d+)\)", re.DOTALL)
_DDL = "SELECT create_table_query FROM system.tables WHERE database = {database:String} AND name = {table:String}"
#: Tables that the setting is about, and what their rows' age counts from.
KEPT = {"annotation_scores": "ingested_at", "measurements": "arrived_at"}


def retention_days(client: Client, table: str = "annotation_scores") -> int:
    """Days that a table keeps its rows.

    Raises:
        MigrationError: the table is not there, or keeps its rows for good.
    """
    rows = client.query(_DDL, parameters={"database": client.database, "table": table}).result_rows
    found = _TTL.search(rows[0][0]) if rows else None
    if not found:
        raise MigrationError(f"table {client.database}.{table} has no TTL: was it migrated?")
    return int(found[1])


def apply_retention(client: Client, days: int) -> bool:
    """Make the tables of `KEPT` keep their rows for so many days after arrival; whether anything changed.

    Raises:
        MigrationError: as `retention_days`, or ClickHouse refuses.
    """
    stale = {table: since for table, since in KEPT.items() if retention_days(client, table) != days}
    for table, since in stale.items():
        statement = f"ALTER TABLE {table} MODIFY TTL toDateTime({since}, 'UTC') + INTERVAL {int(days)} DAY"
        try:
            client.command(statement)
        except ClickHouseError as error:
            raise MigrationError(f"cannot change retention ({statement}): {error}") from error
    return bool(stale)
