"""Who contributed how much: rate shift apart from mix shift, adding up exactly to the change of the metric.

For a stratum with shares p0, p1 of the answers and rates r0, r1 before and after, and the metric m between M0 and M1:

    rate = (p0 + p1) / 2 * (r1 - r0)                  the same work, done otherwise
    mix  = (p1 - p0) * ((r0 + r1) / 2 - (M0 + M1) / 2)    other work, done as always

(E. M. Kitagawa, *Components of a difference between two rates*, JASA 50, 1955; the twofold form of R. Oaxaca and
A. Blinder, 1973, with the average of both periods as reference.) It is symmetric in time, and it is the Shapley value
of the two factors "who does what" and "how well": no order of them needs to be chosen. Sums over strata are exact.
Their centre (M0 + M1) / 2 changes no sum; without it whoever works more would seem to have raised the metric.

A dimension's value gets the sum of its strata. So each dimension adds up to the same change (they are views of one
change, not to be added to each other), vendors are exactly the sum of their labelers, and both have one rate part.

Where a side has no answers there is no rate to compare:

- a **newcomer** (no answers before at all) is compared with peers of the same class and task type before, of the same
  vendor if it has any, and with the whole weight p1: a newcomer who is like the peers has a rate part of 0;
- who **vanished** did nothing otherwise: all is mix;
- a labeler's **stratum of one side** is held to have changed as the labeler's others did (Mantel-Haenszel mean), or not
  at all if there are none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from detectors.explain.cells import NOTHING, Cells, Dimension, Person, Row, Side, Stratum, Totals

PEER_ANSWERS: Final = 10
"""Of peers, as what a labeler is believed to have been before: of 6 answers before and 70 after nothing could be told
from the labeler's alone. Contributions and their chance do not use it."""

Status = Literal["stayed", "new", "vanished"]


class Part(NamedTuple):
    """What one row adds to the change."""

    row: Row
    rate: float
    mix: float


class Share(NamedTuple):
    """What one value of a dimension adds to the change of the metric."""

    value: str
    rate: float
    """Because its answers were given otherwise."""
    mix: float
    """Because of how much of which work there was."""
    before: Totals
    after: Totals

    @property
    def total(self) -> float:
        return self.rate + self.mix

    @property
    def status(self) -> Status:
        """Whether it was there before and after."""
        if not self.before.weight:
            return "new"
        return "stayed" if self.after.weight else "vanished"


def compare(cells: Cells) -> None:
    """Set what each stratum is compared with, its rate's change and the weight of that."""
    people: dict[Person, list[Stratum]] = defaultdict(list)
    peers: dict[tuple[str, ...], Side] = defaultdict(Side)
    for stratum in cells.strata:
        people[stratum.person].append(stratum)
        work = (stratum.task_type, stratum.true_class)
        for key in (work, (*work, stratum.person[1])):
            peers[key].merge(stratum.before)
    for strata in people.values():
        was_here = any(stratum.before.sums.n for stratum in strata)
        change = _mean_change(strata)
        answers = math.fsum(stratum.after.sums.n for stratum in strata)
        for stratum in strata:
            share_before = stratum.before.sums.n / cells.before.n
            share_after = stratum.after.sums.n / cells.after.n
            work = (stratum.task_type, stratum.true_class)
            own_vendor = peers[(*work, stratum.person[1])]
            like_it = own_vendor if own_vendor.sums.n else peers[work]
            stratum.rate_weight = (share_before + share_after) / 2 if was_here else share_after
            if was_here:
                both = stratum.before.sums.n > 0 and stratum.after.sums.n > 0
                stratum.reference = stratum.before if both else None
                stratum.rate_change = stratum.after.sums.mean - stratum.before.sums.mean if both else change
            elif like_it.sums.n and stratum.after.sums.n:
                stratum.reference = like_it
                stratum.rate_change = stratum.after.sums.mean - like_it.sums.mean
            if stratum.reference is not None:
                stratum.expected = Side()
                stratum.expected.merge(stratum.reference)
                if was_here:
                    borrowed = min(PEER_ANSWERS * stratum.after.sums.n / answers, like_it.sums.n)
                    stratum.expected.merge(like_it, borrowed / like_it.sums.n)


def _mean_change(strata: list[Stratum]) -> float:
    weights = change = 0.0
    for stratum in strata:
        before, after = stratum.before.sums, stratum.after.sums
        if before.n and after.n:
            weight = before.n * after.n / (before.n + after.n)
            weights += weight
            change += weight * (after.mean - before.mean)
    return change / weights if weights else 0.0


def parts(cells: Cells) -> Iterator[Part]:
    """What each row adds; :func:`compare` must have run.

    Within a stratum, rows after share the change of its rate by how far they are from the rate before, so that hours
    add up to it, too.
    """
    middle = (cells.before.mean + cells.after.mean) / 2
    for stratum in cells.strata:
        before, after = stratum.before.sums, stratum.after.sums
        level = before.mean if before.n and after.n else after.mean - stratum.rate_change
        for row in stratum.rows:
            rate = 0.0
            if after.n:
                rate += (row.after.value - level * row.after.weight) / after.n
                if before.n:
                    rate -= (row.before.value - level * row.before.weight) / before.n
            elif before.n:
                rate += stratum.rate_change * row.before.weight / before.n
            rate *= stratum.rate_weight
            total = (row.after.value - middle * row.after.weight) / cells.after.n
            total -= (row.before.value - middle * row.before.weight) / cells.before.n
            yield Part(row, rate, total - rate)


def shares(found: list[Part], dimension: Dimension) -> list[Share]:
    """What each value of a dimension adds, in the order of their names.

    A labeler is named alone: one of two vendors is two rows of the vendors, and one of the labelers.
    """
    of_value: dict[str, list[Part]] = defaultdict(list)
    for part in found:
        of_value[getattr(part.row, dimension)].append(part)
    return [
        Share(
            value,
            math.fsum(part.rate for part in of_value[value]),
            math.fsum(part.mix for part in of_value[value]),
            _total([part.row.before for part in of_value[value]]),
            _total([part.row.after for part in of_value[value]]),
        )
        for value in sorted(of_value)
    ]


def _total(totals: list[Totals]) -> Totals:
    squares = [t.squares for t in totals if t is not NOTHING and t.squares is not None]
    return Totals(
        math.fsum(t.weight for t in totals),
        math.fsum(t.value for t in totals),
        math.fsum(squares) if squares else None,
    )


class PairShare(NamedTuple):
    """What one confusion adds to the change of the rate: answers of one class given to another."""

    task_type: str
    true_class: str
    answer: str
    rate: float


def pair_shares(cells: Cells) -> list[PairShare]:
    """What each pair of true class and wrong answer adds, worst first; of a mean there are none.

    Exact where both rates of a stratum are known: a rate is one less what each wrong answer costs. The rest of the rate
    part (strata of one side) is no pair's.
    """
    rates: dict[tuple[str, str, str], float] = defaultdict(float)
    for stratum in cells.strata:
        reference, after = stratum.reference, stratum.after
        if reference is None or not after.sums.n or not reference.sums.n:
            continue
        for answer in sorted(reference.wrong.keys() | after.wrong.keys()):
            cost = after.wrong.get(answer, 0.0) / after.sums.n - reference.wrong.get(answer, 0.0) / reference.sums.n
            rates[stratum.task_type, stratum.true_class, answer] -= stratum.rate_weight * cost
    return sorted((PairShare(*pair, rate) for pair, rate in rates.items()), key=lambda p: (p.rate, p[:3]))
