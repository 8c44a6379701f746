"""Durations as people write them in configuration: ``90s``, ``5m``, ``2h``, ``1d``, or whole seconds."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: An alert that waits for longer than four weeks is a mistake of units.
MAX_SECONDS: Final = 28 * 86_400
_PATTERN: Final = r"[0-9]{1,7} ?[smhd]"


def parse_duration(value: object) -> int:
    """Whole seconds.

    Raises:
        ValueError: not a duration, negative, or longer than four weeks.

    >>> parse_duration("5m"), parse_duration("90s"), parse_duration(30)
    (300, 90, 30)
    >>> parse_duration("5 minutes")
    Traceback (most recent call last):
    ...
    ValueError: not a duration: '5 minutes'; write 90s, 5m, 2h or 1d
    """
    if isinstance(value, str):
        if not re.fullmatch(_PATTERN, value, re.ASCII):
            raise ValueError(f"not a duration: {value[:40]!r}; write 90s, 5m, 2h or 1d")
        seconds = int(value[:-1]) * UNIT_SECONDS[value[-1]]
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError("must be a duration such as 90s, 5m, 2h or 1d")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("a duration must be from 0s to 28d")
    return seconds


def format_duration(seconds: int) -> str:
    """In the largest unit that leaves nothing over.

    >>> format_duration(300), format_duration(90), format_duration(0)
    ('5m', '90s', '0s')
    """
    for unit, size in reversed(UNIT_SECONDS.items()):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    int,
    PlainValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_PATTERN}$"},
                {"type": "integer", "minimum": 0, "maximum": MAX_SECONDS},
            ]
        }
    ),
]
