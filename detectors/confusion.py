"""Online Dawid-Skene: a confusion matrix per labeler, learned one answer at a time.

The E-step of a task multiplies, for every class, the class prior with the probability that each labeler gives the
answer it gave (A. P. Dawid and A. M. Skene, *Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm*, 1979), the task's own contribution to that labeler's counts left out. The M-step replaces what the task
had contributed by what it contributes now, which is incremental EM (R. M. Neal and G. E. Hinton, *A View of the EM
Algorithm that Justifies Incremental, Sparse, and Other Variants*, 1998).

Each class has ordinary and hard tasks, with rows of their own. Labelers who err together on the same tasks would
otherwise look like good labelers of a class that does not exist (Y. Li, B. Rubinstein, T. Cohn, *Exploiting Worker
Correlation for Label Aggregation in Crowdsourcing*, ICML 2019, where the subtypes are exchangeable; here they start
apart, so that all partitions mean the same by them).

A row that has seen little is believed to be like the labeler's accuracy over all classes, and that to be like the
population's; how much, is estimated (`detectors.population`).
"""

from __future__ import annotations

import math
from dataclasses import astuple
from heapq import nsmallest
from operator import add, sub
from typing import Any, Final

from detectors.confusion_counts import KINDS, ConfusionCounts
from detectors.consensus import NOTHING, Answer, Belief, Task, shared
from detectors.evidence import CONFUSION, Evidence
from detectors.forgetting import HalfLives
from detectors.population import FIRST_ACCURACY, FIRST_ANSWERS, Overdispersion, Population

Vote = tuple[str, Answer]
"""A labeler, and its standing answer."""

#: What the uniform class prior is worth, in tasks a row.
PRIOR_TASKS: Final = 1.0
#: What is left of a row's prior without a task that was most of it.
TINY: Final = 1e-6
#: Beyond so many tasks the class prior is halved, so that it follows a change.
MAX_PRIOR_TASKS: Final = 20_000
#: Concentrations before there is data, and how many answers' worth of information that is. What is expected of rows
#: that have seen little moves slowly: labelers' rows do scatter more, but much of that is the tasks' doing, and rows
#: that are too flexible learn classes that nobody has in mind.
CONCENTRATION: Final = 20.0
CONCENTRATION_WEIGHT: Final = 300.0
RATE_CONCENTRATION: Final = 50.0
RATE_WEIGHT: Final = 5_000.0
ROW_CONCENTRATION: Final = 5.0
ROW_WEIGHT: Final = 10_000.0
#: The population is estimated when there are so many answers, and again whenever they have grown by this factor.
FIRST_ESTIMATE: Final = 50
GROWTH: Final = 1.25
#: Labelers that it is estimated from, at most.
MAX_SAMPLE: Final = 2_000
#: A labeler's accuracy is estimated again after so many of its answers.
REFRESH: Final = 4
#: A task whose posterior moved by less in every row is not counted anew: the M-step is sparse, as Neal and Hinton have
#: it. What it counts is still told exactly by its share.
LEAST_MOVE: Final = 1e-3
#: Rows of a label space of two classes, the most common one, whose E-step is written out: twice as fast.
BINARY_ROWS: Final = 2 * KINDS


