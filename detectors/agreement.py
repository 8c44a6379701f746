"""Agreement beyond chance: Krippendorff's alpha, from counts of coincidences that add up in any order.

Sources: K. Krippendorff, *Content Analysis: An Introduction to Its Methodology* (reliability chapter), and his
*Computing Krippendorff's Alpha-Reliability* (2011), sections C (coincidences of incomplete data) and D (metrics).

A *unit* is a task as one segment (project, task type, vendor) sees it: the standing labels of that vendor's labelers,
one each. It belongs whole to one window, its home. When one of its labels is added, replaced or arrives late, the owner
subtracts what the unit contributed and adds what it contributes now, maybe elsewhere: integers cancel exactly, so sums
depend on the labels that stand in the end and not on how they came.

Every alpha here is 1 - (n - 1) / n * o / e, with n labels, o the mean difference of the pairs inside units, and e the
mean difference of any two labels, drawn with replacement. The difference of two labels is 1 if they are unlike
(nominal), the squared distance of their mid-ranks (ordinal), or the squared distance of their values (interval).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, TypeVar

from detectors.sketches import hash64

#: One label in the integer weights below. Stored partials are in these units: a change needs a migration.
SCALE: Final = 10**9
#: Distinct labels of one unit that are counted exactly: at most 2,080 pairs. Beyond it the unit is sampled.
MAX_VALUES: Final = 64
#: Longer labels are counted under their beginning and a hash, so that a pair has a bounded size.
MAX_VALUE_CHARS: Final = 64
#: Pairs held before a sum is full. Must exceed what one unit can add, or every unit would fill one.
MAX_PAIRS: Final = 4_096
#: Distinct labels of a unit whose contribution is remembered.
SMALL: Final = 8
#: Below this share of the mean square, the spread of ratings cannot be told from rounding.
SMALLEST_SPREAD: Final = 1e-10

Pair: TypeAlias = tuple[str, str]
Items: TypeAlias = tuple[tuple[str, int], ...]
Plain: TypeAlias = tuple[int, int, list[str], list[str], list[int], float, float, float]

_Value = TypeVar("_Value", str, float)
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?")


class Contribution(NamedTuple):
    """What one unit adds to the sums of its home; the same value for the same counts of labels, always."""

    units: int
    values: int
    weights: tuple[tuple[Pair, int], ...]
    sum: float
    sum_squares: float
    within: float


NOTHING: Final = Contribution(0, 0, (), 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Coincidences:
    """Sums over units: what alpha is made from. A correction alone may be negative.

    The integers are exact. The three moments are floats: added in another order they differ by about 1e-13 of their
    largest value on the way, which moves interval alpha by less than 1e-9 where the mean rating is within about 100
    standard deviations of zero.

    >>> home = Coincidences()
    >>> home.add(unit_contribution({"cat": 1, "dog": 1}))
    >>> home.add(unit_contribution({"cat": 1, "dog": 1}), -1)  # a third label came:
    >>> home.add(unit_contribution({"cat": 2, "dog": 1}))  # ... each ordered pair now weighs 1 / 2
    >>> home.units, home.values, home.weights
    (1, 3, {('cat', 'cat'): 1000000000, ('cat', 'dog'): 2000000000})
    """

    units: int = 0
    """Tasks with two labels or more."""
    values: int = 0
    """Their labels."""
    weights: dict[Pair, int] = field(default_factory=dict)
    """Unordered pair of labels (first <= second) to its coincidences in both orders, in 1 / SCALE; none is zero."""
    sum: float = 0.0
    """Of the ratings; zero where labels are no ratings, like the next two."""
    sum_squares: float = 0.0
    within: float = 0.0
    """Squared differences of ordered pairs inside each unit, over (labels of the unit - 1), summed."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it, or all of it was taken out again."""
        return not (self.units or self.weights)

    @property
    def is_full(self) -> bool:
        """Whether its owner should close it and go on with another of the same window, for readers to add up.

        That is how memory stays bounded without any bias: to drop pairs, or to merge labels into an "other", would
        turn disagreement into agreement.
        """
        return len(self.weights) >= MAX_PAIRS

    def add(self, unit: Contribution, sign: int = 1) -> None:
        """Add what a unit contributes (sign 1), or take it out again (sign -1)."""
        units, values, pairs, total, squares, within = unit
        self._add(pairs, sign, units, values, total, squares, within)

    def merge(self, other: Coincidences) -> None:
        """Add another share of the same window, or another window."""
        self._add(other.weights.items(), 1, other.units, other.values, other.sum, other.sum_squares, other.within)

    def _add(
        self,
        pairs: Iterable[tuple[Pair, int]],
        sign: int,
        units: int,
        values: int,
        total: float,
        squares: float,
        within: float,
    ) -> None:
        self.units += sign * units
        self.values += sign * values
        weights = self.weights
        for pair, weight in pairs:
            left = weights.get(pair, 0) + sign * weight
            if left:
                weights[pair] = left
            else:
                del weights[pair]
        if weights:
            self.sum += sign * total
            self.sum_squares += sign * squares
            self.within += sign * within
        else:  # moments follow from the weights: what is left of them is rounding
            self.sum = self.sum_squares = self.within = 0.0

    def to_plain(self) -> Plain:
        """Plain values in the order of the ``agreement_*`` columns: units, values, first, second, weight, moments."""
        pairs = sorted(self.weights.items())
        return (
            self.units,
            self.values,
            [first for (first, _), _ in pairs],
            [second for (_, second), _ in pairs],
            [weight for _, weight in pairs],
            self.sum,
            self.sum_squares,
            self.within,
        )

    @classmethod
    def from_plain(cls, plain: Plain) -> Coincidences:
        """The sums that ``to_plain`` was called on."""
        units, values, first, second, weight, total, squares, within = plain
        pairs = zip(first, second, strict=True)
        return cls(units, values, dict(zip(pairs, weight, strict=True)), total, squares, within)


