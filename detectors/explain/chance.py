"""Is it beyond chance: what speaks against "nothing changed", for counts and for means.

Inside each stratum the answers before and after are one urn (Mantel and Haenszel 1959): given how many went wrong in
all, so many of them are expected after. Over strata the observed O and the expected E add up. For counts

    nats = K KL(O/K || E/K),   K events in all,

and the chance of O or more is at most exp(-nats), however few answers there are and whatever the strata (Hoeffding
1963, theorems 1 and 4). For means it is half the square of z. Nats of parts add up to at least those of the whole, and
to no more where every part changed evenly: half the deviance of homogeneity (Cochran's Q) is the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from scipy.special import gammaincc

from detectors.explain.cells import Sums


@dataclass(slots=True)
class Tally:
    """Observed and expected after, summed over strata."""

    observed: float = 0.0
    expected: float = 0.0
    events: float = 0.0
    """Of both periods; 0 for means."""
    variance: float = 0.0
    """Of the excess by chance."""
    answers: float = 0.0
    """After."""
    information: float = 0.0
    """Sum of n0 n1 / (n0 + n1): excess over this is the change of the rate."""

    def add(self, before: Sums, after: Sums, *, falls: bool, is_rate: bool) -> None:
        """Take a stratum's sums; what counts is what went the way of the whole."""
        if not is_rate:
            self.add_means(before, after, -1.0 if falls else 1.0)
        elif falls:
            self.add_events(before.n - before.value, before.n, after.n - after.value, after.n)
        else:
            self.add_events(before.value, before.n, after.value, after.n)

    def add_events(self, before: float, of_before: float, after: float, of_after: float) -> None:
        """Take a stratum's counts; nothing is learned where a side has no answers."""
        if of_before > 0 and of_after > 0:
            share = of_after / (of_before + of_after)
            self.observed += after
            self.expected += (before + after) * share
            self.events += before + after
            self.answers += of_after
            self.information += of_before * share
            total, events = of_before + of_after, before + after
            if total > 1:
                self.variance += of_before * share * (events / total) * max(total - events, 0.0) / (total - 1)

    def add_means(self, before: Sums, after: Sums, sign: float) -> None:
        """Take a stratum's sums; ``sign`` is that of the change to be explained."""
        total = before.n + after.n
        if before.n > 0 and after.n > 0 and total > 2:
            value = before.value + after.value
            spread = max(before.squares + after.squares - value * value / total, 0.0) / (total - 1)
            self.observed += sign * (after.mean - before.mean) * before.n * after.n / total
            self.variance += spread * before.n * after.n / total
            self.answers += after.n
            self.information += before.n * after.n / total

    def merge(self, other: Tally) -> None:
        self.observed += other.observed
        self.expected += other.expected
        self.events += other.events
        self.variance += other.variance
        self.answers += other.answers
        self.information += other.information

    def without(self, part: Tally) -> Tally:
        """Of the same answers, all but some of the events."""
        left = max(self.observed - part.observed, 0.0), max(self.expected - part.expected, 0.0)
        return Tally(*left, max(self.events - part.events, 0.0), self.variance, self.answers, self.information)

    def minus(self, part: Tally) -> Tally:
        """All but some of the answers."""
        return Tally(
            self.observed - part.observed,
            self.expected - part.expected,
            self.events - part.events,
            self.variance - part.variance,
            self.answers - part.answers,
            self.information - part.information,
        )

    def against(self, other: Tally) -> float:
        """Nats for "nothing changed here" against "it changed as much as there".

        >>> there, here, few, none = Tally(), Tally(), Tally(), Tally()
        >>> there.add_events(64, 800, 208, 800)  # from 8 % to 26 %
        >>> here.add_events(32, 400, 7, 80)
        >>> few.add_events(32, 400, 1, 8)
        >>> none.add_events(0, 400, 0, 80)
        >>> round(here.against(there), 1), round(few.against(there), 1), round(none.against(there), 1)
        (4.1, 0.2, 15.9)
        """
        if other.events and self.expected < 1.0:  # odds of next to nothing would stay so: as many more of the answers
            right, more = self.answers - self.observed, min(max(other.change, 0.0), 0.99)
            usual = max(self.expected, 1e-9) / self.answers if self.answers else 1.0
            return -right * math.log1p(-more) - self.observed * math.log1p(more / usual)
        if self.events <= 1e-9:
            moved = other.change * self.information
            return moved * (moved / 2 - self.excess) / self.variance if self.variance > 1e-9 else 0.0
        # Given how many events there were in all, those after are binomial. Half an event keeps the odds finite.
        before = other.events - other.observed + 0.5, other.events - other.expected + 0.5
        ratio = (other.observed + 0.5) / before[0] * before[1] / (other.expected + 0.5)
        events = ratio * self.expected + self.events - self.expected
        return self.events * math.log(events / self.events) - self.observed * math.log(ratio)

    @property
    def excess(self) -> float:
        return self.observed - self.expected

    @property
    def change(self) -> float:
        """Of the rate or mean, in the direction of the whole (Mantel-Haenszel)."""
        return self.excess / self.information if self.information else 0.0

    @property
    def nats(self) -> float:
        """What speaks for a change in the direction of the whole; 0 where it went the other way.

        >>> tally = Tally()
        >>> tally.add_events(4, 50, 3, 3)  # three answers, all wrong, from a labeler who had 4 wrong in 50
        >>> round(tally.nats, 2), round(math.exp(-tally.nats), 3)
        (4.07, 0.017)
        """
        return self.deviance if self.excess > 1e-9 * max(1.0, abs(self.observed)) else 0.0

    @property
    def deviance(self) -> float:
        """What speaks for a change in either direction."""
        if self.variance and not self.events:
            return 0.5 * self.excess**2 / self.variance
        left, left_expected = self.events - self.observed, self.events - self.expected
        spoken = self.observed * math.log(self.observed / self.expected) if self.observed > 0 < self.expected else 0.0
        return spoken + (left * math.log(left / left_expected) if left > 0 < left_expected else 0.0)


