"""Reliability: how likely a labeler's answer is right, how sure that is, and in which way it is wrong.

A summary of evidence; it holds no state. Evidence of all source partitions is added up first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from scipy.special import betaincinv

from detectors.evidence import CONFUSION, RATING, SUBJECTIVE, UNJUDGED, Evidence, total
from detectors.rating_errors import read_rating
from detectors.subjective_counts import character

#: Mass of the credible interval.
CREDIBLE: Final = 0.90
#: Answers' worth of the one-coin form in each row of a confusion matrix, where rows are compared.
ROW_PRIOR: Final = 2.0
#: A pair confused less often than this is not worth a name.
LEAST_CONFUSED: Final = 1.0


class Reliability(NamedTuple):
    """What is believed of one labeler in one label space. None where the form does not say, or nothing is known."""

    form: str
    """``confusion``, ``one_coin``, ``rating``, ``subjective`` or ``unjudged``."""
    labels: int
    """Answers so far."""
    effective_labels: float = 0.0
    """Answers that the belief rests on, as they weigh now."""
    accuracy: float | None = None
    """Probability that the next answer is right."""
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    """Equal-tailed credible interval of mass `CREDIBLE`."""
    spammer_score: float | None = None
    """0: the answers say nothing of the truth; 1: they always tell it. Wrong in a predictable way is not spam."""
    bias_label: str = ""
    """The class answered too often, if any."""
    bias: float | None = None
    """By which share of the answers; for ratings the mean error."""
    precision: float | None = None
    """Ratings: 1 / variance of the errors."""
    confused_true: str = ""
    confused_answer: str = ""
    """The pair confused most often: the true class, and what was answered."""
    confused_share: float | None = None
    """Share of the true class's tasks that were answered so."""
    stability: float | None = None
    """Subjective work: share of repeats that gave the same answer."""
    distance: float | None = None
    """Subjective work: distance (0 to 1) of the answers' distribution from that of comparable labelers."""
    attention: float | None = None
    """Subjective work: share of attention checks passed."""
    confusion: tuple[tuple[str, str, float], ...] = ()
    """True class, answer, and how many answers that is, as they weigh now."""


def summarise(parts: Iterable[Evidence]) -> Reliability:
    """Reliability of a labeler from every source partition's evidence.

    The accuracy is a beta posterior: the population's prior, worth its concentration, and the decayed counts.

    >>> counts = {("cat", 0, "cat"): 45.0, ("cat", 0, "dog"): 5.0, ("dog", 0, "dog"): 30.0, ("dog", 0, "cat"): 20.0}
    >>> ann = summarise([Evidence("confusion", labels=120, seen_ms=0, counts=counts, population=(0.8, 10.0))])
    >>> round(ann.accuracy, 3), round(ann.accuracy_low, 3), round(ann.accuracy_high, 3), ann.effective_labels
    (0.755, 0.685, 0.819, 100.0)
    >>> ann.confused_true, ann.confused_answer, round(ann.confused_share, 2), round(ann.spammer_score, 2)
    ('dog', 'cat', 0.4, 0.25)
    >>> ann.bias_label, ann.bias
    ('cat', 0.15)

    Raises:
        ValueError: no evidence.
    """
    parts = list(parts)
    evidence = total(parts)
    if evidence.form == RATING:
        return _summarise_rating(evidence, parts)
    if evidence.form == SUBJECTIVE:
        return _summarise_subjective(evidence)
    if evidence.form == UNJUDGED:
        return Reliability(UNJUDGED, evidence.labels)
    mean, concentration = evidence.population
    right, weight = evidence.right, evidence.weight
    hits, misses = right + concentration * mean, max(weight - right, 0.0) + concentration * (1.0 - mean)
    tail = (1.0 - CREDIBLE) / 2.0
    known = Reliability(
        form=evidence.form,
        labels=evidence.labels,
        effective_labels=weight,
        accuracy=hits / (hits + misses),
        accuracy_low=float(betaincinv(hits, misses, tail)),
        accuracy_high=float(betaincinv(hits, misses, 1.0 - tail)),
    )
    if evidence.form != CONFUSION:
        return known
    matrix: dict[tuple[str, str], float] = {}
    for (true, _, answer), count in evidence.counts.items():
        matrix[(true, answer)] = matrix.get((true, answer), 0.0) + count
    classes = sorted({name for pair in matrix for name in pair})
    rows = {true: sum(matrix.get((true, answer), 0.0) for answer in classes) for true in classes}
    bias_label, bias = _bias(matrix, classes, rows, weight)
    confused = max(
        (pair for pair in matrix if pair[0] != pair[1] and matrix[pair] >= LEAST_CONFUSED),
        key=lambda pair: (matrix[pair], pair),
        default=None,
    )
    return known._replace(
        spammer_score=spammer_score(matrix, hits / (hits + misses)) if len(classes) > 1 else None,
        bias_label=bias_label,
        bias=bias,
        confused_true="" if confused is None else confused[0],
        confused_answer="" if confused is None else confused[1],
        confused_share=None if confused is None else matrix[confused] / rows[confused[0]],
        confusion=tuple((*pair, count) for pair, count in sorted(matrix.items())),
    )


