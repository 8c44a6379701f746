"""Is it only here: how others answered meanwhile, on the same project and for the same vendor.

What is wrong with a project is wrong with other vendors' answers on it; what is wrong with a vendor is wrong with its
answers on other projects. Where both are well, it is the people who are at work here, also if it is most of them: from
their own answers alone ten bad labelers, of a dozen at work, cannot be told from a bad project.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from detectors.explain.cause import MARGIN, Scope, Verdict, tallies_of
from detectors.explain.cells import Row, cells_of
from detectors.explain.chance import Tally, tally_sum
from detectors.explain.decompose import compare
from detectors.explain.explanation import Cause, Explanation, Named, explain
from detectors.explain.onset import onset, since
from detectors.explain.others import others_are_heard
from detectors.explain.scattered import surely_changed

USUAL: Final = 1.25
"""By so many times people err more often, or less, anyway: by the hour of the day, and as work comes."""
MOST_SHARE: Final = 0.5
"""Of a change, that what all have in common must be to be taken for its cause."""
_ALL: Final = (Verdict.EVERYONE, Verdict.TASK_TYPE)


class Others(StrEnum):
    """How others answered meanwhile."""

    WELL = "well"
    CHANGED = "changed"
    """As much as those here."""
    UNKNOWN = "unknown"
    """Too few answers to say, or something between."""


class Meanwhile(NamedTuple):
    """How others answered while those of a vendor on a project changed."""

    vendor_id: str
    of_project: Others
    """Other vendors, on the same project."""
    of_vendor: Others
    """The vendor, on other projects."""


class Place(NamedTuple):
    """Answers before and after a change, of a vendor on a project, and elsewhere."""

    vendor_id: str
    here: Sequence[Row]
    of_project: Sequence[Row]
    of_vendor: Sequence[Row]

    @property
    def is_heard(self) -> bool:
        """Whether there is a change here to explain."""
        return any(row.before.weight for row in self.here) and any(row.after.weight for row in self.here)


def by_place(place: Place, found: Explanation) -> tuple[Explanation, Meanwhile]:
    """An explanation with the cause that others' answers leave; its own where they leave several.

    Args:
        place: where the answers were given.
        found: the explanation of what happened here, or on the whole project if hardly anybody else is at work on it.
    """
    falls = found.change < 0.0
    of_project, sure = compared(place.here, place.of_project, falls=falls)
    of_vendor, also_sure = compared(place.here, place.of_vendor, falls=falls)
    meanwhile = Meanwhile(place.vendor_id, of_project, of_vendor)
    here = explain(place.here)
    project = explain([*place.here, *place.of_project])
    if project.cause.verdict is Verdict.CLASS_PAIR and is_shared(here, project):
        return found.by(project.cause), meanwhile
    if of_project is Others.CHANGED and of_vendor is not Others.CHANGED and project.cause.verdict in _ALL:
        return found.by(project.cause), meanwhile
    if of_vendor is Others.CHANGED and of_project is not Others.CHANGED:
        cause = explain([*place.here, *place.of_vendor]).cause
        if cause.verdict is Verdict.EVERYONE:
            named = (Named("vendor", place.vendor_id),)
            return found.by(cause._replace(verdict=Verdict.VENDOR, named=named)), meanwhile
    if of_vendor is Others.WELL:
        if of_project is Others.WELL and here.cause.verdict not in (Verdict.LABELERS, Verdict.MIX):
            cause_here = _labelers(place.here, found, min(sure, also_sure))
            return (found.by(cause_here) if cause_here else found), meanwhile
        return found.by(here.cause), meanwhile
    return found, meanwhile


def compared(here: Sequence[Row], there: Sequence[Row], *, falls: bool) -> tuple[Others, float]:
    """Whether a rate changed there as much as here, and the nats that say so: twenty to one at least.

    Who is well must be so also since the hour that says most against it: it may have begun later than is believed.
    """
    found, nats = _compared(here, there, falls=falls)
    if found is Others.WELL:
        hour = onset(there, falls=falls)
        late_here, late_there = since(here, hour), since(there, hour)
        if hour and _compared(late_here, late_there, falls=falls)[0] is Others.CHANGED:
            return Others.UNKNOWN, 0.0
    return found, nats


def is_shared(one: Explanation, everybody: Explanation) -> bool:
    """Whether most of a change is everybody's: all got worse alike, or confuse one pair of classes."""
    cause = everybody.cause
    if not one.change:
        return False
    if cause.verdict in _ALL:
        return everybody.change / one.change > MOST_SHARE
    if cause.verdict is not Verdict.CLASS_PAIR:
        return False
    named = {one.dimension: one.value for one in cause.named}
    pair = named["true_class"], named.get("answer")
    pairs = {pair, pair[::-1]} if cause.swapped else {pair}
    lost = math.fsum(
        each.rate for each in one.pairs if (each.true_class, each.answer) in pairs or (each.true_class, None) in pairs
    )
    return lost / one.change > MOST_SHARE


def _compared(here: Sequence[Row], there: Sequence[Row], *, falls: bool) -> tuple[Others, float]:
    changed, others = _tally(here, falls=falls), _tally(there, falls=falls)
    ratio = _ratio(changed)
    if ratio <= USUAL**2 or not others.events:
        return Others.UNKNOWN, 0.0
    best = _ratio(others)
    as_here = _nats(others, min(max(best, ratio / USUAL), ratio * USUAL))
    as_before = _nats(others, min(max(best, 1.0 / USUAL), USUAL))
    nats = as_before - as_here
    if abs(nats) < MARGIN:
        return Others.UNKNOWN, 0.0
    return Others.WELL if nats > 0 else Others.CHANGED, abs(nats)


def _tally(rows: Sequence[Row], *, falls: bool) -> Tally:
    """What went wrong after, by labeler and class, against before."""
    if not (any(row.before.weight for row in rows) and any(row.after.weight for row in rows)):
        return Tally()
    cells, tally = cells_of(rows), Tally()
    compare(cells)
    for stratum in cells.strata:
        if stratum.expected is not None:
            tally.add(stratum.expected.sums, stratum.after.sums, falls=falls, is_rate=True)
    return tally


def _ratio(tally: Tally) -> float:
    """Of odds: how many times as often it goes wrong; half an event keeps it finite."""
    before, expected_before = tally.events - tally.observed, tally.events - tally.expected
    return (tally.observed + 0.5) / (before + 0.5) * (expected_before + 0.5) / (tally.expected + 0.5)


def _nats(tally: Tally, ratio: float) -> float:
    """Likelihood of a ratio against 1: given how many events there were in all, those after are binomial."""
    return tally.observed * math.log(ratio) - tally.events * math.log1p((ratio - 1.0) * tally.expected / tally.events)


def _labelers(rows: Sequence[Row], found: Explanation, nats: float) -> Cause | None:
    cells = cells_of(rows)
    compare(cells)
    tallies = tallies_of(cells)[Scope(Verdict.EVERYONE)]
    people = sorted(surely_changed(tallies), key=lambda person: (-tallies[person].excess, person))
    if not people or not others_are_heard(people, cells.strata):
        return None
    named = tuple(Named("labeler", labeler) for labeler, _ in people)
    names = {labeler for labeler, _ in people}
    share = math.fsum(one.share for one in found.contributions["labeler"] if one.value in names)
    sure = min(nats, tally_sum(tallies[person] for person in people).nats)
    return Cause(Verdict.LABELERS, named, False, share, sure, sure, None)