class ConfusionModel:
    """Labelers and classes of one label space.

    Args:
        half_lives: how evidence fades.
        classes: those that are declared; others are added as they are seen.

    >>> model = ConfusionModel(HalfLives(annotations=1_000, days=90), ("cat", "dog"))
    >>> for number in range(200):
    ...     task = Task("pets", f"t{number}", "image_class")
    ...     truth, lie = ("cat", "dog") if number % 4 < 2 else ("dog", "cat")
    ...     for name in ("ann", "bob", "cy"):
    ...         answer = Answer(lie if name == "cy" and number % 2 else truth, number)
    ...         _ = task.stand(name, answer)
    ...         model.answer(task, name, answer)
    >>> round(model.accuracy("ann"), 2), round(model.accuracy("cy"), 2)
    (0.98, 0.52)
    >>> belief = model.belief(task)
    >>> belief.label, round(belief.raw_confidence, 3)
    ('dog', 1.0)
    """

    form = CONFUSION

    def __init__(self, half_lives: HalfLives, classes: tuple[str, ...] = ()) -> None:
        self._half_lives = half_lives
        self.classes: dict[str, int] = {}
        """Class to its first row."""
        self.labelers: dict[str, ConfusionCounts] = {}
        self.changed: set[str] = set()
        """Labelers whose own evidence changed since the owner last emptied it."""
        self.population = Population()
        self._prior: list[float] = []
        """Tasks by row, with pseudo-counts."""
        self._tasks = 0
        self._answers = 0
        self._estimate_at = FIRST_ESTIMATE
        for name in classes:
            self._add_class(name)

    def answer(self, task: Task, labeler_id: str, answer: Answer, before: Answer | None = None) -> None:
        """Take a standing answer into account; ``before`` is the same labeler's answer that it replaces."""
        label = answer.label
        assert label is not None
        if label not in self.classes:
            self._add_class(label)
        labeler = self._labeler(labeler_id)
        if (
            before is not None
            and before.label
            and before.is_counted
            and not before.is_retired
            and task.share is not None
        ):
            labeler.count(before.label, self._padded(task.share), -(2.0 ** (before.clock - labeler.base)))
        labeler.labels += 1
        # An own answer stands for those that other partitions see meanwhile: half-lives count all of a labeler's work.
        elsewhere = sum([evidence.labels for evidence, _ in labeler.heard.values()])
        labeler.forgetting.advance(self._half_lives, answer.submitted_ms, 1.0 + elsewhere / labeler.labels)
        labeler.rescale()
        if labeler.labels % REFRESH == 0 or labeler.labels < REFRESH:
            labeler.estimate(self.classes, self.population)
        answer.clock, answer.serial = labeler.forgetting.clock, labeler.forgetting.answers
        self._answers += 1
        if self._answers >= self._estimate_at:
            self._estimate()
        self.changed.add(labeler_id)
        self.update(task)

    def update(self, task: Task) -> None:
        """E-step and M-step: what the answers and the truth say, and what that says of the labelers."""
        votes = task.votes()
        truth = None if task.truth is None else task.truth.label
        if truth is not None and truth not in self.classes:
            self._add_class(truth)
        if truth is None and not votes:
            return
        task.posterior, task.belief = self._expect(task, votes, truth), None
        if len(votes) > 1 or truth is not None:  # an answer that nothing can be held against says nothing
            self._replace(task, votes, task.posterior)

    def consensus(self, task: Task) -> str | None:
        """The most probable label; of equals the one that sorts last."""
        return self.belief(task).label

    def belief(self, task: Task) -> Belief:
        """What is believed of a task now."""
        if task.belief is None:
            # By the classes of its own time, as before a restart: a posterior may have fewer rows than there are now.
            task.belief = NOTHING if task.posterior is None else self._belief(task.posterior)
        return task.belief

    def believe(self, task: Task, *, without: str | None = None) -> Belief:
        """What the answers alone say, perhaps without one labeler's; nothing is learned from it."""
        votes = [vote for vote in task.votes() if vote[0] != without]
        return self._belief(self._expect(task, votes, None)) if votes else NOTHING

    def accuracy(self, labeler_id: str) -> float:
        """Probability that this labeler's next answer is right, as last estimated."""
        labeler = self.labelers.get(labeler_id)
        return self.population.accuracy if labeler is None else labeler.accuracy

    def evidence(self, labeler_id: str) -> Evidence:
        """This source partition's own evidence on a labeler, whole."""
        return self.labelers[labeler_id].evidence(self.classes, self.population)

    def hear(self, labeler_id: str, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        if evidence.form != CONFUSION:
            return  # it has seen more classes than a matrix can hold; soon this partition will, too
        for true, _, answer in evidence.counts:
            self._add_class(true)
            self._add_class(answer)
        labeler = self._labeler(labeler_id)
        labeler.hear(source_partition, evidence, self.classes)
        labeler.estimate(self.classes, self.population)

    def dump(self) -> list[Any]:
        """The space without its labelers, as plain values."""
        population = [list(self.population.accuracies), *astuple(self.population)[1:]]
        return [list(self.classes), self._prior, self._tasks, self._answers, self._estimate_at, population]

    def load(self, state: list[Any]) -> None:
        """Continue from a dumped space; before its labelers."""
        classes, self._prior, self._tasks, self._answers, self._estimate_at, (accuracies, *others) = state
        self.classes = {name: KINDS * number for number, name in enumerate(classes)}
        self.population = Population(tuple(accuracies), *others)

    def dump_labeler(self, labeler_id: str) -> list[Any]:
        """A labeler's own evidence, exactly; what was heard of it is not in it."""
        return self.labelers[labeler_id].dump(self.classes)

    def load_labeler(self, labeler_id: str, state: list[Any]) -> None:
        """Continue with a dumped labeler of whom nothing was heard yet."""
        self._labeler(labeler_id).load(state)

    def _expect(self, task: Task, votes: list[Vote], truth: str | None) -> list[float]:
        """E-step (equation 2.5 of Dawid and Skene), without the task's own share in any of the counts."""
        share = None if task.share is None else self._padded(task.share)
        chance = self._prior if share is None else [p - s if p > s else TINY for p, s in zip(self._prior, share)]
        if truth is not None or task.refuted:
            chance = self._restricted(chance, truth, task.refuted)
        if len(chance) == BINARY_ROWS:
            chance = self._times_binary(chance, votes, share)
        else:
            chance = self._times(chance, votes, share)
        total = sum(chance)
        return [p / total for p in chance]

    def _times(self, chance: list[float], votes: list[Vote], share: list[float] | None) -> list[float]:
        """Chances by row times that of every vote."""
        concentration = self.population.row_concentration
        for name, answer in votes:
            label: str = answer.label  # type: ignore[assignment]  # votes have labels
            labeler = self.labelers[name]
            pseudo = concentration * labeler.scale
            expected = labeler.expected.get(label) or labeler.expect(label, self.classes)
            if answer.is_counted and share is not None:
                weight = 2.0 ** (answer.clock - labeler.base)
                chance = [
                    p * (c - weight * s + pseudo * e) / (n - weight * s + pseudo)
                    for p, c, n, s, e in zip(chance, labeler.columns[label], labeler.totals, share, expected)
                ]
            else:
                chance = [
                    p * (c + pseudo * e) / (n + pseudo)
                    for p, c, n, e in zip(chance, labeler.columns[label], labeler.totals, expected)
                ]
        return chance

    def _times_binary(self, chance: list[float], votes: list[Vote], share: list[float] | None) -> list[float]:
        """The same where there are four rows."""
        concentration, labelers = self.population.row_concentration, self.labelers
        p0, p1, p2, p3 = chance
        s0, s1, s2, s3 = share or (0.0, 0.0, 0.0, 0.0)
        for name, answer in votes:
            label: str = answer.label  # type: ignore[assignment]  # votes have labels
            labeler = labelers[name]
            pseudo = concentration * labeler.scale
            e0, e1, e2, e3 = labeler.expected.get(label) or labeler.expect(label, self.classes)
            c0, c1, c2, c3 = labeler.columns[label]
            n0, n1, n2, n3 = labeler.totals
            weight = 2.0 ** (answer.clock - labeler.base) if answer.is_counted else 0.0
            p0 *= (c0 - weight * s0 + pseudo * e0) / (n0 - weight * s0 + pseudo)
            p1 *= (c1 - weight * s1 + pseudo * e1) / (n1 - weight * s1 + pseudo)
            p2 *= (c2 - weight * s2 + pseudo * e2) / (n2 - weight * s2 + pseudo)
            p3 *= (c3 - weight * s3 + pseudo * e3) / (n3 - weight * s3 + pseudo)
        return [p0, p1, p2, p3]

    def _restricted(self, chance: list[float], truth: str | None, refuted: tuple[str, ...]) -> list[float]:
        """Only the classes that an observed truth leaves open; all of them, if a review refused every one."""
        left = {truth} if truth is not None else self.classes.keys() - set(refuted)
        rows = {row + kind for name, row in self.classes.items() if name in left for kind in range(KINDS)}
        return [p if row in rows else 0.0 for row, p in enumerate(chance)] if rows else chance

    def _replace(self, task: Task, votes: list[Vote], posterior: list[float]) -> None:
        """M-step: the task's new share in every count in place of its old one."""
        if task.share is None:
            delta = posterior
            self._tasks += 1
        else:
            share = self._padded(task.share)
            delta = list(map(sub, posterior, share))
            if max(map(abs, delta)) < LEAST_MOVE:  # only what is new counts, and by the share that the others have
                delta, posterior = [], share
        if delta:
            self._prior = list(map(add, self._prior, delta))
            if self._tasks > MAX_PRIOR_TASKS:
                self._tasks //= 2
                self._prior = [p / 2.0 for p in self._prior]
        for name, answer in votes:
            if answer.is_counted and not delta:
                continue
            label: str = answer.label  # type: ignore[assignment]  # votes have labels
            labeler = self.labelers[name]
            weight = 2.0 ** (answer.clock - labeler.base)
            labeler.count(label, delta if answer.is_counted else posterior, weight)
            answer.is_counted = True
            row = self.classes[label]
            labeler.forgetting.watch(answer.serial, posterior[row] + posterior[row + 1])
            self.changed.add(name)
        task.share = posterior

    def _belief(self, posterior: list[float]) -> Belief:
        by_class = [ordinary + hard for ordinary, hard in zip(posterior[::KINDS], posterior[1::KINDS])]
        best = max(by_class)
        label = max([name for name, chance in zip(self.classes, by_class) if chance == best])
        entropy = 0.0 - sum([chance * math.log(chance) for chance in by_class if chance > 0.0])
        return Belief(label, min(best, 1.0), max(entropy, 0.0), dict(zip(self.classes, by_class)))

    def _labeler(self, labeler_id: str) -> ConfusionCounts:
        labeler = self.labelers.get(labeler_id)
        if labeler is None:
            labeler = self.labelers[shared(labeler_id)] = ConfusionCounts(self.classes)
            labeler.estimate(self.classes, self.population)
        return labeler

    def _add_class(self, name: str) -> None:
        if name not in self.classes:
            self.classes[shared(name)] = len(self._prior)
            self._prior = [*self._prior, *[PRIOR_TASKS] * KINDS]
            for labeler in self.labelers.values():
                labeler.add_class(name)

    def _padded(self, share: list[float]) -> list[float]:
        """A share by today's rows; classes may have been added since."""
        missing = len(self._prior) - len(share)
        return share + [0.0] * missing if missing else share

    def _estimate(self) -> None:
        """Estimate the population again from the labelers' counts."""
        self._estimate_at = int(self._answers * GROWTH) + 1
        # By name: in the order of first answers a restored model would add up otherwise.
        sample = [self.labelers[name] for name in nsmallest(MAX_SAMPLE, self.labelers)]
        means: list[float] = []
        weights: list[float] = []
        accuracies = Overdispersion(CONCENTRATION, CONCENTRATION_WEIGHT)
        rates = Overdispersion(RATE_CONCENTRATION, RATE_WEIGHT)
        rows = Overdispersion(ROW_CONCENTRATION, ROW_WEIGHT)
        prior = self.population.rate_concentration
        for kind, first in enumerate(FIRST_ACCURACY):
            hits = [labeler.hits(self.classes, kind) for labeler in sample]
            weights.append(FIRST_ANSWERS + sum([trials for _, trials in hits]))
            mean = (FIRST_ANSWERS * first + sum([right for right, _ in hits])) / weights[kind]
            means.append(mean)
            for labeler, (right, trials) in zip(sample, hits, strict=True):
                accuracies.add(right, trials, mean)
                rates.add(right, trials, mean)
                rate = (right + prior * mean) / (trials + prior)
                for name, row in self.classes.items():
                    in_row = labeler.totals[row + kind] / labeler.scale
                    rows.add(labeler.columns[name][row + kind] / labeler.scale, in_row, rate)
        self.population = Population(
            tuple(means),
            accuracies.concentration(),
            rates.concentration(),
            rows.concentration(),
            weights[1] / sum(weights),
        )
