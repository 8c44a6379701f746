"""One chDB engine, one connection a request.

A connection costs 0.1 ms once the engine runs, so every request gets a fresh one: settings, current
database and temporary tables cannot leak from one request to the next, and statements on different
connections run at the same time (two on one connection wait for each other).
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.local.http_protocol import ProtocolError, Request, Summary
from deploy.local.insert_statement import InsertStatement, first_word, output_format, split_insert

DEFAULT_FORMAT = "TabSeparated"
# Formats whose blocks can be joined into one valid stream: no header, footer or file structure.
_STREAMABLE = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})


class EngineBusyError(RuntimeError):
    """Another process owns this data folder."""


class Reply:
    """A started statement: its format, its counters (final once `chunks` is drained) and its bytes."""

    def __init__(self, format_name: str, chunks: Iterator[bytes], summary: Summary) -> None:
        self.format = format_name
        self.chunks = chunks
        self.summary = summary


class ChdbEngine:
    """Owns a data folder. Methods may be called from any thread.

    Raises EngineBusyError when another process owns the folder.
    """

    def __init__(self, data_dir: Path, database: str = "labelwatch") -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._path = str(data_dir)
        self._database = database
        self._lock_file = (data_dir / "engine.lock").open("a")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise EngineBusyError(
                f"{data_dir} is in use by another process; stop it (labelwatch down) or choose another folder"
            ) from error
        from chdb import _chdb  # 1.2 s and 400 MB: only the process that owns a folder pays for it

        self._chdb: Any = _chdb  # a compiled module whose stubs name only its functions
        # Held open for the engine's whole life: closing the last connection shuts the engine down.
        self._keeper = self._chdb.connect(self._path)
        self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {_identifier(database)} ENGINE = Atomic", "CSV")
        self.version, self.timezone = (
            self._keeper.query("SELECT version(), timezone()", "TSV").bytes().decode().strip().split("\t")
        )
        self._closing = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Shut the engine down and free the folder. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._keeper.close()
            self._lock_file.close()

    def run(self, request: Request) -> Reply:
        """Run a statement; the reply's chunks must be drained or closed.

        Raises RuntimeError with ClickHouse's own text, or ProtocolError.
        """
        connection = self._chdb.connect(self._path)
        try:
            self._prepare(connection, request)
            insert = split_insert(request.text, request.default_format)
            if insert is not None:
                return self._insert(connection, insert)
            return self._query(connection, request)
        except BaseException:
            connection.close()
            raise

    def _prepare(self, connection: Any, request: Request) -> None:
        connection.query(f"USE {_identifier(request.database or self._database)}", "CSV")
        # async_insert is on by default since 26.2; an acknowledged row must be a stored row.
        for name, value in ({"async_insert": "0"} | dict(request.settings)).items():
            if name != "readonly":
                connection.query(f"SET {name} = {_literal(value)}", "CSV")
        read_only = request.settings.get("readonly")
        if read_only is not None:  # last, because nothing can be set after it
            connection.query(f"SET readonly = {_literal(read_only)}", "CSV")

    def _insert(self, connection: Any, insert: InsertStatement) -> Reply:
        stream = connection.send_insert(insert.sql, insert.format)
        try:
            connection.insert_append(stream, insert.data)
        except BaseException:
            with contextlib.suppress(RuntimeError):
                connection.insert_cancel(stream)
            raise
        done = connection.insert_done(stream)
        summary = Summary(
            read_rows=done.rows_written(),
            read_bytes=done.bytes_written(),
            written_rows=done.rows_written(),
            written_bytes=done.bytes_written(),
            elapsed_ns=int(done.elapsed() * 1e9),
        )
        connection.close()
        return Reply(DEFAULT_FORMAT, iter(()), summary)

    def _query(self, connection: Any, request: Request) -> Reply:
        sql = request.text.decode("utf-8", errors="surrogateescape")
        if b";" in request.text and connection.classify_query(sql)["statement_count"] > 1:
            raise ProtocolError(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        format_name = output_format(request.text) or request.default_format or DEFAULT_FORMAT
        params = dict(request.params)
        if request.stream and format_name in _STREAMABLE and first_word(request.text) in ("SELECT", "WITH"):
            handle = connection.send_query(sql, format_name, params=params)
            chunks = _stream(connection, handle)
            return Reply(format_name, _with_first(chunks), Summary())
        result = connection.query(sql, format_name, params=params)
        view = result.get_memview()
        summary = Summary(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=view.size(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )
        return Reply(format_name, _slices(connection, view), summary)


def _stream(connection: Any, handle: Any) -> Iterator[bytes]:
    finished = False
    try:
        while True:
            piece = connection.streaming_fetch_result(handle)
            if piece is None or piece.rows_read() == 0:
                finished = True
                return
            yield piece.bytes()
    except RuntimeError:
        finished = True
        raise
    finally:
        if not finished:
            connection.streaming_cancel_query(handle)
        connection.close()


def _with_first(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pull the first piece now, so that a statement that fails at once fails before any header is sent."""
    first = next(chunks, None)

    def rest() -> Iterator[bytes]:
        try:
            if first is not None:
                yield first
                yield from chunks
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    return rest()


def _slices(connection: Any, view: Any, size: int = 4 << 20) -> Iterator[bytes]:
    try:
        total = view.size()
        if total <= size:
            if total:
                yield view.tobytes()
            return
        window = view.view()
        for start in range(0, total, size):
            yield bytes(window[start : start + size])
    finally:
        connection.close()


def _identifier(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _literal(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
