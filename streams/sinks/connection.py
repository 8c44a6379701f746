"""Connections to ClickHouse as the settings say. clickhouse-connect is imported when one is opened."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from streams.settings import ClickHouseSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient
    from clickhouse_connect.driver.client import Client

_NOISE: Final = re.compile(
    r"\s*\((?:for url [^)]*|version [^()]*(?:\([^()]*\))?)\)"
    r"|Received ClickHouse exception, code: \d+, server response: "
)

# Without a handler of its own, what the library logs beside raising would go to standard error unformatted.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


def message_of(error: BaseException) -> str:
    """An error's text without what the client repeats around it: code, address, the server's version.

    >>> message_of(ValueError("Code: 60. Unknown table t. (UNKNOWN_TABLE) (version 26.9.2.1) (for url http://h:1)"))
    'Code: 60. Unknown table t. (UNKNOWN_TABLE)'
    """
    return _NOISE.sub("", str(error)).strip() or type(error).__name__


def connect(settings: ClickHouseSettings, *, use_database: bool = True) -> Client:
    """A blocking client, for commands. Not for two threads at once.

    Args:
        use_database: False where the database may not exist yet; ``client.database`` is then set after connecting.

    Raises:
        clickhouse_connect.driver.exceptions.ClickHouseError: not reachable, or refused.
    """
    import clickhouse_connect

    client = clickhouse_connect.get_client(**_arguments(settings, use_database=use_database))
    client.database = settings.database
    return client


async def connect_async(settings: ClickHouseSettings) -> AsyncClient:
    """A client for the running event loop, safe to share between its tasks. Raises as ``connect`` does."""
    import clickhouse_connect

    return await clickhouse_connect.get_async_client(**_arguments(settings, use_database=True))


def _arguments(settings: ClickHouseSettings, *, use_database: bool) -> dict[str, Any]:
    parts = urlsplit(settings.url)
    return {
        "interface": parts.scheme,
        "host": parts.hostname,
        "port": parts.port or {"http": 8123, "https": 8443}[parts.scheme],
        "username": settings.user,
        "password": settings.secret(),
        "database": settings.database if use_database else "system",  # the only one that always exists
        "connect_timeout": settings.connect_timeout_seconds,
        "send_receive_timeout": settings.send_receive_timeout_seconds,
        "client_name": "labelwatch",
        "autogenerate_session_id": False,  # a session admits one statement at a time
        "query_retries": 0,  # ours, in retry.py, are visible and know when to stop
    }
