"""What every change detector takes and says.

Values are answers (0 wrong, 1 right) or anything else in the range that the method states; times are event times in
milliseconds. A detector never looks at a clock: the same values give the same findings, live and in a replay.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Direction = Literal["down", "up"]
"""Which way is bad: accuracy falls, the share that reviewers reject rises."""

State = list[object]
"""What a detector keeps, as plain values that JSON knows."""


class Finding(NamedTuple):
    """What a detector says when it sees a change.

    ``level`` and ``since_ms`` are estimated from what made the detector fire, and so exaggerate a little: a change that
    came with bad luck is seen sooner.
    """

    at_ms: int
    """Event time of the value that decided."""
    direction: Direction
    statistic: float
    """What reached the threshold."""
    threshold: float
    baseline: float
    """The level before, as known or learned."""
    level: float
    """The level now: mean of the values since the change."""
    since_ms: int
    """Event time of the first value since the estimated change."""
    answers: int
    """Values since the estimated change: what ``level`` rests on."""
    e_value: float | None = None
    """Evidence where the method has one: value of the e-detector, else None."""
    labelers: tuple[str, ...] = ()
    """Whom the levels and the answers are about, of a method that looks at few of many; () for everybody."""


class Detector(Protocol):
    """One stream's state. A finding resets what speaks for a change; what was learned of the level stays."""

    @property
    def statistic(self) -> float:
        """How much speaks for a change by now, on the scale of the threshold."""

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one value.

        Raises:
            ValueError: the value is not a number, or not in the method's range. Nothing has changed then.
        """

    def dump(self) -> State:
        """The whole state; ``method.build(state)`` goes on from there."""


class Method(Protocol):
    """Frozen configuration of a detector."""

    @property
    def min_count(self) -> int:
        """Values that must be seen before the first finding."""

    def build(self, state: State | None = None) -> Detector:
        """A detector at its beginning, or where another one was when it was dumped."""


def check_share(value: float) -> float:
    """Return a value from 0 to 1.

    Raises:
        ValueError: it is not one.

    >>> check_share(0.25)
    0.25
    >>> check_share(float("nan"))
    Traceback (most recent call last):
        ...
    ValueError: a value must be from 0 to 1, not nan
    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a value must be from 0 to 1, not {value}")
    return value


def check_counts(right: int, seen: int) -> None:
    """Refuse counts that cannot be.

    Raises:
        ValueError: they are not whole, or not ``0 <= right <= seen``.
    """
    if not 0 <= right <= seen or right != int(right) or seen != int(seen):
        raise ValueError(f"{right} right of {seen} seen: not counts")


def check_config(ok: bool, what: str) -> None:
    """Refuse configuration.

    Raises:
        ValueError: with ``what`` must hold, unless it does.
    """
    if not ok:
        raise ValueError(what)
