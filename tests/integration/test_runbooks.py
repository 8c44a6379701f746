"""The queries of the runbooks, on the tables as they are shipped."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from streams.settings import ClickHouseSettings
from streams.sinks.connection import connect

pytestmark = pytest.mark.integration

QUERIES = [
    pytest.param(query, id=f"{page.stem}-{number}")
    for page in sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
    for number, query in enumerate(re.findall(r"```sql\n(.*?)```", page.read_text("utf-8"), re.DOTALL), start=1)
]


@pytest.fixture(scope="module")
def client(stack: EmbeddedStack) -> Iterator[Any]:
    settings = ClickHouseSettings(url=stack.clickhouse_url, database=f"runbooks_{uuid.uuid4().hex}")
    first = connect(settings, use_database=False)
    migrate(first)
    first.close()
    found = connect(settings, use_database=True)
    yield found
    found.close()


def test_there_are_queries_and_wrong_ones_fail(client: Any) -> None:
    assert len(QUERIES) > 10
    with pytest.raises(DatabaseError):
        client.query("SELECT gold_acuracy FROM quality_by_hour")


@pytest.mark.parametrize("query", QUERIES)
def test_runs(client: Any, query: str) -> None:
    client.query(query)