def unit_contribution(counts: Mapping[str, int], *, numeric: bool = False) -> Contribution:
    """What a unit contributes, from how many labelers gave each label; nothing with fewer than two labelers.

    Takes time in the square of the number of distinct labels, not of labelers. A pair's weight is rounded to
    1 / SCALE, so that alpha is off by about 1e-9.

    A unit with more than ``MAX_VALUES`` distinct labels (a finely graded rating by very many) counts by a sample of
    that many of its labels, scaled up to all of them: without bias, since each label is as likely to be drawn as any
    other, and always the same sample of the same counts. Moments are never sampled.

    Args:
        counts: canonical label to the number of labelers whose standing label it is; never zero.
        numeric: whether the labels are ratings, which have moments, too. The same for all units of a segment.

    Raises:
        ValueError: numeric, and a label is no number.

    >>> unit_contribution({"yes": 3, "no": 1}).weights
    ((('no', 'yes'), 2000000000), (('yes', 'yes'), 2000000000))
    >>> unit_contribution({"3": 1, "5": 2}, numeric=True)[3:]  # sum, sum of squares, within
    (13.0, 59.0, 8.0)
    """
    # In order of labels: sums of floats, too, must not depend on who came first.
    items = tuple(sorted(counts.items()))
    if items and max(map(len, counts)) > MAX_VALUE_CHARS:
        items = tuple(sorted((_short(value), count) for value, count in items))
    return _remembered(items, numeric) if len(items) <= SMALL else _contribution(items, numeric)


def _contribution(items: Items, numeric: bool) -> Contribution:
    labels = sum(count for _, count in items)
    if labels < 2:
        return NOTHING
    total, squares, within = _moments(items, labels) if numeric else (0.0, 0.0, 0.0)
    drawn = labels
    if len(items) > MAX_VALUES:
        items, drawn = _sample(items), MAX_VALUES
    return Contribution(1, labels, tuple(_weights(items, labels, drawn)), total, squares, within)


#: Most units are alike: two yes and one no. At most 6 kB each.
_remembered = lru_cache(maxsize=2_048)(_contribution)


