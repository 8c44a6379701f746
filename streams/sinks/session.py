"""A client for one command, and ClickHouse's errors as a person can use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import BadStatusLine
from typing import TYPE_CHECKING, Final

from streams.settings import ClickHouseSettings
from streams.sinks.connection import connect, message_of

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MISSING_CODES: Final = frozenset({60, 81})  # UNKNOWN_TABLE, UNKNOWN_DATABASE
#: What clickhouse-connect says of answers that ClickHouse does not give; ClickHouse's own errors carry a code.
_FOREIGN_ANSWER: Final = re.compile(r"HTTP driver received (HTTP status \d+)|Unexpected response to server version")


class ClickHouseUnusableError(Exception):
    """ClickHouse cannot be used; the message says which address was tried, and what to do. No full stop at its end."""


@contextmanager
def session(settings: ClickHouseSettings, *, use_database: bool = True) -> Iterator[Client]:
    """A blocking client that is closed at the end; ``use_database`` as for ``connect``.

    Raises:
        ClickHouseUnusableError: in place of any error of ClickHouse or of its connection, at once or later.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from urllib3.exceptions import HTTPError

    client = None
    try:
        client = connect(settings, use_database=use_database)
        yield client
    except (ClickHouseError, HTTPError) as error:  # a result that breaks off while it is streamed is urllib3's error
        raise ClickHouseUnusableError(explain(error, settings)) from error
    finally:
        if client is not None:
            client.close()


def explain(error: BaseException, settings: ClickHouseSettings) -> str:
    """What is wrong, at which address, and what to do: for any error raised while talking to ClickHouse."""
    if (foreign := explain_foreign(error, settings)) is not None:
        return foreign
    if not _by_clickhouse(error):
        root = _root(error)
        if root is not error or isinstance(error, OSError):
            reason = (root.strerror if isinstance(root, OSError) else None) or message_of(root)
            return (
                f"cannot reach ClickHouse at {settings.url} (clickhouse.url): {reason}. "
                "Start it with `labelwatch up`, or set LABELWATCH_CLICKHOUSE__URL"
            )
    return f"ClickHouse at {settings.url}: {message_of(error)}{remedy(error)}"


def explain_foreign(error: BaseException, settings: ClickHouseSettings) -> str | None:
    """What is wrong when another server answered in ClickHouse's place, without the page it sent; None otherwise."""
    root, answer = _root(error), _FOREIGN_ANSWER.search(str(error))
    hung_up = isinstance(root, OSError)  # which http.client takes for a bad status line, too
    if _by_clickhouse(error) or (answer is None and (hung_up or not isinstance(root, BadStatusLine))):
        return None
    status = f" ({answer[1]})" if answer is not None and answer[1] else ""
    return (
        f"something else than ClickHouse answers at {settings.url}{status}. "
        "Set LABELWATCH_CLICKHOUSE__URL to the address of ClickHouse's HTTP interface"
    )


def remedy(error: BaseException) -> str:
    """What to do about a database or table that is not there, to go behind the error's text; '' for other errors.

    >>> remedy(ValueError("no"))
    ''
    """
    if getattr(error, "code", None) not in _MISSING_CODES:
        return ""
    return ". If it is one of labelwatch's, it is missing: run `labelwatch migrate`"


def _by_clickhouse(error: BaseException) -> bool:
    return getattr(error, "code", None) is not None or "DB::Exception" in str(error)


def _root(error: BaseException) -> BaseException:
    """The innermost cause, which says 'Connection refused' without the wrapping of three libraries."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
