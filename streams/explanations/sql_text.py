"""SQL with placeholders for the program, and with the values in it for people to paste."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.scope import Among, Every, Expression, Not, Some

Value = str | int | Sequence[str]
Parameters = dict[str, Value]

_PLACEHOLDER: Final = re.compile(r"\{([a-z_0-9]+):(String|Int64|Array\(String\))\}")
#: Characters that end a literal, or mean something where messages are shown: Markdown's code, HTML, Slack's links.
_ESCAPED: Final = frozenset("'\\`<>&{}")


def literal(value: Value) -> str:
    """A value as ClickHouse reads it, whatever is in it: quoted, and what is special or invisible as bytes.

    >>> literal("it's"), literal(7), literal(["a", "b"])
    ("'it\\\\x27s'", '7', "['a', 'b']")

    Raises:
        TypeError: neither text, a whole number, nor a list of texts.
    """
    if isinstance(value, str):
        return f"'{''.join(_character(one) for one in value)}'"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return f"[{', '.join(literal(one) for one in value)}]"
    raise TypeError(f"{value!r} cannot be written into SQL")


def _character(one: str) -> str:
    if one.isprintable() and one not in _ESCAPED:
        return one
    return "".join(f"\\x{byte:02X}" for byte in one.encode("utf-8", "surrogatepass"))


def with_literals(sql: str, parameters: Mapping[str, Value]) -> str:
    """The statement with every placeholder replaced, in one pass: a value that looks like one stays a value.

    >>> with_literals("SELECT {who:String}, {n:Int64}", {"who": "{n:Int64}", "n": 3})
    "SELECT '\\\\x7Bn:Int64\\\\x7D', 3"

    Raises:
        KeyError: a placeholder has no value.
    """
    return _PLACEHOLDER.sub(lambda found: literal(parameters[found[1]]), sql)


def expression_sql(expression: Expression, parameters: Parameters, prefix: str = "a.") -> str:
    """A rule's condition on segments; its values are added to the parameters."""
    match expression:
        case Among(field=field, values=values):
            name = f"among_{len(parameters)}"
            parameters[name] = list(values)
            return f"{prefix}{field} IN {{{name}:Array(String)}}"
        case Not(part=part):
            return f"NOT ({expression_sql(part, parameters, prefix)})"
        case Every(parts=parts):
            return " AND ".join(f"({expression_sql(part, parameters, prefix)})" for part in parts)
        case Some(parts=parts):
            return " OR ".join(f"({expression_sql(part, parameters, prefix)})" for part in parts)


def among_sql(parameters: Parameters, prefix: str = "a.", /, **wanted: str) -> list[str]:
    """Conditions that columns equal what is wanted, where that is not empty; the values are added to the parameters."""
    found = []
    for column, value in wanted.items():
        if value:
            parameters[column] = value
            found.append(f"{prefix}{column} = {{{column}:String}}")
    return found
