"""Which labelers' free-text answers should be looked at first, where nobody knows what is right.

Kinds of evidence, each from its traits (`detectors.text_traits`): repetition, shape, words, pace; and the vendor. Every
trait goes the same way:

1. An answer's value less the mean of other labelers' on the same task (of everybody's where fewer than `PEERS` are).
2. A labeler's mean of these, shrunk to the population by as much as so few answers vary by themselves (`shrunken`).
3. How far that lies to the bad side of the population: no worse than the mean is no evidence, nor is it an excuse.
4. The share p of labelers who lie as far or further, and its surprise -ln p (nats). Labelers who are as good as each
   other reach a surprise of s with probability exp(-s) at most, and nobody exceeds ln(labelers).

Traits of a kind overlap: their surprises are averaged, and ranked once more into one of the same range. Kinds are added
(R. A. Fisher, *Statistical Methods for Research Workers*, 1932). They are not independent, so the sum orders labelers
and is no p-value. Nothing is fitted and nothing is weighed: each kind has the same say.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, Literal

from detectors.text_traits import Column, Given, pace, repetition, shape, wording

Side = Literal["high", "low", "odd"]
"""Where the bad side of a trait is; odd: far from the median labeler, either way."""

#: Other labelers on a task from which their mean is taken for what the task asks for.
PEERS: Final = 3
#: Kind of evidence to what it measures, and the bad side of each of its traits.
KINDS: Final[Mapping[str, tuple[Callable[[Sequence[Given]], dict[str, Column]], Mapping[str, Side]]]] = {
    "repetition": (repetition, {"repeated": "high", "near": "high", "told": "low"}),
    "shape": (
        shape,
        {"length": "low", "longest_word": "odd", "longest_run": "odd", "upper": "odd", "digits": "odd", "marks": "odd"},
    ),
    "words": (wording, {"strange": "high", "shared": "low"}),
    "pace": (pace, {"too_fast": "high", "typing": "high"}),
}
VENDOR: Final = "vendor"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What speaks against one labeler, in nats."""

    labeler_id: str
    answers: int
    total: float
    """Sum over kinds: by chance, about one nat for each kind or less."""
    kinds: Mapping[str, float]
    traits: Mapping[str, float]


def rank_labelers(answers: Sequence[Given]) -> list[Suspicion]:
    """All labelers of one project and task type, those to look at first in front; ties by id.

    Args:
        answers: in order of time.

    >>> texts = ["a dog on a beach", "two men at work", "a red car", "children play", "a plate of food", "snow"]
    >>> given = [Given(who, "v", f"t{n}", text + tail) for n, text in enumerate(texts)
    ...          for who, tail in (("ann", ""), ("bob", " today"), ("cat", "."), ("dan", " here"))]
    >>> given += [Given("eve", "v", f"t{n}", "nice picture") for n in range(6)]
    >>> ranked = rank_labelers(given)
    >>> [(one.labeler_id, round(one.total, 2)) for one in ranked[:2]]
    [('eve', 4.83), ('bob', 1.65)]
    """
    counts: dict[str, int] = defaultdict(int)
    vendors: dict[str, str] = {}
    for given in answers:
        counts[given.labeler_id] += 1
        vendors[given.labeler_id] = given.vendor_id
    by_trait: dict[str, dict[str, float]] = {}
    by_kind: dict[str, dict[str, float]] = {}
    for kind, (measure, sides) in KINDS.items():
        columns = measure(answers)
        nats = {
            name: surprises(bad_side(shrunken(beside_peers(answers, columns[name])), side))
            for name, side in sides.items()
        }
        by_trait |= nats
        by_kind[kind] = surprises({who: fmean(one.get(who, 0.0) for one in nats.values()) for who in counts})
    own = {who: sum(one[who] for one in by_kind.values()) for who in counts}
    by_kind[VENDOR] = vendor_surprises(own, vendors)
    found = [
        Suspicion(
            who,
            counts[who],
            sum(one[who] for one in by_kind.values()),
            {kind: one[who] for kind, one in by_kind.items()},
            {name: one.get(who, 0.0) for name, one in by_trait.items()},
        )
        for who in counts
    ]
    return sorted(found, key=lambda one: (-one.total, one.labeler_id))


