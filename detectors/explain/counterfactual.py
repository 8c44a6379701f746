"""Without whom is the metric back in its band: the smallest set, exactly.

Without a set S the metric after is (V - sum v) / (N - sum n). It reaches an edge b where the deficits b n - v of S add
up to at least b N - V. So the largest deficits are the smallest set, and nothing needs to be searched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from detectors.explain.decompose import Share

MOST: Final = 10
"""Values that a set may have: a longer list names nobody."""
KEPT_SHARE: Final = 0.5
"""Share of the answers that must remain: "in band without nearly everyone" says nothing."""


class Without(NamedTuple):
    """The metric after, had these given no answers."""

    values: tuple[str, ...]
    metric: float
    answers: float
    """That remain."""
    in_band: bool
    """False: these are the worst, but even without them it is outside."""


def without(
    shares: Sequence[Share],
    band: tuple[float, float],
    among: Collection[str] | None = None,
    most: int = MOST,
) -> Without | None:
    """The fewest values of a dimension without which the metric after is in the band; as far as it goes, if it is not.

    Args:
        shares: all values of one dimension.
        band: lowest and highest value in order.
        among: values that may be left out; None: all.
        most: how many at most.

    Returns:
        None if the metric is in the band as it is, or nobody can be left out to bring it nearer.

    >>> from detectors.explain.cells import Totals
    >>> def right(value, hits):
    ...     return Share(value, 0.0, 0.0, Totals(100, 92), Totals(100.0, hits))
    >>> without([right("ann", 50), right("bob", 91), right("cy", 70), right("di", 93)], (0.9, 1.0))
    Without(values=('ann', 'cy'), metric=0.92, answers=200.0, in_band=True)
    """
    low, high = band
    answers = sum(share.after.weight for share in shares)
    value = sum(share.after.value for share in shares)
    if not answers or low <= value / answers <= high:
        return None
    edge, sign = (low, 1.0) if value / answers < low else (high, -1.0)

    def deficit(share: Share) -> float:
        return sign * (edge * share.after.weight - share.after.value)

    worst = [share for share in shares if deficit(share) > 0 and (among is None or share.value in among)]
    worst.sort(key=lambda share: (-deficit(share), share.value))
    least = KEPT_SHARE * answers
    left_out: list[str] = []
    for share in worst[:most]:
        if answers - share.after.weight < least:
            continue
        answers -= share.after.weight
        value -= share.after.value
        left_out.append(share.value)
        if sign * (value - edge * answers) >= -1e-9 * answers:
            break
    if not left_out:
        return None
    return Without(tuple(left_out), value / answers, answers, sign * (value - edge * answers) >= -1e-9 * answers)
