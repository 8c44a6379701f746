"""Logging: structlog for our own events, and the libraries' stdlib logging through the same processors.

Event names are constant and dotted (``checkpoint.written``); what varies is in keys. Lines go to stderr, so that a
command's stdout stays its result.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streams.log_flood import FloodFilter
from streams.settings import LogSettings

REDACTED: Final = "[redacted]"
#: Libraries that log a lot at info level; only what may need a person passes.
QUIET_LOGGERS: Final = ("faust", "mode", "aiokafka", "kafka", "clickhouse_connect", "asyncio", "urllib3")

_SECRET_KEY: Final = re.compile(
    r"passw(or)?d|passphrase|secret|token|api_?key|private_?key|credential|authorization|sasl", re.IGNORECASE
)
#: Deeper nesting than this in one log line is not read by people, and might be a cycle.
_MAX_DEPTH: Final = 6
_MAX_FRAMES: Final = 20


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of keys that name a secret, at any depth.

    >>> redact_secrets(None, "info", {"event": "kafka.connected", "sasl_password": "hunter2", "topic": "reviews"})
    {'event': 'kafka.connected', 'sasl_password': '[redacted]', 'topic': 'reviews'}
    """
    return {key: _redacted(key, value, _MAX_DEPTH) for key, value in event.items()}


def _redacted(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return value if value is None else REDACTED
    if depth == 0:
        return value if isinstance(value, str | int | float | bool | None) else "..."
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, item, depth - 1) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(None, item, depth - 1) for item in value]
    return value


def configure_logging(
    settings: LogSettings,
    *,
    worker_id: str | None = None,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Set up structlog and stdlib logging for this process; calling it again replaces the set-up.

    Args:
        settings: level of our own events, and the format.
        worker_id: bound to every line of this process, whatever thread or library wrote it.
        stream: where lines go; stderr unless a test says otherwise.
        clock: seconds, by which the libraries' repeated lines are held back; see ``log_flood``.
    """
    out = stream if stream is not None else sys.stderr
    as_json = settings.format == "json" or (settings.format == "auto" and not out.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]

    def bind_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if worker_id is not None:
            event.setdefault("worker", worker_id)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        bind_worker,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
        redact_secrets,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_json, out)],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    handler.addFilter(FloodFilter(clock))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        # Their own handlers, if a library set one up, would print every line twice and unredacted.
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # tests and `labelwatch demo` configure more than once
    )


def _renderers(as_json: bool, out: TextIO) -> list[Processor]:
    # Locals may hold events and secrets; frames without them are enough to find the line. The console's default
    # formatter shows them wherever rich is installed.
    if not as_json:
        return [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=_MAX_FRAMES)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(default=str),
    ]
