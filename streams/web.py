"""The worker's own web page: ``/metrics`` for Prometheus, ``/healthz`` for whoever restarts it.

It runs in its own threads, so that it still answers when the event loop is stuck: that is when it is needed.
There is no authentication; it listens on loopback unless ``web.host`` says otherwise.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.health import HealthState
from streams.settings import WebSettings

log = structlog.get_logger(__name__)

#: A client that opens a connection and says nothing must not keep a thread for ever.
_REQUEST_TIMEOUT_SECONDS = 10.0
_INDEX = b"""<!doctype html><title>labelwatch worker</title>
<ul><li><a href="/healthz">/healthz</a> is it well, and if not, why
<li><a href="/metrics">/metrics</a> for Prometheus</ul>
"""


class WebServerError(Exception):
    """The address cannot be listened on; says which, and what to do."""


class WebServer:
    """Serves one worker's metrics and health until closed."""

    def __init__(
        self,
        settings: WebSettings,
        health: HealthState,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._health = health
        self._registry = registry
        self._clock = clock
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen and return the port, which is a free one when the settings say 0.

        Raises:
            WebServerError: the address is taken or is not this machine's.
        """
        address = (self._settings.host, self._settings.port)
        try:
            server = _Server(address, _handler(self._respond))
        except OSError as error:
            raise WebServerError(
                f"cannot listen on {address[0]}:{address[1]} for /metrics and /healthz: {error.strerror or error}. "
                "Set LABELWATCH_WEB__PORT (0 takes a free one) or LABELWATCH_WEB__HOST"
            ) from None
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="web", daemon=True)
        self._thread.start()
        port = int(server.server_address[1])
        log.info("web.started", host=address[0], port=port)
        return port

    def close(self) -> None:
        """Stop listening; requests under way are answered. Closing twice, or before the start, does nothing."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()

    def _respond(self, path: str, accept: str) -> tuple[int, str, bytes]:
        match path:
            case "/":
                return 200, "text/html; charset=utf-8", _INDEX
            case "/healthz":
                report = self._health.check(self._clock())
                body = json.dumps(asdict(report)).encode()
                return (200 if report.ok else 503), "application/json", body
            case "/metrics":
                encode, content_type = choose_encoder(accept)
                return 200, content_type, encode(self._registry)
            case _:
                return 404, "text/plain; charset=utf-8", b"not found; there are / /healthz /metrics\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Joining request threads on close would wait for a silent client.
    block_on_close = False


def _handler(respond: Callable[[str, str], tuple[int, str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_TIMEOUT_SECONDS
        server_version = "labelwatch"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            try:
                status, content_type, body = respond(self.path.partition("?")[0], self.headers.get("Accept", ""))
            except Exception:
                # A bug in one answer must not look like a worker that is down.
                log.exception("web.failed", path=self.path)
                status, content_type, body = 500, "text/plain; charset=utf-8", b"failed; see the worker's log\n"
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes every few seconds are not worth a line."""

    return Handler
