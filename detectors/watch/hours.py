"""Metrics that have one value an hour: what is added up of the hour's answers, and what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from schemas.measurements import Answer, Settled
from schemas.thresholds import MetricName

#: Values below which an hour says nothing.
LEAST: Final = 5
#: Answers that could be compared with others', or labels, below which an hour says nothing.
LEAST_COMPARED: Final = 20
BINS: Final = 10
#: How much of a scope's own history of labels is kept from one hour to the next: a week's time constant.
KEPT: Final = 167.0 / 168.0
#: Labels told apart in one kind of work; the rest count as one.
MOST_LABELS: Final = 200
OTHER: Final = "(other)"

Work = tuple[str, str]
"""Project and task type: labels mean the same only inside."""


class Tally(Protocol):
    """Sums of one hour and scope."""

    def add(self, answer: Answer, work: Work) -> None:
        """Count an answer."""

    def value(self) -> float | None:
        """The hour's value; None where it rests on too little."""

    def dump(self) -> list[Any]:
        """As plain values; the class takes them as its argument."""


class CountTally:
    """Answers."""

    def __init__(self, state: list[Any] | None = None) -> None:
        (self._seen,) = state or [0]

    def add(self, answer: Answer, work: Work) -> None:
        self._seen += 1

    def value(self) -> float | None:
        return float(self._seen)

    def dump(self) -> list[Any]:
        return [self._seen]


class MeanTally:
    """A mean over answers that have the number."""

    def __init__(self, of: Callable[[Answer], float | None], state: list[Any] | None = None) -> None:
        self._of = of
        self._total, self._seen = state or [0.0, 0]

    def add(self, answer: Answer, work: Work) -> None:
        number = self._of(answer)
        if number is not None:
            self._total += number
            self._seen += 1

    def value(self) -> float | None:
        return self._total / self._seen if self._seen >= LEAST else None

    def dump(self) -> list[Any]:
        return [self._total, self._seen]


