"""Turns the schema's refusal of an event into a rejected row that names the column at fault."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError


def explain(error: ValidationError, columns: Mapping[str, str | None]) -> tuple[str | None, str]:
    """Column and reason of the first problem. ``columns`` maps event fields to the columns they come from."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    fields = [str(part) for part in first["loc"]]
    if not fields:
        return None, message
    given = first.get("input")
    shown = f" (it is {str(given)[:40]!r})" if isinstance(given, str | int | float) else ""
    return columns.get(fields[0]), f"{'.'.join(fields)}: {message}{shown}"
