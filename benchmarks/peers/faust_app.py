"""The Faust application that the stock and the batch contender share; they differ in broker scheme and agent."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import uvloop

# Faust takes the loop policy that it finds when it is imported.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

import faust  # noqa: E402
from faust.transport.drivers import TRANSPORTS  # noqa: E402

# A checkout that is not installed has no entry points.
TRANSPORTS.aliases.setdefault("kafka-batch", "streams.transport:Transport")


def counting_app(scheme: str, broker: str, group: str) -> Any:
    """A worker's application without web server, tables or leader."""
    return faust.App(
        group,
        broker=f"{scheme}://{broker}",
        datadir=tempfile.mkdtemp(prefix="labelwatch-bench-"),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=2,
        stream_wait_empty=False,
    )


def run(app: Any) -> None:
    """Run the worker until the stopwatch ends the process."""
    faust.Worker(app, loglevel="ERROR", quiet=True).execute_from_commandline()
