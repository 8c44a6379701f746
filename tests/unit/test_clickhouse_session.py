"""ClickHouse's errors as a person can use them."""

from __future__ import annotations

from http.client import BadStatusLine, RemoteDisconnected

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from streams.settings import ClickHouseSettings
from streams.sinks.session import explain, remedy

SETTINGS = ClickHouseSettings(url="http://ch:8123")
AWAY = "cannot reach ClickHouse at http://ch:8123 (clickhouse.url): "


def caused(error: ClickHouseError, cause: BaseException) -> ClickHouseError:
    error.__cause__ = cause
    return error


def coded(code: int, text: str) -> DatabaseError:
    error = DatabaseError(text)
    error.code = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError(
            "HTTP driver received HTTP status 404, server response: <html>no</html> (for url http://ch:8123)"
        ),
        OperationalError("HTTP driver received HTTP status 503, server response: <html>no</html>"),
        OperationalError("Unexpected response to server version query: '<html>hi</html'"),
        caused(OperationalError("Error ('Connection aborted.') executing HTTP request"), BadStatusLine("SSH-2.0-x")),
    ],
)
def test_another_server_is_told_from_clickhouse(error: ClickHouseError) -> None:
    message = explain(error, SETTINGS)
    assert message.startswith("something else than ClickHouse answers at http://ch:8123")
    assert "html" not in message
    assert not message.endswith(".")


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused. "),
        (RemoteDisconnected("Remote end closed connection"), "Remote end closed connection. "),
    ],
)
def test_nobody_there_names_the_innermost_cause(cause: OSError, reason: str) -> None:
    wrapped = caused(OperationalError("Error HTTPConnectionPool(host='ch', port=8123): Max retries exceeded"), cause)
    assert explain(wrapped, SETTINGS).startswith(AWAY + reason + "Start it with `labelwatch up`")


@pytest.mark.parametrize(("code", "hinted"), [(60, True), (81, True), (516, False)])
def test_clickhouses_own_answer_is_quoted(code: int, hinted: bool) -> None:
    error = coded(code, f"Code: {code}. DB::Exception: no. (NAME) (version 26.9.2.1) (for url http://ch:8123)")
    message = explain(error, SETTINGS)
    assert message.startswith(f"ClickHouse at http://ch:8123: Code: {code}. DB::Exception: no. (NAME)")
    assert ("run `labelwatch migrate`" in message) is hinted
    assert bool(remedy(error)) is hinted
