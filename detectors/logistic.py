"""Bayesian logistic regression, learned one outcome at a time, and families of such models that learn together.

What was learned is kept as the precision and shift of a Gaussian (its natural parameters), apart from the prior. They
are sums over outcomes, so that the prior can change later, and one model's evidence can become another's prior.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter, mul
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river import base

Matrix = NDArray[Any]
Vector = NDArray[Any]
Pick = Callable[[Sequence[float]], tuple[float, ...]]

#: Newton's method stops at a step below this, after about five; bisection alone would need up to a hundred.
_SMALLEST_STEP: Final = 1e-12
_MAX_STEPS: Final = 100
#: A probability is never stated beyond this, whatever was learned: nobody can know it better.
_CLOSEST: Final = 1e-6
#: Features beyond it are not standardised; their squares, summed, would leave nothing of the prior's digits.
_LARGEST: Final = 1e4
_PROBIT: Final = math.pi / 8.0


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow.

    >>> sigmoid(0.0), round(sigmoid(2.0), 4), sigmoid(-1e9)
    (0.5, 0.8808, 0.0)
    """
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(max(logit, -745.0))
    return grown / (1.0 + grown) if logit > -745.0 else 0.0


class BayesianLogistic(base.Classifier):  # type: ignore[misc]  # river has no type stubs
    """Binary classifier whose weights are Gaussian: a prior, sharpened by each outcome.

    An outcome is learned by a Laplace approximation along its own features (Spiegelhalter & Lauritzen 1990, Sequential
    updating of conditional probabilities on directed graphical structures, Networks 20). A forecast integrates over
    what is not yet known of the weights by MacKay's approximation (1992, The evidence framework applied to
    classification networks, Neural Computation 4): the logit is divided by sqrt(1 + pi/8 variance).

    Args:
        mean: prior mean of the weight by feature; 0 for others. The constant is called "intercept".
        spread: prior standard deviation of the weight by feature; 1 for others.
        increasing: features whose weight is known not to be negative. The forecast never falls as one of them rises:
            their weights are kept at 0 or above, and the variance is taken where they are 0. So centre them.
        half_life: outcomes after which an old one counts half.

    >>> model = BayesianLogistic(mean={"heads": 1.0}, spread={"heads": 0.5, "intercept": 0.5})
    >>> round(model.predict_proba_one({"heads": 1.0})[True], 3)
    0.714
    >>> for _ in range(20):
    ...     model.learn_one({"heads": 1.0}, False)
    >>> round(model.predict_proba_one({"heads": 1.0})[True], 3)
    0.237
    """

    def __init__(
        self,
        mean: dict[str, float] | None = None,
        spread: dict[str, float] | None = None,
        increasing: frozenset[str] | None = None,
        half_life: float = math.inf,
    ) -> None:
        self.mean = mean
        self.spread = spread
        self.increasing = increasing
        self.half_life = half_life
        self._names: list[str] = []
        self._keep = 0.5 ** (1.0 / half_life)
        self._evidence: tuple[Matrix, Vector] = (np.zeros((0, 0)), np.zeros(0))
        self._prior: tuple[Matrix, Vector] = (np.zeros((0, 0)), np.zeros(0))
        self._posterior: tuple[Vector, Matrix] | None = None
        self._weights: list[float] = []
        self._variance: tuple[list[float], Pick, Pick] = ([], itemgetter(0, 0), itemgetter(0, 0))
        self._grow([name for name in {**(mean or {}), **(spread or {})} if name != "intercept"])

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Take an outcome into account, as if seen w times. Raises ValueError at a feature that is NaN or huge."""
        _refuse_unscaled(x)
        self._grow([name for name in x if name not in self._names])
        self.learn(self._vector(x), bool(y), weight=w)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Probability of False and of True; features never seen count nothing. Raises ValueError like learn_one."""
        _refuse_unscaled(x)
        right = self.probability(self._vector(x))
        return {False: 1.0 - right, True: right}

    def probability(self, vector: Sequence[float], offset: float = 0.0) -> float:
        """Probability of True for features in their order, intercept (1.0) first, and a logit to start from."""
        if self._posterior is None:
            self._settle()
        logit = offset + sum(map(mul, self._weights, vector))
        coefficients, left, other = self._variance
        variance = sum(map(mul, map(mul, coefficients, left(vector)), other(vector)))
        right = sigmoid(logit / math.sqrt(1.0 + _PROBIT * max(variance, 0.0)))
        return min(max(right, _CLOSEST), 1.0 - _CLOSEST)

    def learn(self, vector: Sequence[float], right: bool, offset: float = 0.0, weight: float = 1.0) -> None:
        """Like learn_one, for features in their order. Raises ValueError at a weight below 0 or not finite."""
        if not 0.0 <= weight < math.inf:
            raise ValueError(f"an outcome's weight is a finite number from 0 on: {weight}")
        mean, covariance = self._settle()
        x = np.array(vector)
        start = offset + float(mean @ x)
        reach = weight * float(x @ covariance @ x)
        logit = _settled(start, reach, float(right))
        expected = sigmoid(logit)
        information = weight * expected * (1.0 - expected)
        precision, shift = self._evidence
        self._evidence = (
            self._keep * precision + information * np.outer(x, x),
            self._keep * shift + (weight * (float(right) - expected) + information * (logit - offset)) * x,
        )
        self._posterior = None

    @property
    def features(self) -> tuple[str, ...]:
        """Features in their order, without the intercept that comes first."""
        return tuple(self._names)

    @property
    def prior(self) -> tuple[Matrix, Vector]:
        """Precision and shift (precision times mean) of the weights before any outcome."""
        return self._prior

    @prior.setter
    def prior(self, prior: tuple[Matrix, Vector]) -> None:
        self._prior = prior
        self._posterior = None

    @property
    def evidence(self) -> tuple[Matrix, Vector]:
        """Precision and shift that the outcomes add to the prior's."""
        return self._evidence

    @evidence.setter
    def evidence(self, evidence: tuple[Matrix, Vector]) -> None:
        self._evidence = evidence
        self._posterior = None

    def _vector(self, x: Mapping[str, float]) -> list[float]:
        return [1.0, *(float(x.get(name, 0.0)) for name in self._names)]

    def _grow(self, names: list[str]) -> None:
        """Take in features not seen before, with their prior and no evidence."""
        size = len(self._prior[1])
        fresh = names if size else ["intercept", *names]
        if not fresh:
            return
        self._names.extend(names)
        spread = np.array([(self.spread or {}).get(name, 1.0) for name in fresh])
        mean = np.array([(self.mean or {}).get(name, 0.0) for name in fresh])
        more = len(fresh)
        precision = np.pad(self._prior[0], (0, more))
        precision[size:, size:] = np.diag(spread**-2.0)
        self._prior = precision, np.append(self._prior[1], mean * spread**-2.0)
        self._evidence = np.pad(self._evidence[0], (0, more)), np.pad(self._evidence[1], (0, more))
        self._posterior = None

    def _settle(self) -> tuple[Vector, Matrix]:
        """Mean and covariance of the weights; what a forecast needs of them is kept as plain floats."""
        if self._posterior is not None:
            return self._posterior
        covariance: Matrix = np.linalg.inv(self._prior[0] + self._evidence[0])
        mean: Vector = covariance @ (self._prior[1] + self._evidence[1])
        self._posterior = mean, covariance
        rising = [i for i, name in enumerate(self._names, 1) if name in (self.increasing or ())]
        weights, plain = mean.tolist(), covariance.tolist()
        for i in rising:
            if weights[i] < 0.0:  # the others as they are believed to be where this weight is 0
                ratio = weights[i] / plain[i][i]
                weights = [weight - ratio * row[i] for weight, row in zip(weights, plain, strict=True)]
        for i in rising:
            weights[i] = max(weights[i], 0.0)
        self._weights = weights
        # x' C x as a sum over pairs of features, without the rising ones; as operations on whole lists, which are quick
        moved = [i for i in range(len(plain)) if i not in rising]
        pairs = [(i, j) for at, i in enumerate(moved) for j in moved[at:]]
        coefficients = [plain[i][j] if i == j else 2.0 * plain[i][j] for i, j in pairs] + [0.0, 0.0]
        pairs += [(0, 0), (0, 0)]  # itemgetter gives a tuple for two items or more
        first, second = zip(*pairs, strict=True)
        self._variance = coefficients, itemgetter(*first), itemgetter(*second)
        return self._posterior


