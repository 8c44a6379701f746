"""ClickHouse's HTTP protocol as values: what a request asks and which status an error has.

Pure functions; `clickhouse_server` joins them to a socket. Status codes follow ClickHouse's
`exceptionCodeToHTTPStatus`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_BODY_BYTES = 512 * 1024 * 1024
"""Largest request body, before and after decompression; a bigger one is refused with 413."""

_NOT_SETTINGS = frozenset(
    {
        "query", "database", "default_format", "compress", "decompress", "session_id", "session_timeout",
        "session_check", "query_id", "quota_key", "wait_end_of_query", "buffer_size", "role", "user",
        "password", "client_protocol_version", "stacktrace", "close_session",
        # Settings of an HTTP server, which this engine accepts but cannot act on: not worth a SET each.
        "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
    }
)  # fmt: skip
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ERROR_CODE = re.compile(r"Code:\s*(\d+)\.")
_STATUS = {
    **dict.fromkeys((6, 25, 26, 27, 28, 33, 36, 38, 41, 53, 62, 72, 117, 130, 167, 168, 223, 321, 457), 400),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404),
    **dict.fromkeys((194, 516), 401),
    **dict.fromkeys((48,), 501),
    159: 408,
    166: 413,
    202: 503,
    497: 403,
}
CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}


class ProtocolError(Exception):
    """A request that cannot be served; `str()` is a ClickHouse exception text, `status` the HTTP status."""

    def __init__(self, code: int, name: str, message: str, status: int | None = None) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}. ({name})")
        self.status = status if status is not None else status_of(code)


@dataclass(frozen=True)
class Request:
    """One statement to run; `text` is query parameter and body, joined the way ClickHouse joins them."""

    text: bytes
    database: str | None = None
    default_format: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    query_id: str = ""
    stream: bool = True


@dataclass(frozen=True)
class Summary:
    """Progress counters of a finished statement, in rows, bytes and nanoseconds."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        """The X-ClickHouse-Summary header: JSON with numbers as strings, as ClickHouse writes it.

        >>> json.loads(Summary(written_rows=2).header())["written_rows"]
        '2'
        """
        numbers = {name: str(getattr(self, name)) for name in self.__dataclass_fields__}
        return json.dumps({**numbers, "total_rows_to_read": "0"})


def error_code(message: str) -> int:
    """The number in a ClickHouse exception text; 1002 (UNKNOWN_EXCEPTION) when there is none."""
    found = _ERROR_CODE.search(message)
    return int(found[1]) if found else 1002


def status_of(code: int) -> int:
    """HTTP status of a ClickHouse error code.

    >>> [status_of(code) for code in (60, 62, 241)]
    [404, 400, 500]
    """
    return _STATUS.get(code, 500)


def parse_request(query: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, read_only: bool) -> Request:
    """Turn URL or form fields, headers and the decompressed body into a `Request`.

    `read_only` is what ClickHouse implies of GET: settings may be sent, data and tables not changed.

    Raises ProtocolError for a setting's name that is no identifier and for block compression.
    """
    if "1" in (query.get("compress"), query.get("decompress")):
        raise ProtocolError(
            48, "NOT_IMPLEMENTED", "compress=1 and decompress=1 are not served; use HTTP's Content-Encoding"
        )
    settings: dict[str, str] = {}
    params: dict[str, str] = {}
    for key, value in query.items():
        if key.startswith("param_"):
            params[key[len("param_") :]] = value
        elif key not in _NOT_SETTINGS:
            if not _SETTING_NAME.match(key):
                raise ProtocolError(115, "UNKNOWN_SETTING", f"Unknown setting {key!r}")
            settings[key] = value
    if read_only and settings.get("readonly", "0") == "0":
        settings["readonly"] = "2"
    statement = query.get("query", "").encode()
    text = statement + b"\n" + body if statement and body else statement or body
    if not text.strip():
        raise ProtocolError(62, "SYNTAX_ERROR", "Empty query")
    return Request(
        text=text,
        database=query.get("database") or headers.get("X-ClickHouse-Database") or None,
        default_format=query.get("default_format") or headers.get("X-ClickHouse-Format") or None,
        settings=settings,
        params=params,
        query_id=query.get("query_id", ""),
        stream=query.get("wait_end_of_query", "0") != "1",
    )
