"""A web server on loopback that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """``tried`` is every request's content, ``taken`` what was answered with 200."""

    def __init__(self) -> None:
        self.status = 200
        self.tried: list[Any] = []
        self.taken: list[Any] = []
        self.port = 0
        self._lock = threading.Lock()

    def take(self, content: bytes) -> int:
        with self._lock:
            document = json.loads(content)
            self.tried.append(document)
            if self.status == 200:
                self.taken.append(document)
            return self.status

    @property
    def titles(self) -> list[str]:
        """Of what was taken, by Apprise."""
        return [document["title"] for document in self.taken]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A server that runs until the block ends."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = hook.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