def _refuse_unscaled(x: Mapping[str, float]) -> None:
    if not all(abs(value) <= _LARGEST for value in x.values()):  # NaN neither
        raise ValueError(f"features are standardised numbers, at most {_LARGEST:g} either way: {dict(x)}")


def _settled(start: float, reach: float, right: float) -> float:
    """The logit at which it stands after an outcome: the root of logit - start - reach (right - sigmoid(logit))."""
    low, high = start - reach, start + reach
    logit, step = start, math.inf
    for _ in range(_MAX_STEPS):
        expected = sigmoid(logit)
        excess = logit - start - reach * (right - expected)
        low, high = (low, logit) if excess > 0.0 else (logit, high)
        newton = -excess / (1.0 + reach * expected * (1.0 - expected))
        # Where the function bends Newton's method can jump to and fro: then halve the interval.
        halve = abs(newton) > abs(step) / 2.0 or not low <= logit + newton <= high
        step = (low + high) / 2.0 - logit if halve else newton
        logit += step
        if abs(step) < _SMALLEST_STEP:
            break
    return logit


class _Member:
    """A model, what it tells the population, and how much the family had learned when its prior was made."""

    __slots__ = ("model", "seen", "told")

    def __init__(self, model: BayesianLogistic) -> None:
        self.model = model
        self.told: tuple[Matrix, Vector] = (np.zeros_like(model.prior[0]), np.zeros_like(model.prior[1]))
        self.seen = -1


