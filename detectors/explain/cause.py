"""The simplest thing that explains a change: some labelers, a vendor, a pair of classes, a task type, or the mix.

Every candidate says "these answers changed alike": all of a vendor's, of a task type's, of a class, or how often one
class is answered for another (a pair, also both ways: classes swapped by a new guideline), everywhere or at one vendor.
Labelers change each on their own. A candidate is worth its nats (`chance`) less what it costs to pick it: ln of how
many of its kind there are, and BIC's half ln(answers) for each that changes (G. Schwarz 1978). Since nats of parts add
up to at least those of the whole, labelers win only if their changes differ by more than that costs: a change that is
spread evenly is not pinned on them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from detectors.explain.cells import Cells, Dimension, Person, Stratum, Sums
from detectors.explain.chance import Spread, Tally, spread_of, tally_sum
from detectors.explain.others import others_are_well
from detectors.explain.scattered import MOST, SOME, share_nats

MIN_GROUP: Final = 3
"""Labelers that a vendor, task type or pair must have: of fewer, labelers are named."""
ALL: Final = 5
"""Labelers who must be heard before all of a group are blamed: of fewer, all may be among the bad ones by chance (if
half of all were, one time in 32 of five)."""
EVEN: Final = 0.85
"""A group changed evenly if `Spread.even_share` is at least this much of what it would be if all had changed alike."""
EVEN_PAIR: Final = 0.6
"""The same for a pair of classes: not everyone reads a new guideline, but bad labelers do not all confuse one pair."""
MIN_NATS: Final = 2.0
"""Evidence that must be left when the choice is paid for: odds of seven to one."""
MARGIN: Final = math.log(20.0)
"""Nats that a cause must be ahead of every other that answers do not rule out: odds of twenty to one."""
MIN_SHARE: Final = 0.1
"""Of the change: what explains less is no cause of it, however sure."""
INVERTED: Final = 0.5
"""Of the answers, that are wrong where the two classes of a task are swapped: carelessness does not go below chance."""
ONE_VENDOR: Final = 0.9
"""Share of the information from which on a vendor's change is not called everyone's."""
KNOWN: Final = 0.9
"""`Spread.expected_share` from which on answers are enough to see how even a change is."""
CONTAINED: Final = 0.8
"""What an even group must explain, of what the labelers named do, to stand for them; and a pair of classes of the
change, where the rest of it is no chance, either."""


class Verdict(StrEnum):
    """What changed."""

    LABELERS = "labelers"
    VENDOR = "vendor"
    CLASS_PAIR = "class_pair"
    """Classes are confused by everyone alike: the guideline, or how it is read."""
    TASK_TYPE = "task_type"
    EVERYONE = "everyone"
    """All labelers alike, and nothing narrower: what was asked changed, or the tool, or the truth."""
    MIX = "mix"
    """Nobody answers otherwise; there is more of the work, or of the labelers, that always was below the mean."""
    UNCLEAR = "unclear"
    """Nothing is beyond chance."""


class Scope(NamedTuple):
    """Where a candidate says that answers changed alike; None: everywhere."""

    verdict: Verdict
    vendor: str | None = None
    task_type: str | None = None
    true_class: str | None = None
    answer: str | None = None
    swapped: bool = False
    """The pair both ways: ``answer`` for ``true_class``, and ``true_class`` for ``answer``."""

    def holds(self, stratum: Stratum) -> bool:
        """Whether a stratum is concerned."""
        classes = (self.true_class, self.answer) if self.swapped else (self.true_class,)
        return (
            self.vendor in (None, stratum.person[1])
            and self.task_type in (None, stratum.task_type)
            and (self.true_class is None or stratum.true_class in classes)
        )


class Candidate(NamedTuple):
    """One explanation, and what speaks for it."""

    scope: Scope
    labelers: tuple[Person, ...]
    """Who is meant, worst first, if the verdict is labelers; else empty."""
    nats: float
    """Evidence, less what picking it costs."""
    share: float
    """Of the change, that would not have been had these answers been given as before."""
    spread: Spread
    """Over the labelers concerned."""
    is_known: bool = True
    """Else it may well be so, and nobody can tell by now: it is not named, but what is named has to be ahead of it."""


Tallies = dict[Scope, dict[Person, Tally]]


def tallies_of(cells: Cells) -> Tallies:
    """What speaks for each candidate, by labeler."""
    falls = cells.change < 0
    found: Tallies = defaultdict(lambda: defaultdict(Tally))
    for stratum in cells.strata:
        if stratum.expected is None:
            continue
        before, after = stratum.expected.sums, stratum.after.sums
        for scope in _scopes(stratum):
            found[scope][stratum.person].add(before, after, falls=falls, is_rate=cells.is_rate)
        if cells.is_rate and falls:
            for answer in sorted(stratum.expected.wrong.keys() | stratum.after.wrong.keys()):
                lost = stratum.expected.wrong.get(answer, 0.0), stratum.after.wrong.get(answer, 0.0)
                for scope in _pair_scopes(stratum, answer):
                    found[scope][stratum.person].add_events(lost[0], before.n, lost[1], after.n)
    return found


def _scopes(stratum: Stratum) -> Iterator[Scope]:
    vendor, task_type = stratum.person[1], stratum.task_type
    yield Scope(Verdict.EVERYONE)
    yield Scope(Verdict.VENDOR, vendor)
    yield Scope(Verdict.VENDOR, vendor, task_type)
    yield Scope(Verdict.TASK_TYPE, None, task_type)
    if stratum.true_class:
        yield Scope(Verdict.CLASS_PAIR, None, task_type, stratum.true_class)
        yield Scope(Verdict.CLASS_PAIR, vendor, task_type, stratum.true_class)


def _pair_scopes(stratum: Stratum, answer: str) -> Iterator[Scope]:
    first, second = sorted((stratum.true_class, answer))
    for vendor in (None, stratum.person[1]):
        yield Scope(Verdict.CLASS_PAIR, vendor, stratum.task_type, stratum.true_class, answer)
        yield Scope(Verdict.CLASS_PAIR, vendor, stratum.task_type, first, second, swapped=True)


def candidates(cells: Cells, tallies: Tallies) -> list[Candidate]:
    """All that explain at least a tenth of the change, beyond chance; the one that is preferred first."""
    price = 0.5 * math.log(max(cells.after.n, 2.0))
    one_vendor = len({stratum.person[1] for stratum in cells.strata}) == 1
    one_task_type = len({stratum.task_type for stratum in cells.strata}) == 1
    of_kind = Counter(_kind(scope) for scope in tallies if not _repeats(scope, one_vendor, one_task_type))
    kinds = Counter(verdict for verdict, *_ in of_kind)
    people = len({stratum.person for stratum in cells.strata})
    inverted = {task_type: _is_inverted(cells, task_type) for task_type in _of_two_classes(cells)}
    all_inverted = one_task_type and any(inverted.values())
    everyone = Scope(Verdict.EVERYONE)
    of_all = tallies.get(everyone, {}).values()
    scattered = share_nats(of_all, SOME) - price
    whole = tally_sum(of_all).nats - price
    found: list[Candidate] = []
    for scope, of_person in tallies.items():
        is_swap = scope.answer is not None and inverted.get(str(scope.task_type), False)
        if _repeats(scope, one_vendor, one_task_type):
            continue
        if scope.answer is not None and scope.task_type in inverted and not is_swap:
            continue
        one_vendors = not one_vendor and _is_one_vendors(scope, of_person)
        cost = price + math.log(kinds[scope.verdict] * of_kind[_kind(scope)])
        nats = tally_sum(of_person.values()).nats - cost
        spread = spread_of(list(of_person.values()))
        if scope.verdict is Verdict.CLASS_PAIR:
            is_even, ahead = spread.even_share >= EVEN_PAIR * spread.expected_share, nats - scattered
            may_be = ahead > (-MARGIN if is_even or spread.expected_share < KNOWN else MIN_NATS)
            is_known = is_even if spread.expected_share >= KNOWN else ahead >= (MIN_NATS if is_even else MARGIN)
        else:
            most, some = (share_nats(of_person.values(), shares) for shares in (MOST, SOME))
            ahead = most - some - (cost - price)
            is_even = spread.even_share >= EVEN * spread.expected_share or spread.expected_share < KNOWN
            is_known = ahead >= MARGIN
            may_be = is_known or (is_even and ahead > -MARGIN)
        is_known = is_known and (scope.verdict is Verdict.CLASS_PAIR or spread.labelers >= ALL)
        if scope == everyone and all_inverted:
            is_known = may_be = False  # the pair says it
        elif scope.verdict is not Verdict.CLASS_PAIR:
            is_known = is_known and _without_pair(scope, tallies, inverted) >= MARGIN and _is_not_all(scope, tallies)
        elif not is_swap:  # the narrower claim has to be ahead of the plain one
            is_known = is_known and is_even and nats >= whole + MIN_NATS
            rest = tally_sum(of_all).without(tally_sum(of_person.values()))
            is_known = is_known and (rest.nats < MARGIN or _share(cells, scope) >= CONTAINED)
            if is_known and spread.expected_share >= KNOWN:
                most, some = (share_nats(of_person.values(), shares) for shares in (MOST, SOME))
                is_known = most >= some + MIN_NATS
        is_known = is_known and spread.labelers >= MIN_GROUP
        if nats >= MIN_NATS and spread.labelers > 1 and not one_vendors and (is_known or may_be):
            found.append(Candidate(scope, (), nats, _share(cells, scope), spread, is_known))
        if scope.vendor is None and scope.verdict in (Verdict.EVERYONE, Verdict.CLASS_PAIR):
            found += _labelers(cells, scope, of_person, cost + math.log(people), spread)
    found = [
        one
        for one in found
        if one.share >= MIN_SHARE
        and (one.scope.verdict is not Verdict.LABELERS or one.nats >= whole or not _others_too(one, tallies, price))
    ]
    found = [one._replace(is_known=one.is_known and _stands_out(one, cells)) for one in found]
    # Where the others were heard, and are well, it is not everyone.
    narrower = (Verdict.VENDOR, Verdict.TASK_TYPE)
    narrow = max((one.nats for one in found if one.is_known and one.scope.verdict in narrower), default=-math.inf)
    found = [one for one in found if one.scope != everyone or one.nats > narrow]
    found.sort(key=lambda candidate: (-candidate.nats, str(candidate.scope)))
    return _prefer_even(found, tallies)


def _labelers(
    cells: Cells, scope: Scope, of_person: dict[Person, Tally], cost: float, spread: Spread
) -> Iterator[Candidate]:
    """Those who are each worth their cost, and who did answer otherwise than they did themselves."""
    nats = {person: tally.nats - cost for person, tally in of_person.items() if tally.nats > cost}
    shares = {person: _share(cells, scope, {person}) for person in nats}
    named = sorted((p for p in nats if shares[p] > 1e-9), key=lambda person: (-shares[person], person))
    if math.fsum(nats[person] for person in named) >= MIN_NATS:
        where = scope._replace(verdict=Verdict.LABELERS)
        total = math.fsum(shares[person] for person in named)
        yield Candidate(where, tuple(named), math.fsum(nats[person] for person in named), total, spread)


def _kind(scope: Scope) -> tuple[Verdict, bool, bool, bool, bool, bool]:
    vendor, task_type, true_class, answer = (part is None for part in scope[1:5])
    return scope.verdict, vendor, task_type, true_class, answer, scope.swapped


def _repeats(scope: Scope, one_vendor: bool, one_task_type: bool) -> bool:
    """Whether a scope is the same as a plainer one, because there is but one vendor or task type."""
    if scope.verdict is Verdict.VENDOR:
        return one_vendor or (one_task_type and scope.task_type is not None)
    if scope.verdict is Verdict.TASK_TYPE:
        return one_task_type
    return scope.verdict is Verdict.CLASS_PAIR and one_vendor and scope.vendor is not None


def _share(cells: Cells, scope: Scope, people: set[Person] | None = None) -> float:
    """Share of the change that a candidate stands for: of its answers only, if it names one."""
    moved = []
    for stratum in cells.strata:
        weight = stratum.after.sums.n / cells.after.n
        if not weight or not scope.holds(stratum) or (people is not None and stratum.person not in people):
            continue
        if scope.answer is None:
            moved.append(weight * stratum.rate_change)
        elif stratum.reference is not None:
            answer = scope.answer if stratum.true_class == scope.true_class else str(scope.true_class)
            before, after = stratum.reference, stratum.after
            moved.append(weight * before.wrong.get(answer, 0.0) / before.sums.n)
            moved.append(-weight * after.wrong.get(answer, 0.0) / after.sums.n)
    return math.fsum(moved) / cells.change if cells.change else 0.0


def _is_not_all(scope: Scope, tallies: Tallies) -> bool:
    """Whether a vendor's or task type's change is not also that of the others: they must have been heard, and be well.

    Likelihood of their answers if nothing changed, against a change as large as that of the group.
    """
    if scope.verdict is Verdict.EVERYONE:
        return True
    whole = tally_sum(tallies[Scope(Verdict.EVERYONE)].values())
    group = tally_sum(tallies[scope].values())
    return whole.minus(group).against(group) >= MIN_NATS


def _without_pair(scope: Scope, tallies: Tallies, inverted: dict[str, bool]) -> float:
    """What speaks for a change of a group without the pair of classes that is worst: else it may be that alone."""
    of_group = tallies[scope]
    pairs = {
        pair: tally_sum(tally for person, tally in of_person.items() if person in of_group)
        for pair, of_person in tallies.items()
        if pair.verdict is Verdict.CLASS_PAIR and pair.vendor in (None, scope.vendor)
        and scope.task_type in (None, pair.task_type) and pair.task_type not in inverted
    }  # fmt: skip
    worst = max(pairs.values(), key=lambda tally: tally.nats, default=Tally())
    return tally_sum(of_group.values()).without(worst).nats


def _is_one_vendors(scope: Scope, of_person: dict[Person, Tally]) -> bool:
    """Whether "everyone" is nearly all of one vendor, so that nothing is known of the others."""
    if scope.verdict not in (Verdict.EVERYONE, Verdict.TASK_TYPE):
        return False
    known: dict[str, float] = defaultdict(float)
    for (_, vendor), tally in of_person.items():
        known[vendor] += tally.information
    return max(known.values()) > ONE_VENDOR * math.fsum(known.values())


def _others_too(named: Candidate, tallies: Tallies, price: float) -> bool:
    """Whether those not named changed beyond chance, too: who is named is the worst of it then, not the cause."""
    labelers = set(named.labelers)
    others = (tally for person, tally in tallies[Scope(Verdict.EVERYONE)].items() if person not in labelers)
    return tally_sum(others).nats - price >= MIN_NATS


def _stands_out(named: Candidate, cells: Cells) -> bool:
    """Of labelers: else all may have changed, and these be who was at work."""
    if named.scope.verdict is not Verdict.LABELERS:
        return True
    return others_are_well(set(named.labelers), cells, named.scope.task_type)


def _prefer_even(found: list[Candidate], tallies: Tallies) -> list[Candidate]:
    """With much data labelers differ beyond doubt, and still it may be all of a vendor: then the vendor is named."""
    if found and found[0].scope.verdict is Verdict.LABELERS:
        best = found[0]
        for position, group in enumerate(found):
            if (
                group.is_known
                and group.scope.verdict is not Verdict.LABELERS
                and group.share >= CONTAINED * best.share
                and group.nats >= best.nats / 2
                and _is_known_even(group, best, tallies)
            ):
                return [group, *found[:position], *found[position + 1 :]]
    return found


def _is_known_even(group: Candidate, best: Candidate, tallies: Tallies) -> bool:
    """Of few answers nobody can say how even a change is: then the others must have changed, too, beyond chance."""
    if group.spread.expected_share >= KNOWN:
        return True
    labelers = set(best.labelers)
    others = (tally for person, tally in tallies[group.scope].items() if person not in labelers)
    return tally_sum(others).nats >= MIN_NATS


def _of_two_classes(cells: Cells) -> set[str]:
    """Task types that have no third class."""
    classes: dict[str, set[str]] = defaultdict(set)
    for stratum in cells.strata:
        if stratum.true_class:
            classes[stratum.task_type] |= {stratum.true_class, *stratum.before.wrong, *stratum.after.wrong}
    return {task_type for task_type, names in classes.items() if len(names) == 2}


def _is_inverted(cells: Cells, task_type: str) -> bool:
    """Whether the classes are swapped, of two: else a pair would say no more than that answers are wrong."""
    after = Sums()
    for stratum in cells.strata:
        if stratum.task_type == task_type:
            after.merge(stratum.after.sums)
    return after.n - after.value > INVERTED * after.n


def value_tallies(cells: Cells, dimension: Dimension) -> dict[str, Tally]:
    """What speaks for a change of each value of a dimension."""
    falls = cells.change < 0
    found: dict[str, Tally] = defaultdict(Tally)
    for stratum in cells.strata:
        if stratum.reference is None:
            continue
        before = stratum.reference.sums
        for value, after in _after(stratum, dimension).items():
            found[value].add(before, after, falls=falls, is_rate=cells.is_rate)
    return found


def _after(stratum: Stratum, dimension: Dimension) -> dict[str, Sums]:
    found: dict[str, Sums] = defaultdict(Sums)
    for row in stratum.rows:
        if row.after.weight:
            found[getattr(row, dimension)].add(row.after)
    return found
