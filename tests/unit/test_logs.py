"""Logs: format, redaction, routing of the libraries' lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from streams.log_flood import FloodFilter
from streams.logs import QUIET_LOGGERS, REDACTED, configure_logging, redact_secrets
from streams.settings import LogSettings


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), {n: logging.getLogger(n).level for n in QUIET_LOGGERS})
    yield
    structlog.reset_defaults()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_when_not_a_terminal() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), worker_id="pod-1", stream=out)
    structlog.get_logger("streams.app").info("checkpoint.written", rows=3)
    (line,) = lines(out)
    assert line["event"] == "checkpoint.written"
    assert (line["level"], line["rows"], line["worker"], line["logger"]) == ("info", 3, "pod-1", "streams.app")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC


def test_console_on_a_terminal_and_json_when_told() -> None:
    console, told = Terminal(), Terminal()
    configure_logging(LogSettings(), stream=console)
    structlog.get_logger().info("worker.started")
    assert "worker.started" in console.getvalue()
    assert not console.getvalue().startswith("{")
    configure_logging(LogSettings(format="json"), stream=told)
    structlog.get_logger().info("worker.started")
    assert lines(told)[0]["event"] == "worker.started"


def test_level_filters_our_events() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(level="warning"), stream=out)
    structlog.get_logger().info("batch.scored")
    structlog.get_logger().warning("sink.retry")
    assert [line["event"] for line in lines(out)] == ["sink.retry"]


@pytest.mark.parametrize("name", ["faust.app", "aiokafka.consumer", "kafka.conn"])
def test_libraries_log_through_structlog_at_warning(name: str) -> None:
    out = io.StringIO()
    configure_logging(LogSettings(level="debug"), worker_id="w", stream=out)
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("lost %s", "node-1", extra={"sasl_password": "hunter2"})
    (line,) = lines(out)
    assert (line["event"], line["logger"], line["worker"]) == ("lost node-1", name, "w")
    assert line["sasl_password"] == REDACTED


def test_configuring_twice_prints_once() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out)
    configure_logging(LogSettings(), stream=out)
    structlog.get_logger().info("worker.started")
    assert len(lines(out)) == 1


def test_exceptions_are_structured_and_show_no_locals() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out)
    password = "hunter2"
    try:
        raise ValueError(f"no such column, {len(password)}")
    except ValueError:
        structlog.get_logger().exception("sink.failed")
    (line,) = lines(out)
    (exception,) = line["exception"]
    assert exception["exc_type"] == "ValueError"
    assert exception["frames"][-1]["name"] == "test_exceptions_are_structured_and_show_no_locals"
    assert "hunter2" not in out.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("name", ["streams.app", "aiokafka.conn"])
def test_no_traceback_shows_locals(form: str, name: str) -> None:
    out = Terminal()
    configure_logging(LogSettings(format=form), stream=out)  # type: ignore[arg-type]  # both are formats
    password = "".join(["hun", "ter2"])  # the source line of a frame must not hold it, only the variable

    def fail(secret: str) -> None:
        raise ValueError(f"refused after {len(secret)} characters")

    for logger in (structlog.get_logger(name), logging.getLogger(name)):
        try:
            fail(password)
        except ValueError:
            logger.exception("connect failed")
    assert out.getvalue().count("refused after 7 characters") == 2
    assert "fail(password)" in out.getvalue() or form == "json"
    assert "hunter2" not in out.getvalue()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_what_libraries_repeat_is_held_back_and_counted() -> None:
    out, clock = io.StringIO(), Clock()
    configure_logging(LogSettings(), stream=out, clock=clock)
    library = logging.getLogger("aiokafka.conn")
    for node in range(100):
        library.error("Unable to connect to node %s", node)
        library.error(f"[node {node}]: closed")  # an id in the template
        clock.now += 0.25
    assert [line["event"] for line in lines(out)] == ["Unable to connect to node 0", "[node 0]: closed"]
    clock.now = 1_029.75
    library.error("Unable to connect to node %s", 7)
    assert len(lines(out)) == 2
    clock.now = 1_030.0
    library.error("Unable to connect to node %s", 8)
    assert (lines(out)[-1]["event"], lines(out)[-1]["suppressed"]) == ("Unable to connect to node 8", 100)
    clock.now = 1_060.0
    library.error("Unable to connect to node %s", 9)
    assert "suppressed" not in lines(out)[-1]


def test_lines_that_differ_are_not_held_back() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out, clock=Clock())
    logging.getLogger("aiokafka.conn").error("lost %s", "a")
    logging.getLogger("aiokafka.client").error("lost %s", "a")
    logging.getLogger("aiokafka.conn").error("found %s", "a")
    for error in (ValueError("x"), OSError("y")):
        logging.getLogger("aiokafka.conn").error("lost %s", "a", exc_info=error)
    assert len(lines(out)) == 5


def test_our_own_events_are_never_held_back() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out, clock=Clock())
    for attempt in range(50):
        structlog.get_logger("aiokafka.conn").warning("sink.retry", attempt=attempt)
    assert len(lines(out)) == 50


def test_the_flood_filter_forgets() -> None:
    held = FloodFilter(Clock())
    for name in range(5_000):
        held.filter(logging.LogRecord("x", logging.ERROR, "", 0, chr(0x4E00 + name), None, None))
    assert len(held._seen) == 1_000


@pytest.mark.parametrize(
    "key", ["password", "sasl_password", "PASSWD", "client_secret", "token", "api_key", "Authorization", "sasl"]
)
def test_secrets_are_redacted_at_any_depth(key: str) -> None:
    event = {"event": "x", key: "hunter2", "inner": {"list": [{key: "hunter2"}]}, "kept": "value", "n": 1}
    redacted = redact_secrets(None, "info", event)
    assert "hunter2" not in repr(redacted)
    assert redacted[key] == REDACTED
    assert (redacted["kept"], redacted["n"], redacted["event"]) == ("value", 1, "x")


def test_redaction_survives_cycles_and_leaves_none() -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    assert "..." in repr(redact_secrets(None, "info", {"event": "x", "cycle": cycle}))
    assert redact_secrets(None, "info", {"event": "x", "password": None})["password"] is None


def test_redaction_happens_in_the_configured_chain() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(), stream=out)
    structlog.get_logger().info("kafka.connect", options={"sasl_plain_password": "hunter2", "host": "h"})
    assert lines(out)[0]["options"] == {"sasl_plain_password": REDACTED, "host": "h"}