def _weights(items: Items, labels: int, drawn: int) -> list[tuple[Pair, int]]:
    """Coincidences of the labels drawn from a unit, scaled so that they add up to all its labels; none is zero."""
    divisor = drawn * (drawn - 1)
    half = divisor // 2
    unit = SCALE * labels
    weights = []
    for i, (first, count) in enumerate(items):
        if count > 1:
            weights.append(((first, first), (unit * count * (count - 1) + half) // divisor))
        both_orders = 2 * unit * count
        for second, other in items[i + 1 :]:
            weights.append(((first, second), (both_orders * other + half) // divisor))
    return weights


def _moments(items: Items, labels: int) -> tuple[float, float, float]:
    """Sum, sum of squares, and the squared differences of all ordered pairs over (labels - 1)."""
    numbers = [(float(value), count) for value, count in items]
    total = sum(count * number for number, count in numbers)
    mean = total / labels
    spread = sum(count * (number - mean) ** 2 for number, count in numbers)
    squares = sum(count * number * number for number, count in numbers)
    return total, squares, 2.0 * labels * spread / (labels - 1)


def _sample(items: Items) -> Items:
    """``MAX_VALUES`` of a unit's labels without replacement, by the smallest hashes.

    The hashes are salted by the whole unit: else the same few ratings would be preferred in all units.
    """
    salt = hash64(repr(items))
    tickets = sorted((hash64(f"{salt} {i} {value}"), value) for value, count in items for i in range(count))
    drawn: dict[str, int] = {}
    for _, value in tickets[:MAX_VALUES]:
        drawn[value] = drawn.get(value, 0) + 1
    return tuple(sorted(drawn.items()))


def _short(value: str) -> str:
    """A label; a long one as its beginning and its hash, ``MAX_VALUE_CHARS`` in all."""
    if len(value) <= MAX_VALUE_CHARS:
        return value
    return f"{value[: MAX_VALUE_CHARS - 17]}#{hash64(value):016x}"


def alpha_nominal(sums: Coincidences) -> float | None:
    """Alpha of labels that are only equal or not: 1 is full agreement, 0 is chance, below is systematic disagreement.

    None where it is undefined: no unit has two labels, or all labels are the same, so that there is nothing that
    agreement could be told from. (Krippendorff: 0 / 0; the ``krippendorff`` package raises ValueError.)

    The example of *Computing Krippendorff's Alpha-Reliability*, section C: four observers, twelve units.

    >>> units = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]
    >>> sums = Coincidences()
    >>> for unit in units:
    ...     sums.add(unit_contribution({value: unit.count(value) for value in unit}, numeric=True))
    >>> sums.units, sums.values
    (11, 40)
    >>> [round(alpha, 3) for alpha in (alpha_nominal(sums), alpha_ordinal(sums), alpha_interval(sums))]
    [0.743, 0.815, 0.849]
    """
    marginals = _marginals(sums.weights)
    total = sum(marginals.values())
    if total <= 0:
        return None
    apart = sum(weight for (first, second), weight in sums.weights.items() if first != second)
    by_chance = total * total - sum(count * count for count in marginals.values())
    return _alpha(sums.values, 2 * apart / total, by_chance / (total * total))


def alpha_ordinal(sums: Coincidences) -> float | None:
    """Alpha of labels whose order counts: numbers, sorted as such. None as for nominal, and where a label is no number.

    Krippendorff's ordinal difference of two labels is the distance of their mid-ranks. As shares of all labels
    (ridits) these have a variance of (1 - sum of p ^ 3) / 12 whatever the labels are, p being the labels' shares.
    """
    if not all(_NUMBER.fullmatch(value) for pair in sums.weights for value in pair):
        return None
    weights: dict[tuple[float, float], int] = {}
    for (first, second), weight in sums.weights.items():
        numbers = float(first), float(second)
        weights[numbers] = weights.get(numbers, 0) + weight
    marginals = _marginals(weights)
    total = sum(marginals.values())
    if total <= 0:
        return None
    ridits: dict[float, float] = {}
    below = 0
    for number in sorted(marginals):
        ridits[number] = (below + marginals[number] / 2) / total
        below += marginals[number]
    inside = sum(weight * (ridits[first] - ridits[second]) ** 2 for (first, second), weight in weights.items())
    by_chance = (1.0 - sum((count / total) ** 3 for count in marginals.values())) / 6.0
    return _alpha(sums.values, 2 * inside / total, by_chance)


def alpha_interval(sums: Coincidences) -> float | None:
    """Alpha of ratings whose distances count, from the moments. None as for nominal, and where labels are no ratings.

    Also None where the ratings' standard deviation is below 1e-5 of their root mean square: not to be told from none.
    """
    labels = sums.values
    if labels < 2:
        return None
    mean_square = sums.sum_squares / labels
    variance = mean_square - (sums.sum / labels) ** 2
    if variance <= SMALLEST_SPREAD * mean_square:
        return None
    return _alpha(labels, sums.within / labels, 2.0 * variance)


def _alpha(labels: int, inside: float, by_chance: float) -> float | None:
    """Alpha of the mean difference inside units, and of any two labels drawn with replacement.

    Chance is drawn without replacement: labels / (labels - 1) times as much.
    """
    if by_chance <= 0.0:
        return None
    return 1.0 - (labels - 1) / labels * inside / by_chance


def _marginals(weights: Mapping[tuple[_Value, _Value], int]) -> dict[_Value, int]:
    """Twice each label's number in units of 1 / SCALE: a pair of unlike labels is half of its coincidences to each."""
    marginals: dict[_Value, int] = {}
    for pair, weight in weights.items():
        for value in pair:
            marginals[value] = marginals.get(value, 0) + weight
    return marginals
