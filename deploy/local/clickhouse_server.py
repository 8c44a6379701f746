"""ClickHouse's HTTP interface on loopback, over one embedded engine.

    python -m deploy.local.clickhouse_server --data DIR --port 8123

Ordinary ClickHouse clients (clickhouse-connect, SQLAlchemy, curl, Grafana, Superset) work unchanged.
User names and passwords are accepted and ignored, and a statement may read any file this user can read:
the server therefore listens on 127.0.0.1 only and refuses what a web page of another site sends.
HTTP sessions are accepted and ignored: no SET or temporary table outlives its request.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from deploy.local.chdb_engine import ChdbEngine, EngineBusyError, Reply
from deploy.local.content_encoding import choose_compressor, decompress
from deploy.local.http_protocol import (
    CONTENT_TYPES,
    MAX_BODY_BYTES,
    ProtocolError,
    error_code,
    parse_request,
    status_of,
)
from deploy.local.process_guard import watch_parent

log = structlog.get_logger()

_WORKERS = 16  # statements that run at once; /ping is answered by the event loop and needs none of them
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})  # noqa: S104  (a host name in a header)
_EXCEPTION_TAG = "labelwatchembedd"  # 16 letters, as in ClickHouse


class ClickHouseServer:
    """Joins HTTP requests to the engine. `app()` is an aiohttp application."""

    def __init__(self, engine: ChdbEngine, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._engine = engine
        self._max_body_bytes = max_body_bytes
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="statement")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._max_body_bytes, middlewares=[_refuse_foreign_pages])
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/replicas_status", self._ping)
        for method in ("GET", "POST", "PUT"):
            app.router.add_route(method, "/", self._statement)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        await asyncio.to_thread(self._pool.shutdown)

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _statement(self, http: web.Request) -> web.StreamResponse:
        query_id = http.query.get("query_id") or str(uuid.uuid4())
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Server-Display-Name": "labelwatch",
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        try:
            if http.method == "GET" and not http.query.get("query"):
                return web.Response(text="Ok.\n", headers=headers)
            fields, body = await self._read(http)
            request = parse_request(fields, http.headers, body, read_only=http.method == "GET")
            reply = await self._in_thread(partial(self._engine.run, request))
        except ProtocolError as error:
            return _failure(str(error), error.status, headers)
        except web.HTTPRequestEntityTooLarge:
            text = f"Code: 166. DB::Exception: Body is over {self._max_body_bytes} bytes. (QUERY_IS_TOO_LARGE)"
            return _failure(text, 413, headers)
        except RuntimeError as error:
            log.info("clickhouse.statement.failed", query_id=query_id, error=str(error)[:500])
            return _failure(self._with_version(str(error)), status_of(error_code(str(error))), headers)
        return await self._send(http, reply, headers)

    async def _read(self, http: web.Request) -> tuple[Mapping[str, str], bytes]:
        """URL and form fields together, and the decompressed body."""
        # A form that is not multipart is what curl calls every --data body: a statement.
        if http.content_type != "multipart/form-data":
            body = await http.read()
            encoding = http.headers.get("Content-Encoding", "")
            if encoding:
                body = await self._in_thread(partial(decompress, body, encoding, self._max_body_bytes))
            return http.query, body
        fields = dict(http.query)
        for name, value in (await http.post()).items():
            if not isinstance(value, str):
                raise ProtocolError(48, "NOT_IMPLEMENTED", f"External data ({name}) is not served here")
            fields[name] = value
        return fields, b""

    async def _send(self, http: web.Request, reply: Reply, headers: dict[str, str]) -> web.StreamResponse:
        compressor = choose_compressor(
            http.headers.get("Accept-Encoding", ""), enabled=http.query.get("enable_http_compression") == "1"
        )
        response = web.StreamResponse(headers=headers)
        response.headers["Content-Type"] = CONTENT_TYPES.get(reply.format, "text/plain; charset=UTF-8")
        response.headers["X-ClickHouse-Format"] = reply.format
        response.headers["X-ClickHouse-Summary"] = reply.summary.header()
        response.headers["X-ClickHouse-Exception-Tag"] = _EXCEPTION_TAG
        if compressor:
            response.headers["Content-Encoding"] = compressor[0]
        await response.prepare(http)
        pack = compressor[1].compress if compressor else None
        try:
            async for chunk in self._chunks(reply):
                data = await self._in_thread(partial(pack, chunk)) if pack else chunk
                if data:
                    await response.write(data)
        except RuntimeError as error:
            log.info("clickhouse.stream.failed", error=str(error)[:500])
            tail = _late_failure(self._with_version(str(error)))
            await response.write(pack(tail) if pack else tail)
        if compressor:
            await response.write(compressor[1].flush())
        await response.write_eof()
        return response

    async def _chunks(self, reply: Reply) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._in_thread(partial(next, reply.chunks, None))) is not None:
                yield chunk
        finally:
            close = getattr(reply.chunks, "close", None)
            if close is not None:  # the client may have gone: cancel the statement
                await asyncio.shield(self._in_thread(close))

    def _with_version(self, message: str) -> str:
        return message if "(version" in message else f"{message} (version {self._engine.version})"

    async def _in_thread(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _failure(message: str, status: int, headers: Mapping[str, str]) -> web.Response:
    code = str(error_code(message))
    return web.Response(
        text=message.rstrip() + "\n",
        status=status,
        headers={**headers, "X-ClickHouse-Exception-Code": code, "X-ClickHouse-Format": "TabSeparated"},
    )


def _late_failure(message: str) -> bytes:
    """An exception after the headers are out, the way ClickHouse 25.11 and later frame it."""
    text = message.rstrip().encode() + b"\n"
    tag = _EXCEPTION_TAG.encode()
    return b"__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag, text, len(text), tag)


@web.middleware
async def _refuse_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A web page can post to loopback from the user's browser; a program sends no Origin.

    The Host check stops a name that was re-bound to 127.0.0.1.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    origin = request.headers.get("Origin")
    if host not in _LOOPBACK or (origin and urlsplit(origin).hostname not in _LOOPBACK):
        text = "Code: 497. DB::Exception: Only local programs may connect. (ACCESS_DENIED)\n"
        raise web.HTTPForbidden(text=text)
    return await handler(request)


async def serve(data_dir: Path, port: int) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end. Raises EngineBusyError, OSError (port taken)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_parent(lambda: loop.call_soon_threadsafe(stop.set))
    engine = await asyncio.to_thread(ChdbEngine, data_dir)
    # Bodies are decompressed by our own code, which knows lz4 and refuses what grows too large.
    runner = web.AppRunner(ClickHouseServer(engine).app(), auto_decompress=False, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=256).start()
        log.info("clickhouse.listening", port=port, engine=engine.version, data=str(data_dir))
        await stop.wait()
    finally:
        await runner.cleanup()
        engine.close()
        log.info("clickhouse.stopped")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse_server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the engine's files")
    parser.add_argument("--port", type=int, default=8123, help="port on 127.0.0.1")
    options = parser.parse_args(arguments)
    os.environ["TZ"] = "UTC"  # the engine takes its time zone from here; ours is always UTC
    try:
        asyncio.run(serve(options.data.resolve(), options.port))
    except (EngineBusyError, OSError) as error:
        print(f"clickhouse_server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
