"""Everything that is said about why a metric changed, as values that a message can be made from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from detectors.explain.cause import MARGIN, Candidate, Verdict, candidates, tallies_of, value_tallies
from detectors.explain.cells import DIMENSIONS, Cells, Dimension, Row, Totals, cells_of
from detectors.explain.chance import Spread, Tally, believed
from detectors.explain.counterfactual import Without, without
from detectors.explain.decompose import PairShare, Share, Status, compare, pair_shares, parts, shares

FALSE_SHARE: Final = 0.05
"""Share of the values named beyond chance, in one dimension, that may be false."""
ERRORS: Final = 2.0
"""Standard errors that the mix part must be away from 0 to be called the cause."""


class Contribution(NamedTuple):
    """What one value of a dimension adds to the change, and how sure it is that its answers changed."""

    value: str
    rate: float
    mix: float
    before: Totals
    after: Totals
    status: Status
    share: float
    """Rate part over the change: 1 is all of it, negative went against it. 0 if nothing changed."""
    p_value: float
    """At most this is the chance of such answers if nothing changed, before choosing among values."""
    beyond_chance: bool
    """Believed, of all values of the dimension, at a false share of 5 %."""

    @property
    def total(self) -> float:
        return self.rate + self.mix


class Named(NamedTuple):
    """Who or what a message should name."""

    dimension: str
    """One of the dimensions, or ``answer``: the wrong one given for ``true_class``."""
    value: str


class Cause(NamedTuple):
    """The verdict, and how sure it is."""

    verdict: Verdict
    named: tuple[Named, ...]
    """Labelers with the worst first; of other verdicts, every dimension that is part of it."""
    swapped: bool
    """A class pair that is confused both ways."""
    share: float
    """Of the change, that would not have been had these answers been given as before (of the mix: as they were)."""
    nats: float
    """Evidence after paying for the choice: its odds are about exp(nats) to 1 against chance."""
    margin: float
    """Nats ahead of the best explanation of another verdict; all of them if there is none. Negative: labelers have more
    of them, but the change is even, and the group explains as much."""
    spread: Spread | None
    """How evenly it is spread over labelers."""


TOO_EARLY: Final = Cause(Verdict.UNCLEAR, (), False, 0.0, 0.0, 0.0, None)
"""Nobody can be named by now."""


class Summary(NamedTuple):
    """What a sentence needs: what went from what to what, since when, by whom, how sure."""

    metric: str
    before: float
    after: float
    answers_before: float
    answers_after: float
    since_ms: int | None
    verdict: Verdict
    named: tuple[Named, ...]
    share: float
    odds: float
    """About this to one that it is not chance; at most 1e9."""
    without: Without | None
    rate: float
    mix: float
    swapped: bool = False
    """Of a class pair: it is confused both ways."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a metric changed. Contributions of each dimension add up to ``change``; so do ``rate`` and ``mix``."""

    before: float
    after: float
    answers_before: float
    answers_after: float
    rate: float
    mix: float
    mix_alone: float
    """What the change would have been had everyone answered as before (as peers, for newcomers)."""
    mix_error: float
    """Its standard error: it rests on rates before, which are estimated. So does how the change is divided."""
    contributions: dict[Dimension, tuple[Contribution, ...]]
    """Beyond chance first, then by how much of the change is theirs."""
    pairs: tuple[PairShare, ...]
    """Confusions, worst first; empty for means and where answers are not known."""
    cause: Cause
    without: Without | None
    """Of the labelers, vendors, task types or classes that the cause names; None without a band, or for the mix."""
    band: tuple[float, float] | None

    @property
    def change(self) -> float:
        return self.after - self.before

    def by(self, cause: Cause) -> Explanation:
        """The same with a cause that more is known of."""
        return replace(self, cause=cause, without=_without(cause, self.contributions, self.band))

    def summary(self, metric: str, since_ms: int | None = None) -> Summary:
        """The data of one sentence."""
        return Summary(
            metric,
            self.before,
            self.after,
            self.answers_before,
            self.answers_after,
            since_ms,
            self.cause.verdict,
            self.cause.named,
            self.cause.share,
            math.exp(min(self.cause.nats, math.log(1e9))),
            self.without,
            self.rate,
            self.mix,
            self.cause.swapped,
        )