class AlphaTally:
    """Krippendorff's alpha for nominal labels, from each answer and the earlier ones to its task.

    Observed disagreement is the share of earlier answers that differ, averaged over answers; expected disagreement
    that of two labels drawn from the hour's answers to the same kind of work, averaged likewise (K. Krippendorff,
    *Computing Krippendorff's alpha-reliability*, 2011, where all answers are of one kind).

    >>> tally = AlphaTally()
    >>> for number in range(40):
    ...     tally.add(_answer("cat" if number % 2 else "dog", peers=1, agreeing=number % 4 != 0), ("p", "t"))
    >>> round(tally.value(), 3)
    0.512
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        # Three parts were kept before kinds of work were told apart: such an hour begins anew.
        compared, labels = state if state and len(state) == 2 else [[], []]
        self._compared: dict[Work, list[float]] = {
            (project, task_type): [differ, seen] for project, task_type, differ, seen in compared
        }
        """Sum of shares that differ, and number of answers with earlier ones."""
        self._labels = LabelTally(labels)

    def add(self, answer: Answer, work: Work) -> None:
        self._labels.add(answer, work)
        if answer.peers and not answer.is_free:
            sums = self._compared.setdefault(work, [0.0, 0])
            sums[0] += 1.0 - answer.peers_agreeing / answer.peers
            sums[1] += 1

    def value(self) -> float | None:
        seen = observed = expected = 0.0
        for work, (differ, compared) in self._compared.items():
            labels = self._labels.labels[work]
            total = labels.total()
            if total >= 2:
                alike = sum(count * (count - 1) for count in labels.values()) / (total * (total - 1))
                expected += compared * (1.0 - alike)
                observed += differ
                seen += compared
        return 1.0 - observed / expected if seen >= LEAST_COMPARED and expected > 0 else None

    def dump(self) -> list[Any]:
        return [[[*work, *sums] for work, sums in self._compared.items()], self._labels.dump()]


class CalibrationTally:
    """Expected calibration error of tasks whose truth became known, in ten bins."""

    def __init__(self, state: list[Any] | None = None) -> None:
        self._bins: list[list[float]] = state or [[0, 0.0, 0] for _ in range(BINS)]

    def add(self, answer: Answer, work: Work) -> None:
        """Answers say nothing of it; see `settle`."""

    def settle(self, settled: Settled) -> None:
        """Count a task."""
        one = self._bins[min(int(settled.confidence * BINS), BINS - 1)]
        one[0] += 1
        one[1] += settled.confidence
        one[2] += settled.is_right

    def value(self) -> float | None:
        seen = sum(count for count, _, _ in self._bins)
        if seen < LEAST_COMPARED:
            return None
        return sum(abs(confidence - right) for _, confidence, right in self._bins) / seen

    def dump(self) -> list[Any]:
        return self._bins


class LabelTally:
    """Labels by kind of work."""

    def __init__(self, state: list[Any] | None = None) -> None:
        self.labels: dict[Work, Counter[str]] = {
            (project, task_type): Counter(counts) for project, task_type, counts in state or ()
        }

    def add(self, answer: Answer, work: Work) -> None:
        if not answer.is_free:
            _count(self.labels.setdefault(work, Counter()), answer.label)

    def value(self) -> float | None:
        """Needs something to be held against: see `distance`."""
        return None

    def dump(self) -> list[Any]:
        return [[*work, dict(counts)] for work, counts in self.labels.items()]

    def fade(self, latest: LabelTally) -> None:
        """Make a history of this: forget a little, and learn the latest hour."""
        for counts in self.labels.values():
            for label in counts:
                counts[label] *= KEPT  # type: ignore[assignment]  # a history counts in fractions
        for work, counts in latest.labels.items():
            self.labels.setdefault(work, Counter()).update(counts)


def distance(own: LabelTally, reference: Mapping[Work, Counter[str]], *, includes_own: bool = False) -> float | None:
    """Total variation distance of labels from a reference, averaged over kinds of work by answers.

    Args:
        own: the hour's labels of a scope.
        reference: labels to hold them against.
        includes_own: take the own ones out of the reference first.

    >>> own = LabelTally([["p", "t", {"cat": 30, "dog": 10}]])
    >>> distance(own, {("p", "t"): Counter(cat=50, dog=50)})
    0.25
    """
    total, weight = 0.0, 0
    for work, counts in own.labels.items():
        others = Counter(reference.get(work, {}))
        if includes_own:
            others.subtract(counts)
        seen, known = counts.total(), sum(others.values())
        if seen >= LEAST_COMPARED and known >= LEAST_COMPARED:
            labels = counts.keys() | others.keys()
            total += seen * sum(abs(counts[label] / seen - others[label] / known) for label in labels) / 2.0
            weight += seen
    return total / weight if weight else None


def _count(counts: Counter[str], label: str) -> None:
    counts[label if label in counts or len(counts) < MOST_LABELS else OTHER] += 1


def _off(answer: Answer) -> float | None:
    known = answer.seconds is not None and answer.forecast_seconds is not None
    return abs(answer.seconds - answer.forecast_seconds) if known else None  # type: ignore[operator]  # both are numbers


#: Metric to what an hour of it is made of.
HOURLY: Final[Mapping[MetricName, Callable[[list[Any] | None], Tally]]] = {
    "krippendorff_alpha": AlphaTally,
    "calibration_error": CalibrationTally,
    "aht_seconds": lambda state: MeanTally(lambda answer: answer.seconds, state),
    "forecast_error": lambda state: MeanTally(_off, state),
    "label_distance_own": LabelTally,
    "label_distance_peers": LabelTally,
    "volume": CountTally,
}


def _answer(label: str, *, peers: int, agreeing: int) -> Answer:
    """For doctests: an answer of which only this matters."""
    nothing = (None,) * 8
    return Answer(0, 0, "", 0, label, False, False, False, *nothing, peers, agreeing)