def _summarise_rating(evidence: Evidence, parts: list[Evidence]) -> Reliability:
    """The accuracy is the probability of a rating as good as equal to the true value; its uncertainty is not known."""
    weight, law, accuracy = read_rating(parts)
    return Reliability(RATING, evidence.labels, weight, accuracy, bias=law.bias, precision=1.0 / law.variance)


def _summarise_subjective(evidence: Evidence) -> Reliability:
    """Nothing is right or wrong, so there is no accuracy."""
    answers, stability, distance, attention = character(evidence)
    return Reliability(
        SUBJECTIVE, evidence.labels, answers, stability=stability, distance=distance, attention=attention
    )


def spammer_score(matrix: Mapping[tuple[str, str], float], accuracy: float) -> float:
    """How much the answers depend on the truth (V. C. Raykar and S. Yu, JMLR 13, 2012, section 2.4).

    The mean squared distance of any two rows of the confusion matrix: 0 where all are alike, 1 for a perfect labeler.

    >>> round(spammer_score({("a", "a"): 90.0, ("a", "b"): 10.0, ("b", "a"): 90.0, ("b", "b"): 10.0}, 0.5), 3)
    0.0
    >>> round(spammer_score({("a", "a"): 1e6, ("b", "b"): 1e6}, 1.0), 3)
    1.0
    """
    classes = sorted({name for pair in matrix for name in pair})
    others = len(classes) - 1
    rows: list[list[float]] = []
    for true in classes:
        seen = [matrix.get((true, answer), 0.0) for answer in classes]
        expected = [accuracy if answer == true else (1.0 - accuracy) / others for answer in classes]
        weight = sum(seen) + ROW_PRIOR
        rows.append([(n + ROW_PRIOR * e) / weight for n, e in zip(seen, expected, strict=True)])
    # Squared distances of all pairs: n times the sum of squares, less the square of the sum.
    squares = sum([share * share for row in rows for share in row])
    apart: float = len(rows) * squares - sum([sum(column) ** 2 for column in zip(*rows, strict=True)])
    return max(apart, 0.0) / (len(classes) * others)


def _bias(
    matrix: Mapping[tuple[str, str], float], classes: list[str], rows: Mapping[str, float], weight: float
) -> tuple[str, float | None]:
    """The class that is answered more often than it is true, and by which share of the answers."""
    if weight <= 0:
        return "", None
    excess = {
        answer: (sum(matrix.get((true, answer), 0.0) for true in classes) - rows[answer]) / weight for answer in classes
    }
    label = max(classes, key=lambda name: (excess[name], name))
    return (label, excess[label]) if excess[label] > 0 else ("", 0.0)
