"""Whether some people stand out from the others at the same work: else all may have changed, and these were there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from detectors.explain.cells import Cells, Person, Stratum
from detectors.explain.chance import Tally, tally_sum

OTHERS: Final = 3
"""Others at the same work who must be heard before labelers are blamed, or all of them if they are fewer: of one or two
nobody can say whether they are well, or only not hit as hard."""
MOST: Final = 0.8
"""Of what went wrong, that is in the classes which are called the work it is about."""
WELL: Final = 2.0
"""Nats for "nothing changed" among the others, against a change as large as theirs: odds of seven to one."""


def others_are_heard(people: Collection[Person], strata: Iterable[Stratum]) -> bool:
    """Whether enough others than some people answered since the change, of those who did before."""
    known, heard = set[Person](), set[Person]()
    for stratum in strata:
        if stratum.before.sums.n and stratum.person not in people:
            known.add(stratum.person)
            if stratum.after.sums.n:
                heard.add(stratum.person)
    return len(heard) >= min(OTHERS, len(known))


def others_are_well(people: Collection[Person], cells: Cells, task_type: str | None = None) -> bool:
    """Whether others at the same work were heard, and are well.

    The same work is that on the classes where those people got worse: of a new guideline on two classes nothing is
    heard from who answers other ones.

    Args:
        people: who is to be named.
        cells: after `detectors.explain.decompose.compare`.
        task_type: where they got worse; None: anywhere.
    """
    theirs, others = defaultdict[tuple[str, str], Tally](Tally), defaultdict[tuple[str, str], Tally](Tally)
    for stratum in cells.strata:
        if stratum.expected is not None and task_type in (None, stratum.task_type):
            side = theirs if stratum.person in people else others
            side[stratum.task_type, stratum.true_class].add(
                stratum.expected.sums, stratum.after.sums, falls=cells.change < 0, is_rate=cells.is_rate
            )
    worse = sorted((work for work in theirs if theirs[work].excess > 0), key=lambda work: (-theirs[work].excess, work))
    wanted, of_it, concerned = MOST * sum(theirs[work].excess for work in worse), 0.0, list[tuple[str, str]]()
    for work in worse:
        if of_it < wanted:
            concerned.append(work)
            of_it += theirs[work].excess
    strata = (stratum for stratum in cells.strata if (stratum.task_type, stratum.true_class) in concerned)
    beside = tally_sum(others[work] for work in concerned)
    return others_are_heard(people, strata) and beside.against(tally_sum(theirs[work] for work in concerned)) >= WELL
