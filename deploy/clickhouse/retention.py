"""How long single annotations are kept: a setting, and so not part of a migration, which never changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy.clickhouse.migrate import MigrationError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_TTL = re.compile(r"\bTTL .*?toIntervalDay\((\d+)\)", re.DOTALL)
_DDL = "SELECT create_table_query FROM system.tables WHERE database = {database:String} AND name = 'annotation_scores'"


def retention_days(client: Client) -> int:
    """Days that `annotation_scores` keeps its rows.

    Raises:
        MigrationError: the table is not there, or keeps its rows for good.
    """
    rows = client.query(_DDL, parameters={"database": client.database}).result_rows
    found = _TTL.search(rows[0][0]) if rows else None
    if not found:
        raise MigrationError(f"table {client.database}.annotation_scores has no TTL: was it migrated?")
    return int(found[1])


def apply_retention(client: Client, days: int) -> bool:
    """Make `annotation_scores` keep its rows for so many days after arrival; whether anything changed.

    Raises:
        MigrationError: as `retention_days`, or ClickHouse refuses.
    """
    if retention_days(client) == days:
        return False
    statement = f"ALTER TABLE annotation_scores MODIFY TTL toDateTime(ingested_at, 'UTC') + INTERVAL {int(days)} DAY"
    try:
        client.command(statement)
    except ClickHouseError as error:
        raise MigrationError(f"cannot change retention ({statement}): {error}") from error
    return True
