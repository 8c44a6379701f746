"""Health: what makes a worker unwell, and that it says so even when its event loop is stuck."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams.health import HealthState
from streams.metrics import Metrics
from streams.settings import WebSettings
from streams.web import WebServer, WebServerError

STUCK = 60.0


def state() -> HealthState:
    return HealthState(STUCK, now=0.0)


class TestVerdict:
    def test_new_worker_without_partitions_is_well(self) -> None:
        report = state().check(now=STUCK)
        assert (report.ok, report.reasons, report.assigned) == (True, (), 0)

    def test_stuck_loop(self) -> None:
        health = state()
        health.beat(now=100.0)
        assert health.check(now=100.0 + STUCK).ok
        report = health.check(now=101.0 + STUCK)
        assert not report.ok
        assert report.reasons == ("event loop: has not turned for 61 s",)

    def test_lag_without_progress(self) -> None:
        health = state()
        health.assigned([("annotations", 0), ("annotations", 1)], now=0.0)
        for now in range(0, 200, 10):
            health.beat(now)
            health.progress("annotations", 0, position=500, lag=10 + now, now=now)
            health.progress("annotations", 1, position=500 + now, lag=10 + now, now=now)
        report = health.check(now=190.0)
        assert report.reasons == ("no progress: annotations/0 stands at 500 for 190 s with 200 messages behind it",)
        assert report.assigned == 2

    def test_progress_cures(self) -> None:
        health = state()
        health.assigned([("annotations", 0)], now=0.0)
        health.progress("annotations", 0, 5, 10, now=1.0)
        health.beat(now=100.0)
        assert not health.check(now=100.0).ok
        health.progress("annotations", 0, 6, 10, now=100.0)
        assert health.check(now=100.0).ok

    def test_silence_is_not_a_fault(self) -> None:
        """An hour without messages, then some arrive: the clock starts when lag appears."""
        health = state()
        health.assigned([("annotations", 0)], now=0.0)
        health.progress("annotations", 0, 5, 0, now=0.0)
        health.beat(now=3_600.0)
        assert health.check(now=3_600.0).ok
        health.progress("annotations", 0, 5, 100, now=3_600.0)
        assert health.check(now=3_600.0 + STUCK).ok
        health.beat(now=3_700.0)
        assert not health.check(now=3_700.0).ok

    def test_revoked_partition_is_forgotten(self) -> None:
        health = state()
        health.assigned([("annotations", 0)], now=0.0)
        health.progress("annotations", 0, 5, 10, now=0.0)
        health.assigned([], now=10.0)
        health.progress("annotations", 0, 5, 10, now=20.0)
        health.beat(now=500.0)
        assert health.check(now=500.0).ok

    def test_kept_partition_keeps_its_clock(self) -> None:
        """Rebalances that repeat must not hide a partition that never moves."""
        health = state()
        health.assigned([("annotations", 0)], now=0.0)
        health.progress("annotations", 0, 5, 10, now=0.0)
        health.assigned([("annotations", 0), ("annotations", 1)], now=50.0)
        health.beat(now=100.0)
        assert not health.check(now=100.0).ok

    def test_fatal_stands_and_the_first_reason_counts(self) -> None:
        health = state()
        health.fatal("breaker open")
        health.fatal("cancelled")
        health.beat(now=1.0)
        assert health.check(now=1.0).reasons == ("fatal: breaker open",)


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        connection.close()


@contextmanager
def serving(health: HealthState, metrics: Metrics, clock: Callable[[], float] = lambda: 0.0) -> Iterator[int]:
    server = WebServer(WebSettings(port=0), health, metrics.registry, clock)
    port = server.start()
    try:
        yield port
    finally:
        server.close()


class TestServer:
    def test_pages(self) -> None:
        metrics = Metrics()
        metrics.checkpoints.inc()
        with serving(state(), metrics) as port:
            status, kind, body = get(port, "/metrics")
            assert status == 200
            assert kind.startswith("text/plain")
            assert b"labelwatch_checkpoints_total 1.0" in body
            status, _, body = get(port, "/")
            assert status == 200
            assert b"/metrics" in body
            assert b"/healthz" in body
            assert get(port, "/table")[0] == 404
            assert get(port, "/healthz?verbose=1")[0] == 200
            assert get(port, "/healthz", "HEAD")[2] == b""
            assert get(port, "/healthz", "POST")[0] == 501

    def test_healthz_turns_503_with_reasons(self) -> None:
        now = [0.0]
        health = state()
        with serving(health, Metrics(), lambda: now[0]) as port:
            status, kind, body = get(port, "/healthz")
            assert (status, kind) == (200, "application/json")
            assert json.loads(body) == {"ok": True, "reasons": [], "assigned": 0}
            now[0] = 100.0
            status, _, body = get(port, "/healthz")
            assert status == 503
            assert json.loads(body)["reasons"] == ["event loop: has not turned for 100 s"]

    async def test_answers_while_the_event_loop_is_blocked(self) -> None:
        """Asked from another thread while this loop's thread does nothing but wait for the answer."""
        answer: list[int] = []
        with serving(state(), Metrics()) as port:
            asking = threading.Thread(target=lambda: answer.append(get(port, "/healthz")[0]))
            assert asyncio.get_running_loop().is_running()
            asking.start()
            asking.join(timeout=10)
        assert answer == [200]

    def test_broken_collector_is_500_and_the_server_lives(self) -> None:
        class Broken:
            def collect(self) -> Any:
                raise RuntimeError("collector")

        metrics = Metrics()
        with serving(state(), metrics) as port:
            metrics.registry._collector_to_names[Broken()] = ["broken"]  # register() would collect at once
            assert get(port, "/metrics")[0] == 500
            assert get(port, "/healthz")[0] == 200

    def test_taken_port_says_what_to_do(self) -> None:
        with serving(state(), Metrics()) as port:
            second = WebServer(WebSettings(port=port), state(), Metrics().registry)
            with pytest.raises(WebServerError, match=rf"127.0.0.1:{port} .*LABELWATCH_WEB__PORT"):
                second.start()
            second.close()

    def test_close_frees_the_port_with_a_silent_client_connected(self) -> None:
        server = WebServer(WebSettings(port=0), state(), Metrics().registry)
        port = server.start()
        with socket.create_connection(("127.0.0.1", port)):
            server.close()
            server.close()
        with pytest.raises(ConnectionRefusedError):
            get(port, "/")
