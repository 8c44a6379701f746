"""One labeler's subjective work: decayed sums, and what they say of stability, distance from the others, attention.

All three are shrunk, so that somebody of whom little was seen looks like everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from detectors.consensus import Answer
from detectors.evidence import Evidence
from detectors.forgetting import MAX_EXPONENT, Forgetting

#: Names of sums in evidence; a label follows ``ANSWER``, one of the others' sums ``PEERS``.
ANSWER: Final = "answer:"
OTHER: Final = "answers_other"
REPEATS: Final = "repeats"
SAME: Final = "repeats_same"
CHECKS: Final = "checks"
PASSED: Final = "checks_passed"
PEERS: Final = "peers:"
#: How many answers', and how many repeats' worth of information it is that a labeler is like the others.
DISTANCE_ANSWERS: Final = 10.0
STABILITY_REPEATS: Final = 4.0
#: Share of repeats that give the same answer before there is data, and how many repeats that is worth.
FIRST_STABILITY: Final = 0.8
FIRST_REPEATS: Final = 20.0


class Voice:
    """Sums of one labeler by name; scaled so that an answer of clock reading ``base`` counts 1."""

    __slots__ = ("base", "forgetting", "heard", "labels", "scale", "sums")

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        """Own answers by label, repeats and checks."""
        self.heard: dict[int, Evidence] = {}
        """Other source partitions' evidence."""
        self.labels = 0
        self.forgetting = Forgetting()
        self.base = 0.0
        self.scale = 1.0

    def checks(self) -> tuple[float, float]:
        """Attention checks passed, and all, as they weigh now, from all source partitions."""
        passed = sum([one.moments.get(PASSED, 0.0) for one in self.heard.values()])
        checks = sum([one.moments.get(CHECKS, 0.0) for one in self.heard.values()])
        return passed + self.sums.get(PASSED, 0.0) / self.scale, checks + self.sums.get(CHECKS, 0.0) / self.scale

    def count(self, answer: Answer, amounts: Mapping[str, float]) -> None:
        """Add what an answer counts, by name, at the weight that the answer has."""
        unit = 2.0 ** (answer.clock - self.base)
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + unit * amount

    def rescale(self) -> None:
        """Follow the clock."""
        exponent = self.forgetting.clock - self.base
        if exponent > MAX_EXPONENT:
            self.sums = {name: value * 2.0**-exponent for name, value in self.sums.items()}
            self.base, exponent = self.forgetting.clock, 0.0
        self.scale = 2.0**exponent


class Character(NamedTuple):
    """A labeler of subjective work. None where nothing was seen."""

    answers: float
    """Effective number of answers."""
    stability: float | None
    """Share of repeats that give the same answer again."""
    distance: float | None
    """Of the answers' distribution from that of the others: 0 to 1."""
    attention: float | None
    """Share of attention checks passed."""


def character(evidence: Evidence) -> Character:
    """What evidence of all source partitions, added up, says of a labeler.

    Attention is a beta posterior with the population's prior; stability one whose prior are the others' repeats.

    >>> sums = {"answer:funny": 30.0, "answer:dull": 70.0, "peers:answer:funny": 640.0, "peers:answer:dull": 360.0}
    >>> repeats = {"repeats": 6.0, "repeats_same": 3.0, "peers:repeats": 80.0, "peers:repeats_same": 74.0}
    >>> checks = {"checks": 10.0, "checks_passed": 9.0}
    >>> known = character(Evidence("subjective", 120, 0, {}, (0.95, 20.0), sums | repeats | checks))
    >>> known.answers, *(round(value, 2) for value in known[1:])
    (100.0, 0.66, 0.27, 0.93)
    """
    sums = evidence.moments
    own, peers = _answers(sums, ""), _answers(sums, PEERS)
    repeats, checks = sums.get(REPEATS, 0.0), sums.get(CHECKS, 0.0)
    stability = attention = None
    if repeats > 0:
        others = sums.get(PEERS + SAME, 0.0) + FIRST_REPEATS * FIRST_STABILITY
        usual = others / (sums.get(PEERS + REPEATS, 0.0) + FIRST_REPEATS)
        stability = (sums.get(SAME, 0.0) + STABILITY_REPEATS * usual) / (repeats + STABILITY_REPEATS)
    if checks > 0:
        mean, concentration = evidence.population
        attention = (sums.get(PASSED, 0.0) + concentration * mean) / (checks + concentration)
    return Character(math.fsum(own.values()), stability, distance(own, peers), attention)


def distance(own: Mapping[str, float], peers: Mapping[str, float]) -> float | None:
    """How far a labeler's answers are distributed from the others': 0 (alike) to 1; None where one side has none.

    The total variation distance, less what chance makes of it if both draw from one law (the mean absolute deviation
    of a share, by the normal law, and never more than that of a single draw), of the labeler's shares smoothed by a
    Dirichlet law around the others', which multiplies it by n / (n + `DISTANCE_ANSWERS`).

    >>> round(distance({"yes": 3.0, "no": 2.0}, {"yes": 300.0, "no": 700.0}), 3)
    0.045
    >>> round(distance({"yes": 300.0, "no": 200.0}, {"yes": 300.0, "no": 700.0}), 3)
    0.273
    """
    answers, others = math.fsum(own.values()), math.fsum(peers.values())
    if answers <= 0 or others <= 0:
        return None
    apart = by_chance = 0.0
    for label in sorted({*own, *peers}):
        one, other = own.get(label, 0.0), peers.get(label, 0.0)
        pooled = (one + other) / (answers + others)
        variance = pooled * (1.0 - pooled)
        apart += abs(one / answers - other / others) / 2.0
        by_chance += min(math.sqrt(variance * (1 / answers + 1 / others) / math.tau), variance)
    return max(apart - by_chance, 0.0) * answers / (answers + DISTANCE_ANSWERS)


def _answers(sums: Mapping[str, float], whose: str) -> dict[str, float]:
    start = whose + ANSWER
    answers = {name.removeprefix(start): max(value, 0.0) for name, value in sums.items() if name.startswith(start)}
    if whose + OTHER in sums:
        answers[""] = answers.get("", 0.0) + sums[whose + OTHER]
    return answers
