"""Online consensus of ratings: bias and precision per labeler, learned one answer at a time.

A rating is the task's true value, plus its labeler's bias, plus normal noise of the labeler's own variance (V. C.
Raykar et al., *Learning From Crowds*, JMLR 11, 2010, the section on regression; with a bias, and without features of
the task). The true value is normal, too; the E-step is exact, its mean the precision-weighted mean of the ratings less
their biases. As in `detectors.confusion`, a task's own contribution is left out of what weighs its ratings, and the
M-step replaces what the task had contributed (Neal and Hinton, 1998).

A labeler who changes is forgotten by half-lives alone: there is no control chart here.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any, Final

from detectors.consensus import NOTHING, Answer, Belief, Task, shared
from detectors.evidence import RATING, Evidence
from detectors.forgetting import Forgetting, HalfLives
from detectors.rating_errors import Law, Rater, Raters, errors
from detectors.rating_scale import Scale, number

#: The population is estimated when there are so many ratings, and again whenever they have grown by this factor.
FIRST_ESTIMATE: Final = 50
GROWTH: Final = 1.25
#: How many ratings' worth of information the variance is that is assumed before there is data.
FIRST_RATINGS: Final = 50.0
#: Labelers that it is estimated from, at most: those heard first.
MAX_SAMPLE: Final = 2_000
#: A rating less probable than this is left out of a posterior.
NEGLIGIBLE: Final = 1e-9

Vote = tuple[str, Answer, float]


class RatingModel:
    """Labelers of one space of ratings. Labels that are no numbers cast no vote.

    ``Task.posterior`` is the true value's mean and variance; ``Task.share`` also has the bounds to which the ratings
    were cut when it was counted (`detectors.rating_scale`), so that it can be taken back exactly.

    >>> model = RatingModel(HalfLives(annotations=1_000, days=90))
    >>> for i in range(120):
    ...     task = Task("essays", f"t{i}", "quality")
    ...     true = 1 + i * 7 % 5
    ...     for name, rating in (("ann", true), ("bob", true + (i % 3 == 0)), ("cy", true - 1), ("di", 1 + i * i % 5)):
    ...         answer = Answer(str(rating), i)
    ...         _ = task.stand(name, answer)
    ...         model.answer(task, name, answer)
    >>> belief = model.belief(task)
    >>> true, belief.label, {label: round(chance, 3) for label, chance in belief.posterior.items()}
    (4, '4', {'3': 0.001, '4': 0.999, '5': 0.0})
    >>> [round(model.law(name).bias, 2) for name in ("ann", "bob", "cy", "di")]
    [0.09, 0.41, -0.86, 0.09]
    >>> [round(model.accuracy(name), 2) for name in ("ann", "bob", "cy", "di")]
    [0.87, 0.56, 0.16, 0.25]
    """

    form = RATING

    def __init__(self, half_lives: HalfLives) -> None:
        self._half_lives = half_lives
        self.labelers: dict[str, Rater] = {}
        self.changed: set[str] = set()
        """Labelers whose own evidence changed since the owner last emptied it."""
        self.scale = Scale()
        self._variance: float | None = None
        self._answers = 0
        self._estimate_at = FIRST_ESTIMATE

    @property
    def raters(self) -> Raters:
        """What is believed of a labeler of whom nothing is known."""
        variance = self.scale.first_variance if self._variance is None else self._variance
        return Raters(variance, self.scale.step, self.scale.gap)

    def answer(self, task: Task, labeler_id: str, answer: Answer, before: Answer | None = None) -> None:
        """Take a standing answer into account; ``before`` is the same labeler's answer that it replaces."""
        labeler = self._labeler(labeler_id)
        self.changed.add(labeler_id)
        replaced = None if before is None else number(before.label)
        if before is not None and replaced is not None:
            self.scale.remove(replaced)
            if before.is_counted and task.share is not None:
                labeler.count(before, replaced, task.share, -1.0)
        value = number(answer.label)
        if value is not None:
            self.scale.add(value, shared(answer.label or ""))
            labeler.labels += 1
            elsewhere = sum([one.labels for one in labeler.heard.values()])
            labeler.forgetting.advance(self._half_lives, answer.submitted_ms, 1.0 + elsewhere / labeler.labels)
            labeler.rescale()
            answer.clock, answer.serial = labeler.forgetting.clock, labeler.forgetting.answers
            self._answers += 1
            if self._answers >= self._estimate_at:
                self._estimate()
        self.update(task)

    def update(self, task: Task) -> None:
        """E-step and M-step: what the answers and the truth say, and what that says of the labelers."""
        votes, truth = _votes(task), _truth(task)
        if truth is not None:
            self.scale.know(truth, shared(task.truth.label if task.truth else ""))
        if truth is None and not votes:
            task.posterior = None
            return
        task.posterior = self._expect(task, votes, truth)
        if len(votes) > 1 or truth is not None:  # an answer that nothing can be held against says nothing
            self._replace(task, votes, [*task.posterior, *self.scale.bounds])

    def consensus(self, task: Task) -> str | None:
        """The rating on the scale that is nearest to the posterior mean; of equals the lower."""
        return self.belief(task).label

    def belief(self, task: Task) -> Belief:
        """What is believed of a task now."""
        if task.posterior is None:
            return NOTHING
        if _truth(task) is not None and task.truth is not None:
            return Belief(task.truth.label, 1.0, 0.0, {task.truth.label: 1.0})
        return self._belief(task, task.posterior)

    def believe(self, task: Task, *, without: str | None = None) -> Belief:
        """What the answers alone say, perhaps without one labeler's; nothing is learned from it."""
        votes = [vote for vote in _votes(task) if vote[0] != without]
        return self._belief(task, self._expect(task, votes, None)) if votes else NOTHING

    def accuracy(self, labeler_id: str) -> float:
        """Probability that this labeler's next rating lies within half a step of the true value."""
        return self.law(labeler_id).within(self.scale.step / 2.0)

    def law(self, labeler_id: str) -> Law:
        """How this labeler errs."""
        labeler = self.labelers.get(labeler_id)
        return self.raters.law(*((0.0, 0.0, 0.0) if labeler is None else labeler.sums()))

    def evidence(self, labeler_id: str) -> Evidence:
        """This source partition's own evidence on a labeler, whole."""
        one, raters = self.labelers[labeler_id], self.raters
        sums = {"weight": one.weight, "error": one.error, "squared": one.squared}
        moments = {name: value / one.scale for name, value in sums.items()} | raters.to_moments()
        return Evidence(RATING, one.labels, one.forgetting.last_ms, {}, raters.population, moments=moments)

    def hear(self, labeler_id: str, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        if evidence.form == RATING:
            self._labeler(labeler_id).heard[source_partition] = evidence

    def dump(self) -> list[Any]:
        """The space without its labelers, as plain values."""
        return [self.scale.dump(), self._variance, self._answers, self._estimate_at]

    def load(self, state: list[Any]) -> None:
        """Continue from a dumped space; before its labelers."""
        scale, self._variance, self._answers, self._estimate_at = state
        self.scale = Scale.load(scale)

    def dump_labeler(self, labeler_id: str) -> list[Any]:
        """A labeler's own evidence, exactly; what was heard of it is not in it."""
        one = self.labelers[labeler_id]
        return [one.weight, one.error, one.squared, one.labels, one.base, one.forgetting.dump()]

    def load_labeler(self, labeler_id: str, state: list[Any]) -> None:
        """Continue with a dumped labeler of whom nothing was heard yet."""
        one = self._labeler(labeler_id)
        one.weight, one.error, one.squared, one.labels, one.base, forgetting = state
        one.forgetting = Forgetting(*forgetting)
        one.rescale()

    def _expect(self, task: Task, votes: list[Vote], truth: float | None) -> list[float]:
        """E-step: mean and variance of the true value, the task's own errors in no labeler's law."""
        if truth is not None:
            return [self.scale.cut(truth), 0.0]
        mean, variance = self.scale.prior
        raters = self.raters
        precisions, products = [1.0 / variance], [mean / variance]
        for name, answer, value in votes:
            labeler = self.labelers[name]
            weight, error, squared = labeler.sums()
            if answer.is_counted and task.share is not None:
                unit = 2.0 ** (answer.clock - labeler.base) / labeler.scale
                own_error, own_squared = errors(value, task.share)
                weight, error, squared = weight - unit, error - unit * own_error, squared - unit * own_squared
            law = raters.law(weight, error, squared)
            precisions.append(1.0 / law.predictive)
            products.append((self.scale.cut(value) - law.bias) / law.predictive)
        precision = math.fsum(precisions)  # whichever came first
        return [math.fsum(products) / precision, 1.0 / precision]

    def _replace(self, task: Task, votes: list[Vote], share: list[float]) -> None:
        """M-step: the task's new errors in every labeler's sums in place of its old ones."""
        for name, answer, value in votes:
            labeler = self.labelers[name]
            if answer.is_counted and task.share is not None:
                labeler.count(answer, value, task.share, -1.0)
            answer.is_counted = True
            labeler.count(answer, value, share, 1.0)
        self.changed.update([name for name, _, _ in votes])
        task.share = share

    def _belief(self, task: Task, posterior: list[float]) -> Belief:
        mean, variance = posterior
        given = {value: answer.label or "" for _, answer, value in _votes(task)}
        chances = self.scale.chances(mean, variance, given, task.refuted)
        label = min(chances, key=lambda name: (abs(float(name) - mean), float(name)))
        open_share = max(1.0 - sum(chances.values()), 0.0)
        entropy = -sum([p * math.log(p) for p in (*chances.values(), open_share) if p > 0.0])
        posterior_of = {name: p for name, p in chances.items() if p > NEGLIGIBLE or name == label}
        return Belief(label, min(chances[label], 1.0), max(entropy, 0.0), posterior_of)

    def _labeler(self, labeler_id: str) -> Rater:
        labeler = self.labelers.get(labeler_id)
        if labeler is None:
            labeler = self.labelers[shared(labeler_id)] = Rater()
        return labeler

    def _estimate(self) -> None:
        """Estimate the middle labeler's variance again, a labeler weighing what it was seen to do.

        A median: one labeler with a broken slider does not make everybody imprecise.
        """
        self._estimate_at = int(self._answers * GROWTH) + 1
        seen = [(self.scale.first_variance, FIRST_RATINGS)]
        for labeler in islice(self.labelers.values(), MAX_SAMPLE):
            weight, error, squared = labeler.sums()
            if weight >= 2.0:
                seen.append((max(squared - error * error / weight, 0.0) / (weight - 1.0), weight))
        half, below = sum([weight for _, weight in seen]) / 2.0, 0.0
        for variance, weight in sorted(seen):
            below += weight
            if below >= half:
                self._variance = variance
                return


def _votes(task: Task) -> list[Vote]:
    return [(name, one, value) for name, one in task.votes() if (value := number(one.label)) is not None]


def _truth(task: Task) -> float | None:
    return None if task.truth is None else number(task.truth.label)
