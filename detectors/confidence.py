"""Calibrated confidence: how probable it is that a consensus, or one annotation, is right.

Posteriors of Dawid-Skene models are over-confident (they take labelers for independent), by .1 on average over seven
public sets. So the probability is forecast from the posterior and what else is known, by a logistic regression per
task type that learns from gold and reviews (Platt 1999, Probabilistic outputs for support vector machines, with more
inputs than the score), and starts from what holds for data sets in general and was learned of other task types.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from detectors.logistic import BayesianLogistic, LogisticFamily

#: Prior mean and standard deviation of each weight: rounded from those over seven public sets with truth, passed in
#: random orders through `detectors.confusion`, at the last label and earlier. Fitted on six sets, the seventh's error
#: after 200 golds is .031 on average, at most .021 above chance. A narrower spread learns too slowly where data are
#: unlike these sets; a wider one needs more golds. Where the sets do not show a weight's sign, it starts from 0. The
#: same holds for single annotations.
PRIOR: Final[Mapping[str, tuple[float, float]]] = {
    "intercept": (1.9, 0.6),
    "posterior": (0.9, 0.4),
    "certainty": (0.0, 0.3),
    "votes": (0.4, 0.4),
    "labels": (0.0, 0.3),
    "accuracy": (0.0, 0.3),
    "handling": (0.0, 0.3),
}
#: Share of those variances that is ignorance about data sets in general; the rest lies between task types. Seven sets
#: alone would give 1/7; more makes one task type's golds count for others before much is known of these.
COMMON: Final = 0.25
#: Task types remembered; the one without truth for longest is forgotten beyond it and starts from the population.
MAX_TASK_TYPES: Final = 1_000
#: More answers than this to one task say no more.
MAX_LABELS: Final = 1_000
#: Bins of equal width for calibration figures (Guo et al. 2017). Stored counts and SQL views depend on it.
BINS: Final = 10
#: Probabilities nearer than this to 0 or 1 are taken for it: no few labels can mean more.
_CLOSEST: Final = 1e-9
#: A posterior whose logit is farther than this from a guess's (.999 of two labels) is taken for one at that distance:
#: it rests on labelers being independent, which they are not.
_FARTHEST: Final = 7.0


class Grounds(NamedTuple):
    """What an answer is judged by: a task's consensus label, or the label of one annotation (itself counted)."""

    posterior: float
    """Probability of the label as inferred, over-confident or not."""
    entropy: float
    """Of the posterior over all labels, nats."""
    labels: int
    """Answers to the task so far."""
    classes: int
    """Labels to choose from."""
    vote_share: float
    """Share of the answers that are this label."""
    accuracy: float
    """As believed: the labeler's, or for a consensus the mean of the task's labelers."""
    handling_log_ratio: float | None = None
    """Log of handling time over its forecast, for a consensus the mean; None if unknown."""


def _features(grounds: Grounds) -> tuple[list[float], float]:
    """Bounded features, centred on what is usual, in the order of the priors, and the logit of a guess.

    Posterior and votes are taken against a guess, at which .5 of two labels says as little as .1 of ten. Raises
    ValueError at what is not a finite number; what is out of range by rounding is taken for the end of its range.
    """
    posterior, entropy, labels, classes, share, accuracy, handling = grounds
    if handling is None:
        handling = 0.0
    if not math.isfinite(posterior + entropy + labels + classes + share + accuracy + handling):
        raise ValueError(f"confidence needs finite numbers: {grounds}")
    classes = max(classes, 2)
    labels = min(max(labels, 1), MAX_LABELS)
    log_others = math.log(classes - 1)
    above_guess = _logit(posterior, _CLOSEST) + log_others
    votes = _logit((min(max(share, 0.0), 1.0) * labels + 1.0 / classes) / (labels + 1), _CLOSEST) + log_others
    return [
        1.0,
        min(max(above_guess, -_FARTHEST), _FARTHEST) / 2.0 - 1.75,
        min(max(1.0 - entropy / math.log(classes), 0.0), 1.0) - 0.7,
        votes - 1.25,
        math.log(labels) / 2.0 - 1.0,
        _logit(accuracy, 0.01) / 2.0 - 0.7,
        math.tanh(handling),
    ], -log_others


def _logit(probability: float, closest: float) -> float:
    inside = min(max(probability, closest), 1.0 - closest)
    return math.log(inside / (1.0 - inside))