def beside_peers(answers: Sequence[Given], column: Column) -> dict[str, list[float]]:
    """Labeler to the values of a trait less what the task's other labelers have, None left out."""
    everybody = [value for value in column if value is not None]
    if not everybody:
        return {}
    overall = fmean(everybody)
    tasks: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for given, value in zip(answers, column, strict=True):
        if value is not None:
            tasks[given.task_id][given.labeler_id].append(value)
    values: defaultdict[str, list[float]] = defaultdict(list)
    for by_labeler in tasks.values():
        means = {who: fmean(theirs) for who, theirs in by_labeler.items()}
        total = math.fsum(means.values())
        for who, mine in by_labeler.items():
            peers = len(means) - 1
            expected = (total - means[who]) / peers if peers >= PEERS else overall
            values[who] += [value - expected for value in mine]
    return dict(values)


def shrunken(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Each one's mean less everybody's, shrunk by how much of it so few values leave to chance.

    Variances within and between by the method of moments (one-way random effects, unbalanced; S. R. Searle, *Linear
    Models*, 1971, ch. 10). Where the means differ by no more than chance, all are 0.

    >>> found = shrunken({"ann": [0, 1] * 50, "bob": [4, 5] * 50, "cat": [4, 5]})
    >>> {who: round(value, 2) for who, value in found.items()}
    {'ann': -2.02, 'bob': 1.98, 'cat': 1.95}
    """
    total = sum(map(len, values.values()))
    groups = len(values)
    if groups < 2:
        return dict.fromkeys(values, 0.0)
    centre = math.fsum(value for own in values.values() for value in own) / total
    means = {who: fmean(own) for who, own in values.items()}
    inside = math.fsum((value - means[who]) ** 2 for who, own in values.items() for value in own)
    outside = math.fsum(len(own) * (means[who] - centre) ** 2 for who, own in values.items())
    within = inside / (total - groups) if total > groups else 0.0
    worth = (total - sum(len(own) ** 2 for own in values.values()) / total) / (groups - 1)
    between = (outside / (groups - 1) - within) / worth
    if between <= 0.0:
        return dict.fromkeys(values, 0.0)
    return {who: (means[who] - centre) * between / (between + within / len(own)) for who, own in values.items()}


def bad_side(values: Mapping[str, float], side: Side) -> dict[str, float]:
    """How far each lies to the bad side; 0 for those that lie on the other.

    >>> bad_side({"ann": -2.0, "bob": 0.0, "cat": 1.0}, "low"), bad_side({"ann": -2.0, "bob": 0.0, "cat": 1.0}, "odd")
    ({'ann': 2.0, 'bob': 0.0, 'cat': 0.0}, {'ann': 2.0, 'bob': 0.0, 'cat': 1.0})
    """
    if side == "odd":
        middle = median(values.values()) if values else 0.0
        return {who: abs(value - middle) for who, value in values.items()}
    sign = 1.0 if side == "high" else -1.0
    return {who: sign * value if sign * value > 0.0 else 0.0 for who, value in values.items()}


def surprises(values: Mapping[str, float]) -> dict[str, float]:
    """Surprise (nats) of each value: -ln of the share of all that are as large or larger.

    >>> {who: round(nats, 2) for who, nats in surprises({"ann": 0.0, "bob": 0.0, "cat": 0.1, "dan": 0.7}).items()}
    {'ann': 0.0, 'bob': 0.0, 'cat': 0.69, 'dan': 1.39}
    """
    ordered = sorted(values.values())
    return {who: math.log(len(ordered) / (len(ordered) - bisect_left(ordered, value))) for who, value in values.items()}


def vendor_surprises(own: Mapping[str, float], vendors: Mapping[str, str]) -> dict[str, float]:
    """What a labeler's vendor says of it: the mean of the vendor's labelers, shrunk to everybody's, as a surprise.

    A vendor of few says little, and all say nothing where vendors differ no more than their labelers do by chance.

    >>> levels = {"x": 4.0, "y": 1.0, "z": 1.0}
    >>> own = {f"{vendor}{n}": level + n % 3 for vendor, level in levels.items() for n in range(9)}
    >>> found = vendor_surprises(own, {who: who[0] for who in own})
    >>> round(found["x1"], 2), round(found["y1"], 2)
    (1.1, 0.0)
    """
    values: defaultdict[str, list[float]] = defaultdict(list)
    for who, nats in own.items():
        values[vendors[who]].append(nats)
    levels = bad_side(shrunken(values), "high")
    return surprises({who: levels[vendors[who]] for who in own})
