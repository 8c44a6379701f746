"""What is explained: sums before and after, by labeler, vendor, task type, class, answer and hour.

Rows may be as fine as one likes and come in any order; rows of the same keys are added. A **stratum** is one
labeler's work on one class of one task type: rates are compared inside strata only, so that harder work is not
mistaken for worse labelers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Dimension = Literal["labeler", "vendor", "task_type", "true_class", "hour"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("labeler", "vendor", "task_type", "true_class", "hour")

Person = tuple[str, str]
"""Labeler and vendor: who works for two vendors is two persons."""


class Totals(NamedTuple):
    """Sums over answers: of a rate ``Totals(answers, hits)``, of a mean ``Totals(answers, sum, sum_of_squares)``."""

    weight: float = 0.0
    """How many answers."""
    value: float = 0.0
    squares: float | None = None
    """None: every value is 0 or 1, as of a rate."""

    @property
    def mean(self) -> float | None:
        """The rate or mean; None without answers."""
        return self.value / self.weight if self.weight else None


NOTHING: Final = Totals()


class Row(NamedTuple):
    """Sums of answers with the same keys; an empty key is one that is not known."""

    labeler: str
    vendor: str
    before: Totals
    after: Totals
    task_type: str = ""
    true_class: str = ""
    answer: str = ""
    """What was answered; empty where it does not matter. Right answers are those of the true class."""
    hour: str = ""


@dataclass(slots=True)
class Sums:
    """Totals that are still being added to."""

    n: float = 0.0
    value: float = 0.0
    squares: float = 0.0

    def add(self, totals: Totals) -> None:
        self.n += totals.weight
        self.value += totals.value
        self.squares += totals.value if totals.squares is None else totals.squares

    def merge(self, other: Sums, times: float = 1.0) -> None:
        self.n += other.n * times
        self.value += other.value * times
        self.squares += other.squares * times

    @property
    def mean(self) -> float:
        return self.value / self.n if self.n else 0.0


@dataclass(slots=True)
class Side:
    """One period of a stratum, or of peers."""

    sums: Sums = field(default_factory=Sums)
    wrong: dict[str, float] = field(default_factory=dict)
    """Answer to how much of the rate was lost with it."""

    def add(self, row: Row, totals: Totals) -> None:
        self.sums.add(totals)
        if row.answer and row.answer != row.true_class and totals.squares is None:
            self.wrong[row.answer] = self.wrong.get(row.answer, 0.0) + totals.weight - totals.value

    def merge(self, other: Side, times: float = 1.0) -> None:
        self.sums.merge(other.sums, times)
        for answer, lost in other.wrong.items():
            self.wrong[answer] = self.wrong.get(answer, 0.0) + lost * times


@dataclass(slots=True)
class Stratum:
    """One labeler's work on one class of one task type, and by how much its rate is held to have changed."""

    person: Person
    task_type: str
    true_class: str
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    rows: list[Row] = field(default_factory=list)
    reference: Side | None = None
    """What "before" is compared with: the labeler's own, peers' for a newcomer, None where there is nothing."""
    expected: Side | None = None
    """The reference and some answers as of peers: what is believed of the rate before where little is known of it."""
    rate_change: float = 0.0
    rate_weight: float = 0.0


class Cells(NamedTuple):
    """Everything that was given, sorted: the order of rows never matters."""

    strata: list[Stratum]
    before: Sums
    after: Sums
    is_rate: bool
    """Every value is 0 or 1."""

    @property
    def change(self) -> float:
        return self.after.mean - self.before.mean


def cells_of(rows: Iterable[Row]) -> Cells:
    """Sort rows into strata.

    Raises:
        ValueError: sums that cannot be, or no answers before or after.
    """
    strata: dict[tuple[str, ...], Stratum] = {}
    before, after = Sums(), Sums()
    is_rate = True
    for row in sorted(rows, key=_order):
        for totals in (row.before, row.after):
            _check(row, totals)
            is_rate = is_rate and (totals.squares is None)
        key = (row.labeler, row.vendor, row.task_type, row.true_class)
        stratum = strata.get(key)
        if stratum is None:
            stratum = strata[key] = Stratum((row.labeler, row.vendor), row.task_type, row.true_class)
        stratum.rows.append(row)
        for totals, side, sums in ((row.before, stratum.before, before), (row.after, stratum.after, after)):
            if totals.weight:
                side.add(row, totals)
                sums.add(totals)
    for sums, when in ((before, "before"), (after, "after")):
        if not sums.n:
            raise ValueError(f"no answers {when}: there is no change to explain")
    return Cells(list(strata.values()), before, after, is_rate)


def _order(row: Row) -> tuple[object, ...]:
    labeler, vendor, before, after, *names = row
    return (labeler, vendor, *names, *before[:2], before.squares or 0.0, *after[:2], after.squares or 0.0)


def _check(row: Row, totals: Totals) -> None:
    weight, value, squares = totals
    if squares is None:
        ok = 0.0 <= value <= weight < math.inf
    else:
        ok = 0.0 <= weight < math.inf and -math.inf < value < math.inf and 0.0 <= squares < math.inf
        ok = ok and (weight > 0.0 or value == 0.0 == squares)
    if not ok:
        raise ValueError(f"labeler {row.labeler!r}, class {row.true_class!r}: {totals} are not sums of answers")