@dataclass(slots=True)
class Calibration:
    """Forecasts against outcomes, by bin of confidence; adds up over models and time.

    >>> ours, theirs = Calibration(), Calibration()
    >>> ours.count(0.85, True)
    >>> theirs.count(0.82, False)
    >>> both = ours + theirs
    >>> round(both.expected_calibration_error(), 3), round(both.brier(), 3)
    (0.335, 0.347)
    """

    outcomes: list[int] = field(default_factory=lambda: [0] * BINS)
    right: list[int] = field(default_factory=lambda: [0] * BINS)
    confidence: list[float] = field(default_factory=lambda: [0.0] * BINS)
    """Sum by bin."""
    squared_error: float = 0.0
    """Sum over all bins."""

    def count(self, confidence: float, is_right: bool) -> None:
        """Add a forecast and what came of it."""
        at = min(int(confidence * BINS), BINS - 1)
        self.outcomes[at] += 1
        self.right[at] += is_right
        self.confidence[at] += confidence
        self.squared_error += (confidence - is_right) ** 2

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            [a + b for a, b in zip(self.outcomes, other.outcomes, strict=True)],
            [a + b for a, b in zip(self.right, other.right, strict=True)],
            [a + b for a, b in zip(self.confidence, other.confidence, strict=True)],
            self.squared_error + other.squared_error,
        )

    def expected_calibration_error(self) -> float:
        """Mean distance of confidence from the share right, bins weighted by outcomes; NaN without outcomes.

        Guo et al. 2017, On calibration of modern neural networks, equation 3.
        """
        total = sum(self.outcomes)
        gaps = (abs(said - came) for said, came in zip(self.confidence, self.right, strict=True))
        return sum(gaps) / total if total else math.nan

    def brier(self) -> float:
        """Mean squared error of the forecasts; NaN without outcomes."""
        total = sum(self.outcomes)
        return self.squared_error / total if total else math.nan


class ConfidenceModel:
    """P(the consensus is right) and P(an annotation is right), by task type.

    A forecast never falls as the posterior rises, nor rises with entropy, other things equal.

    Args:
        half_life: outcomes of a task type after which an old one counts half: labelers and guidelines change.

    >>> model = ConfidenceModel()
    >>> sure = Grounds(0.999, 0.008, labels=5, classes=2, vote_share=0.8, accuracy=0.9)
    >>> round(model.forecast("sentiment", sure), 3)
    0.959
    >>> for n in range(100):
    ...     model.learn("sentiment", sure, is_right=n % 10 < 7)
    >>> round(model.forecast("sentiment", sure), 3), round(model.forecast("image_class", sure), 3)
    (0.701, 0.929)
    """

    def __init__(self, half_life: float = 2_000.0) -> None:
        self._consensus = _family(half_life)
        self._annotation = _family(half_life)
        self._calibration: OrderedDict[str, Calibration] = OrderedDict()

    def forecast(self, task_type: str, grounds: Grounds) -> float:
        """Probability, never 0 or 1, that the consensus is right. Raises ValueError at what is not finite."""
        features, guess = _features(grounds)
        return self._consensus.model(task_type).probability(features, guess)

    def learn(self, task_type: str, grounds: Grounds, is_right: bool, weight: float = 1.0) -> None:
        """Take into account whether a consensus, believed on these grounds without the truth, was right.

        Best when forecasts on such grounds are asked for. Where one task is learned again and again, the weights
        should sum to about 1.
        """
        features, guess = _features(grounds)
        forecast = self._consensus.model(task_type).probability(features, guess)
        self._consensus.learn(task_type, features, is_right, guess, weight)
        self._calibration.setdefault(task_type, Calibration()).count(forecast, is_right)
        self._calibration.move_to_end(task_type)
        if len(self._calibration) > MAX_TASK_TYPES:
            self._calibration.popitem(last=False)

    def forecast_annotation(self, task_type: str, grounds: Grounds) -> float:
        """Probability, never 0 or 1, that an annotation is right. Raises ValueError at what is not finite."""
        features, guess = _features(grounds)
        return self._annotation.model(task_type).probability(features, guess)

    def learn_annotation(self, task_type: str, grounds: Grounds, is_right: bool, weight: float = 1.0) -> None:
        """Take into account whether an annotation, judged on these grounds without the truth, was right.

        Answers to one task stand or fall together, so the n-th one weighs 1/n of that.
        """
        features, guess = _features(grounds)
        self._annotation.learn(task_type, features, is_right, guess, weight / max(grounds.labels, 1))

    def calibration(self, task_type: str) -> Calibration:
        """Forecasts made just before each outcome was learned, against the outcomes."""
        return self._calibration.get(task_type, Calibration())

    def dump(self) -> dict[str, Any]:
        """State as plain values that survive JSON exactly."""
        return {
            "consensus": self._consensus.dump(),
            "annotation": self._annotation.dump(),
            "calibration": [
                [task_type, list(one.outcomes), list(one.right), list(one.confidence), one.squared_error]
                for task_type, one in self._calibration.items()
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from dumped state. Raises ValueError if it is of other features."""
        self._consensus.load(state["consensus"])
        self._annotation.load(state["annotation"])
        self._calibration = OrderedDict(
            (task_type, Calibration(list(outcomes), list(right), list(confidence), squared_error))
            for task_type, outcomes, right, confidence, squared_error in state["calibration"]
        )


def _family(half_life: float) -> LogisticFamily:
    template = BayesianLogistic(
        mean={name: mean for name, (mean, _) in PRIOR.items()},
        spread={name: spread for name, (_, spread) in PRIOR.items()},
        increasing=frozenset({"posterior", "certainty"}),
        half_life=half_life,
    )
    return LogisticFamily(template, COMMON, MAX_TASK_TYPES)
