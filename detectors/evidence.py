"""Evidence: what one source partition knows of one labeler in one label space. A value that is sent whole.

Partitions see different tasks, so evidence of several partitions adds up; of one partition the latest counts. Sent
again, or in another order, it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from detectors.consensus import shared
from detectors.labeler_speed import SpeedEvidence

CONFUSION: Final = "confusion"
ONE_COIN: Final = "one_coin"
RATING: Final = "rating"
SUBJECTIVE: Final = "subjective"
#: Of labelers whose answers are not held against others', such as free text: only how long they take is known.
UNJUDGED: Final = "unjudged"
FORMS: Final = frozenset({CONFUSION, ONE_COIN, RATING, SUBJECTIVE, UNJUDGED})
#: What a labeler's evidence may hold at most; more is not evidence, but a mistake.
MAX_COUNTS: Final = 5_000
#: True label and answer of a labeler whose label space is too large, or open, for a matrix.
RIGHT: Final = "right"
WRONG: Final = "wrong"

Count = tuple[str, int, str]
"""True label, kind of task (0 ordinary, 1 hard), answer."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Decayed counts, as they weigh at the labeler's latest answer.

    >>> counts = {("right", 0, "right"): 9.5, ("right", 0, "wrong"): 2.0}
    >>> one = Evidence("one_coin", labels=12, seen_ms=5_000, counts=counts)
    >>> one.weight, round(one.right, 2)
    (11.5, 9.5)
    >>> Evidence.from_plain(one.to_plain()) == one
    True
    """

    form: str
    labels: int
    """Answers seen, not decayed."""
    seen_ms: int
    """Latest event time of an answer."""
    counts: Mapping[Count, float] = field(default_factory=dict)
    population: tuple[float, float] = (0.8, 20.0)
    """What is believed of a labeler of whom nothing is known: mean accuracy, and the pseudo-counts it is worth."""
    moments: Mapping[str, float] = field(default_factory=dict)
    """Sums of ratings and of subjective work, by name (`detectors.rating`, `detectors.subjective`)."""
    changed_ms: int = 0
    """Event time at which the labeler was last seen to have changed; 0 for never. What is older weighs little."""
    speed: SpeedEvidence | None = None
    """How long the labeler's answers take; None where no time was learned."""

    @property
    def weight(self) -> float:
        """Effective number of answers."""
        return math.fsum(self.counts.values())

    @property
    def right(self) -> float:
        """Effective number of right answers."""
        return math.fsum(count for (true, _, answer), count in self.counts.items() if true == answer)

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "form": self.form,
            "labels": self.labels,
            "seen_ms": self.seen_ms,
            "counts": [[*key, count] for key, count in sorted(self.counts.items())],
            "population": list(self.population),
            "changed_ms": self.changed_ms,
            "moments": dict(sorted(self.moments.items())),
            **({} if self.speed is None else {"speed": self.speed.to_plain()}),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Evidence:
        """The inverse; what comes from outside is checked.

        Raises:
            ValueError: not evidence; says what is wrong with it.
        """
        try:
            evidence = cls(
                form=str(plain["form"]),
                labels=_whole(plain["labels"]),
                seen_ms=_whole(plain["seen_ms"]),
                counts=_counts(plain["counts"]),
                population=(_finite(plain["population"][0]), _finite(plain["population"][1])),
                changed_ms=_whole(plain.get("changed_ms", 0)),
                moments={_text(name): _finite(value) for name, value in plain["moments"].items()},
                speed=None if plain.get("speed") is None else SpeedEvidence.from_plain(plain["speed"]),
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"not evidence on a labeler: {type(error).__name__}: {error}") from None
        if evidence.form not in FORMS:
            raise ValueError(f"evidence has form {evidence.form!r}; known: {', '.join(sorted(FORMS))}")
        if len(evidence.counts) > MAX_COUNTS:
            raise ValueError(f"evidence has {len(evidence.counts)} counts, at most {MAX_COUNTS} are possible")
        mean, concentration = evidence.population
        if not (0 < mean < 1 and concentration > 0):
            raise ValueError(f"evidence has an impossible population: {mean:g}, {concentration:g}")
        return evidence


def as_one_coin(evidence: Evidence) -> Evidence:
    """The same evidence without classes: only how often the labeler was right."""
    right, weight = evidence.right, evidence.weight
    counts = {(RIGHT, 0, RIGHT): right, (RIGHT, 0, WRONG): weight - right}
    return replace(evidence, form=ONE_COIN, counts=counts, moments={})


def total(parts: Iterable[Evidence]) -> Evidence:
    """Sum over source partitions; as one coin if any part is. Speeds are not summed up (`detectors.labeler_speed`).

    Raises:
        ValueError: no parts.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("no evidence to add up")
    parts = [one for one in parts if one.form != UNJUDGED] or parts
    latest = max(parts, key=lambda one: (one.seen_ms, one.labels, one.population))
    if len({one.form for one in parts}) > 1 and any(one.form == ONE_COIN for one in parts):
        parts = [as_one_coin(one) for one in parts if one.form in (CONFUSION, ONE_COIN)]
    parts = [one for one in parts if one.form == parts[0].form]
    counts: dict[Count, float] = {}
    moments: dict[str, float] = {}
    for one in parts:
        for key, count in one.counts.items():
            counts[key] = counts.get(key, 0.0) + count
        for name, value in one.moments.items():
            moments[name] = moments.get(name, 0.0) + value
    return Evidence(
        form=parts[0].form,
        labels=sum(one.labels for one in parts),
        seen_ms=latest.seen_ms,
        counts=counts,
        population=latest.population,
        changed_ms=max(one.changed_ms for one in parts),
        moments=moments,
    )


def _counts(rows: Sequence[tuple[str, int, str, float]]) -> dict[Count, float]:
    """Counts by what they count. There are many: they are checked by what is common to all, not one by one."""
    names = {name: shared(_text(name)) for name in {name for true, _, answer, _ in rows for name in (true, answer)}}
    counts = {(names[true], kind, names[answer]): count for true, kind, answer, count in rows}
    for kind in {(type(kind), kind) for _, kind, _ in counts}:
        _whole(kind[1])
    if not {type(count) for count in counts.values()} <= {float, int} or not math.isfinite(sum(counts.values())):
        raise ValueError("evidence has a count that is not a finite number")
    if min(counts.values(), default=0.0) < 0:
        raise ValueError("evidence has a negative count")
    return counts


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a name")
    return value


def _finite(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)