FEW: Final = 10
"""Answers with which a labeler counts half in saying how evenly a change is spread."""


def tally_sum(tallies: Iterable[Tally]) -> Tally:
    """All together."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


class Spread(NamedTuple):
    """How evenly a change is spread over labelers."""

    labelers: int
    even_share: float
    """Share of the labelers who changed by at least half of what all did together: 1 is even. Who has but a few
    answers counts for less, and who has very many not for more."""
    expected_share: float
    """What it would be, with so few answers, if all had changed alike."""
    p_value: float
    """Of a spread as uneven as this one if every labeler changed alike (likelihood ratio of homogeneity)."""


def spread_of(tallies: Sequence[Tally]) -> Spread:
    """How evenly a change is spread over those whose tallies are given.

    >>> def tally(wrong):
    ...     found = Tally()
    ...     found.add_events(8, 100, wrong, 100)
    ...     return found
    >>> found = spread_of([tally(30)] * 10)
    >>> found._replace(expected_share=round(found.expected_share, 2))
    Spread(labelers=10, even_share=1.0, expected_share=0.98, p_value=1.0)
    >>> found = spread_of([tally(80)] + [tally(8)] * 9)
    >>> round(found.even_share, 6), found.p_value < 1e-6
    (0.1, True)
    """
    heard = [tally for tally in tallies if tally.information > 0]
    whole = tally_sum(heard)
    if len(heard) < 2 or whole.excess <= 0:
        return Spread(len(heard), 1.0 if heard else 0.0, 1.0, 1.0)
    weights = [tally.answers / (tally.answers + FEW) for tally in heard]
    changed = [
        weight for weight, tally in zip(weights, heard, strict=True) if tally.change >= whole.change * (0.5 - 1e-9)
    ]
    uneven = max(math.fsum(tally.deviance for tally in heard) - whole.deviance, 0.0)
    expected = math.fsum(
        weight * _above(whole.change / 2 * tally.information, math.sqrt(tally.variance))
        for weight, tally in zip(weights, heard, strict=True)
    )
    return Spread(
        len(heard),
        math.fsum(changed) / math.fsum(weights),
        expected / math.fsum(weights),
        float(gammaincc((len(heard) - 1) / 2, uneven)),
    )


def _above(distance: float, error: float) -> float:
    """Chance that a normal variable with this standard error is not below its mean by more than the distance."""
    return 0.5 * (1.0 + math.erf(distance / error / math.sqrt(2))) if error else 1.0


def believed(p_values: Sequence[float], false_share: float) -> set[int]:
    """Positions to believe so that at most ``false_share`` of them are false (Benjamini and Hochberg 1995).

    >>> sorted(believed([0.2, 0.001, 0.02, 0.9], 0.05))
    [1, 2]
    """
    order = sorted(range(len(p_values)), key=lambda position: p_values[position])
    for count in range(len(order), 0, -1):
        if p_values[order[count - 1]] <= false_share * count / len(order):
            return set(order[:count])
    return set()