def explain(rows: Iterable[Row], band: tuple[float, float] | None = None) -> Explanation:
    """Explain the change of a rate or mean from before to after.

    Args:
        rows: sums by labeler, vendor, task type, true class, answer and hour, as fine as they are known, in any order.
        band: lowest and highest value of the metric in order, for the counterfactual.

    Raises:
        ValueError: sums that cannot be, or no answers before or after.

    >>> names = ["ann", "bob", "cy", "di"]
    >>> rows = [Row(name, "acme", Totals(200, 184), Totals(100, 40 if name == "cy" else 92)) for name in names]
    >>> why = explain(rows, band=(0.9, 1.0))
    >>> round(why.before, 2), round(why.after, 2), round(why.rate, 4), round(why.mix, 4)
    (0.92, 0.79, -0.13, 0.0)
    >>> why.cause.verdict.value, why.cause.named, round(why.cause.share, 3)
    ('labelers', (Named(dimension='labeler', value='cy'),), 1.0)
    >>> why.without
    Without(values=('cy',), metric=0.92, answers=300.0, in_band=True)
    """
    cells = cells_of(rows)
    compare(cells)
    found = list(parts(cells))
    by_dimension = {dimension: shares(found, dimension) for dimension in DIMENSIONS}
    contributions = {
        dimension: _ranked(of_value, value_tallies(cells, dimension), cells.change)
        for dimension, of_value in by_dimension.items()
    }
    rate = math.fsum(part.rate for part in found)
    mix = math.fsum(part.mix for part in found)
    mix_alone, error = _mix_alone(cells)
    cause = _cause(candidates(cells, tallies_of(cells)), cells.change, mix_alone, error)
    return Explanation(
        cells.before.mean,
        cells.after.mean,
        cells.before.n,
        cells.after.n,
        rate,
        mix,
        mix_alone,
        error,
        contributions,
        tuple(pair_shares(cells)),
        cause,
        _without(cause, contributions, band),
        band,
    )


def _ranked(of_value: list[Share], tallies: dict[str, Tally], change: float) -> tuple[Contribution, ...]:
    p_values = [math.exp(-tallies[share.value].nats) if share.value in tallies else 1.0 for share in of_value]
    sure = believed(p_values, FALSE_SHARE)
    ranked = [
        Contribution(*share, share.status, share.rate / change if change else 0.0, p_values[position], position in sure)
        for position, share in enumerate(of_value)
    ]
    return tuple(sorted(ranked, key=lambda c: (not c.beyond_chance, -c.share, c.value)))


def _mix_alone(cells: Cells) -> tuple[float, float]:
    """The change at the rates of before, and its standard error: rates of strata are independent."""
    moved, variance = [], 0.0
    for stratum in cells.strata:
        after = stratum.after.sums
        share = after.n / cells.after.n
        moved.append(share * stratum.rate_change)
        if stratum.reference is not None and after.n:
            before = stratum.reference.sums
            n = before.n + after.n
            mean = (before.value + after.value) / n
            spread = max((before.squares + after.squares) / n - mean * mean, 0.0)
            variance += share**2 * spread * (1 / before.n + 1 / after.n)
    return cells.change - math.fsum(moved), math.sqrt(variance)


def _cause(found: list[Candidate], change: float, mix: float, error: float) -> Cause:
    mix_share = mix / change if change else 0.0
    best = next((one for one in found if one.is_known), None)
    is_rest_less = 2 * best.share < mix_share if best else not found
    if mix_share > 0.5 and abs(mix) > ERRORS * error and is_rest_less:
        return Cause(Verdict.MIX, (), False, mix_share, best.nats if best else 0.0, 0.0, None)
    if best is None:
        return TOO_EARLY
    others = [other.nats for other in found if other.scope.verdict is not best.scope.verdict]
    margin = best.nats - max(others, default=0.0)
    # Labelers may have more nats than the group that is named: those that are known were compared with it.
    of_all = [o.nats for o in found if o.scope.verdict is not best.scope.verdict and (not o.is_known or margin >= 0)]
    if best.nats - max(of_all, default=0.0) < (MARGIN if of_all else 0.0):
        return TOO_EARLY
    return Cause(best.scope.verdict, _named(best), best.scope.swapped, best.share, best.nats, margin, best.spread)


def _named(candidate: Candidate) -> tuple[Named, ...]:
    if candidate.scope.verdict is Verdict.LABELERS:
        return tuple(Named("labeler", labeler) for labeler, _ in candidate.labelers)
    scope = candidate.scope
    where = (
        ("vendor", scope.vendor),
        ("task_type", scope.task_type),
        ("true_class", scope.true_class),
        ("answer", scope.answer),
    )
    return tuple(Named(dimension, value) for dimension, value in where if value is not None)


#: Verdict to the dimension whose values may be left out.
_LEFT_OUT: Final[dict[Verdict, Dimension]] = {
    Verdict.LABELERS: "labeler",
    Verdict.VENDOR: "vendor",
    Verdict.TASK_TYPE: "task_type",
    Verdict.CLASS_PAIR: "true_class",
}


def _without(
    cause: Cause, contributions: dict[Dimension, tuple[Contribution, ...]], band: tuple[float, float] | None
) -> Without | None:
    dimension = _LEFT_OUT.get(cause.verdict)
    if dimension is None or band is None:
        return None
    names = {named.value for named in cause.named if named.dimension == dimension}
    if cause.swapped:
        names |= {named.value for named in cause.named if named.dimension == "answer"}
    values = [Share(*one[:5]) for one in contributions[dimension]]
    return without(values, band, names)
