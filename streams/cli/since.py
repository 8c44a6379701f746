"""A point in the past on the command line: an age such as ``24h``, or a time."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import click

from schemas.times import parse_utc, to_ms

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def since_ms(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch.

    Raises:
        ValueError: neither an age nor a time with a zone.

    >>> since_ms("2h", now_ms=10_000_000)
    2800000
    >>> since_ms("2026-01-05T09:00:00+02:00", now_ms=0)
    1767596400000
    """
    age = re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip().lower())
    if age:
        return max(0, now_ms - int(age[1]) * _UNIT_SECONDS[age[2]] * 1_000)
    return to_ms(parse_utc(text.strip()))


class Since(click.ParamType):
    """Option type; gives milliseconds since the epoch."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return since_ms(str(value), time.time_ns() // 1_000_000)
        except ValueError as error:
            self.fail(f"{error}. Write an age (30m, 24h, 7d) or a time (2026-01-05T09:00:00Z)", param, ctx)
