"""The alert log: a line of JSON for everything that became of an alert, the same for the same messages."""

from __future__ import annotations

import orjson

from detectors.alerts.alert import Transition


def log_line(transition: Transition) -> bytes:
    """One line, with its end. Times are event times in milliseconds."""
    return orjson.dumps(
        {
            "at_ms": transition.at_ms,
            "change": transition.change,
            "notice": transition.notice,
            "alert": transition.alert.to_plain(),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
