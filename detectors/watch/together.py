"""Scopes that are found because others are, too: e-BH over the values of all e-detectors of a rule at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from detectors.change.e_bh import e_benjamini_hochberg

#: Scopes that are found together need the less evidence each, the more they are; at most so many are looked at.
MOST: Final = 100

ScopeKey = tuple[str, ...]


class Together:
    """The evidence of those scopes that may be found together with others.

    Detectors are told apart by their number in the plan: each has a threshold, with which a scope is found alone.

    >>> near = Together()
    >>> [near.note(("ann",), 0, evidence, 1_000.0) for evidence in (9.0, 490.0)], near.note(("bob",), 0, 510.0, 1_000.0)
    ([False, True], True)
    >>> near.believed(0, 1_000.0, lambda scope: True)
    []
    >>> near.note(("ann",), 0, 505.0, 1_000.0), near.believed(0, 1_000.0, lambda scope: True)
    (True, [('bob',), ('ann',)])
    """

    def __init__(self) -> None:
        self._evidence: dict[tuple[ScopeKey, int], float] = {}

    def note(self, scope: ScopeKey, number: int, evidence: float, threshold: float) -> bool:
        """Note what speaks for a change in a scope by now; whether it is enough to be looked at."""
        if evidence * MOST < threshold:
            self._evidence.pop((scope, number), None)
            return False
        self._evidence[scope, number] = evidence
        return True

    def forget(self, scope: ScopeKey) -> None:
        """Its detectors begin anew, or it is no more."""
        for key in [key for key in self._evidence if key[0] == scope]:
            del self._evidence[key]

    def believed(self, number: int, threshold: float, is_fresh: Callable[[ScopeKey], bool]) -> list[ScopeKey]:
        """Scopes to be found now, of those that are fresh: the surest first."""
        near = sorted((one, value) for (one, of), value in self._evidence.items() if of == number and is_fresh(one))
        if len(near) < 2 or sum(value for _, value in near) < threshold:
            return []
        values = [value for _, value in near]
        return [near[position][0] for position in e_benjamini_hochberg(values, len(values) / threshold)]
