"""The data dictionary, made from the comments of a migrated database.

python -m deploy.clickhouse.dictionary > docs/data-dictionary.md
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_HEAD = """# Data dictionary

Made from the comments in `deploy/clickhouse/migrations` by `python -m deploy.clickhouse.dictionary`; do not edit.
Times are UTC. BI reads the views; tables keep every version of a row until ClickHouse merges them.
"""
_TABLES = """
SELECT name, engine = 'View' AS is_view, comment, sorting_key, partition_key, engine_full
FROM system.tables WHERE database = {database:String} ORDER BY is_view DESC, name
"""
_COLUMNS = """
SELECT table, name, type, comment FROM system.columns WHERE database = {database:String} ORDER BY table, position
"""


def describe(client: Client) -> str:
    """Markdown: every view and table of the client's database, with the columns' types and meaning."""
    parameters = {"database": client.database}
    columns: dict[str, list[tuple[str, str, str]]] = {}
    for table, name, type_name, comment in client.query(_COLUMNS, parameters=parameters).result_rows:
        columns.setdefault(table, []).append((name, type_name, comment))
    parts = [_HEAD]
    section = None
    for name, is_view, comment, sorting_key, partition_key, engine in client.query(
        _TABLES, parameters=parameters
    ).result_rows:
        if section != is_view:
            section = is_view
            parts.append("## Views\n" if is_view else "## Tables\n")
        parts.append(f"### {name}\n\n{comment}\n")
        if not is_view:
            version = engine.partition("(")[2].partition(")")[0]
            partition = f" Partitioned by `{partition_key}`." if partition_key else ""
            parts.append(f"Key `{sorting_key}`; the highest `{version}` counts.{partition}\n")
        parts.append(_columns(columns[name]))
    return "\n".join(parts)


def _columns(columns: list[tuple[str, str, str]]) -> str:
    rows = [
        f"| {name} | `{type_name}` | {comment.replace('|', chr(92) + '|')} |" for name, type_name, comment in columns
    ]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows, ""])


def main(arguments: list[str] | None = None) -> int:
    """Print the dictionary: of a migrated database, or of the migrations, run on an engine for the purpose."""
    import clickhouse_connect

    parser = argparse.ArgumentParser(prog="python -m deploy.clickhouse.dictionary", description=__doc__)
    parser.add_argument("--url", help="HTTP address of a migrated ClickHouse; without it the embedded engine is used")
    parser.add_argument("--database", default="labelwatch", help="a migrated database")
    options = parser.parse_args(arguments)
    if options.url is None:
        print(_of_migrations(), end="")
        return 0
    client = clickhouse_connect.get_client(dsn=options.url, database=options.database)
    print(describe(client), end="")
    return 0


def _of_migrations() -> str:
    import clickhouse_connect

    from deploy.clickhouse.migrate import migrate
    from deploy.local.stack import EmbeddedStack

    with (
        tempfile.TemporaryDirectory(prefix="labelwatch-dictionary-") as folder,
        contextlib.redirect_stdout(sys.stderr),
        EmbeddedStack(Path(folder), kafka_port=0, clickhouse_port=0) as stack,
    ):
        client = clickhouse_connect.get_client(dsn=stack.clickhouse_url, database="labelwatch")
        migrate(client)
        return describe(client)


if __name__ == "__main__":
    sys.exit(main())