class LogisticFamily:
    """One BayesianLogistic per member, whose prior is what the other members taught.

    Two levels, as in a mixed model: weights vary between members around those of the population, which are themselves
    uncertain. What one level tells the other is a Gaussian passed through that variation (belief propagation on a
    tree), so that a forecast rests on everybody's evidence and counts none of it twice. A stranger starts from the
    population; a member with much evidence is its own.

    Args:
        template: a model with the prior of a member of an unknown population.
        common: share of the prior's variance that all members have in common; the rest lies between them.
        max_members: members remembered; the one that learned longest ago is forgotten beyond it.

    >>> family = LogisticFamily(BayesianLogistic(spread={"intercept": 1.0}), common=0.5, max_members=10)
    >>> for _ in range(30):
    ...     family.learn("coins", [1.0], True)
    >>> round(family.model("coins").probability([1.0]), 2), round(family.model("dice").probability([1.0]), 2)
    (0.9, 0.73)
    """

    def __init__(self, template: BayesianLogistic, common: float, max_members: int) -> None:
        self._template = template
        self._max_members = max_members
        precision, shift = template.prior
        self._between: Matrix = precision / (1.0 - common)
        self._start = precision / common, shift / common
        self._sum = np.zeros_like(precision), np.zeros_like(shift)
        self._stranger = _Member(template.clone())
        self._members: OrderedDict[str, _Member] = OrderedDict()
        self._learned = 0

    def model(self, name: str) -> BayesianLogistic:
        """The model to forecast a member with: a stranger's, if nothing was learned about it. Not to be changed."""
        return self._prepared(self._members.get(name, self._stranger))

    def learn(self, name: str, vector: Sequence[float], right: bool, offset: float = 0.0, weight: float = 1.0) -> None:
        """Take an outcome of one member into account (see BayesianLogistic.learn)."""
        member = self._members.get(name) or _Member(self._template.clone())
        self._prepared(member).learn(vector, right, offset, weight)  # may refuse: nothing has changed yet
        self._members[name] = member
        self._members.move_to_end(name)
        self._tell(member)
        if len(self._members) > self._max_members:
            _, forgotten = self._members.popitem(last=False)
            self._sum = self._sum[0] - forgotten.told[0], self._sum[1] - forgotten.told[1]

    def dump(self) -> dict[str, Any]:
        """State as plain values: features, and by member the evidence's precision (by rows) and shift."""
        members = [[name, *_plain(member.model.evidence)] for name, member in self._members.items()]
        return {"features": list(self._template.features), "sum": _plain(self._sum), "members": members}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from dumped state. Raises ValueError if it is of other features."""
        if tuple(state["features"]) != self._template.features:
            raise ValueError(f"state of features {state['features']} cannot be loaded into {self._template.features}")
        self._members = OrderedDict()
        for name, precision, shift in state["members"]:
            member = self._members[name] = _Member(self._template.clone())
            member.model.evidence = _arrays(precision, shift)
            self._tell(member)
        self._sum = _arrays(*state["sum"])  # not the sum of the above, whose last digits depend on the order
        self._learned += 1

    def _prepared(self, member: _Member) -> BayesianLogistic:
        """The member's model, with a prior made of all that the others told."""
        if member.seen != self._learned:
            precision = self._start[0] + self._sum[0] - member.told[0]
            shift = self._start[1] + self._sum[1] - member.told[1]
            member.model.prior = self._passed(precision, shift)
            member.seen = self._learned
        return member.model

    def _tell(self, member: _Member) -> None:
        told = self._passed(*member.model.evidence)
        self._sum = self._sum[0] + told[0] - member.told[0], self._sum[1] + told[1] - member.told[1]
        member.told = told
        self._learned += 1

    def _passed(self, precision: Matrix, shift: Vector) -> tuple[Matrix, Vector]:
        """A Gaussian of one level's weights as seen from the other: wider by the variance between members."""
        between = self._between
        share: Matrix = between @ np.linalg.inv(precision + between)
        return between - share @ between, share @ shift


def _plain(gaussian: tuple[Matrix, Vector]) -> list[list[float]]:
    return [gaussian[0].ravel().tolist(), gaussian[1].tolist()]


def _arrays(precision: Sequence[float], shift: Sequence[float]) -> tuple[Matrix, Vector]:
    return np.array(precision).reshape(len(shift), len(shift)), np.array(shift)
