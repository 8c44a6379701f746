"""One labeler's decayed confusion counts, from all source partitions, and what is expected where they are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from detectors.evidence import CONFUSION, Evidence
from detectors.forgetting import MAX_EXPONENT, Change, Forgetting
from detectors.population import FIRST_ACCURACY, Population

#: Kinds of tasks within a class: ordinary and hard.
KINDS: Final = len(FIRST_ACCURACY)
#: Smallest divisor: a labeler who was never wrong cannot become so by a factor.
TINY: Final = 1e-12
#: Counts below it are rounding, and are not sent.
NEGLIGIBLE: Final = 1e-9


class ConfusionCounts:
    """Counts by answer and row; a row is a class and a kind of task.

    They are scaled so that an answer given at clock reading ``base`` counts 1, and one given now counts ``scale``: time
    passes by ``scale`` growing, and what an answer once added can be taken back exactly.

    >>> cat = ConfusionCounts({"cat": 0, "dog": 2})
    >>> cat.count("cat", [0.75, 0.0, 0.25, 0.0], 1.0)
    >>> cat.hits({"cat": 0, "dog": 2}, kind=0)
    (0.75, 1.0)
    """

    __slots__ = ("accuracy", "base", "columns", "expected", "forgetting", "heard", "labels", "rates", "scale", "totals")

    def __init__(self, classes: Mapping[str, int]) -> None:
        rows = KINDS * len(classes)
        self.columns = {name: [0.0] * rows for name in classes}
        """Answer to counts by row, own and heard."""
        self.totals = [0.0] * rows
        """Sums over answers, by row."""
        self.heard: dict[int, tuple[Evidence, float]] = {}
        """Other source partitions' evidence, and the factor with which it was added."""
        self.labels = 0
        """Answers seen here, not decayed."""
        self.forgetting = Forgetting()
        self.base = 0.0
        self.scale = 1.0
        self.accuracy = 0.0
        """Probability that the next answer is right, as last estimated."""
        self.rates: list[float] = []
        """Accuracy by kind of task, as last estimated: what is expected of rows that have seen little."""
        self.expected: dict[str, list[float]] = {}
        """Answer to its share by row, according to ``rates``; made when first needed."""

    def add_class(self, name: str) -> None:
        """Make room for one more class, in rows and answers."""
        for column in self.columns.values():
            column.extend([0.0] * KINDS)
        self.totals.extend([0.0] * KINDS)
        self.columns[name] = [0.0] * len(self.totals)
        self.expected.clear()

    def count(self, answer: str, share: list[float], weight: float) -> None:
        """Add an answer to a task of which ``share`` says, by row, what it probably is."""
        column, totals = self.columns[answer], self.totals
        for row, part in enumerate(share):
            part *= weight
            column[row] += part
            totals[row] += part

    def hits(self, classes: Mapping[str, int], kind: int) -> tuple[float, float]:
        """Right answers, and all, in tasks of a kind, as they weigh now."""
        right = sum([self.columns[name][row + kind] for name, row in classes.items()])
        return right / self.scale, sum(self.totals[kind::KINDS]) / self.scale

    def estimate(self, classes: Mapping[str, int], population: Population) -> None:
        """Estimate accuracy and rates again, and forget faster if the labeler has changed."""
        hits = [self.hits(classes, kind) for kind in range(KINDS)]
        right, weight = sum([one[0] for one in hits]), sum([one[1] for one in hits])
        change = self.forgetting.change(right / weight, weight) if weight > 0 else None
        if change is not None:
            self.restart(classes, change, self.forgetting.last_ms)
            hits = [self.hits(classes, kind) for kind in range(KINDS)]
            right, weight = sum([one[0] for one in hits]), sum([one[1] for one in hits])
        prior = population.rate_concentration
        self.rates = [
            (hit + prior * mean) / (trials + prior)
            for (hit, trials), mean in zip(hits, population.accuracies, strict=True)
        ]
        prior = population.concentration
        self.accuracy = (right + prior * population.accuracy) / (weight + prior)
        self.expected.clear()

    def restart(self, classes: Mapping[str, int], change: Change, at_ms: int) -> None:
        """Begin again after a change: what was counted weighs little, and its accuracy is that of the latest answers.

        Which classes are confused is kept; half the answers' weight, since it was their being extreme that told.
        """
        right, weight = (sum(one) for one in zip(*[self.hits(classes, kind) for kind in range(KINDS)], strict=True))
        kept = change.answers / 2.0
        self.forgetting.jump(weight, kept, at_ms)
        self.rescale()
        shrunk = min(kept, weight)
        as_right = shrunk * change.accuracy / max(right * shrunk / weight, TINY)
        as_wrong = shrunk * (1.0 - change.accuracy) / max((weight - right) * shrunk / weight, TINY)
        for answer, column in self.columns.items():
            own = classes[answer]
            for row, count in enumerate(column):
                column[row] = count * (as_right if own <= row < own + KINDS else as_wrong)
        self.totals = [sum(counts) for counts in zip(*self.columns.values(), strict=True)]
        self.heard = {}  # its part cannot be told from the rest any more; it is heard again

    def expect(self, answer: str, classes: Mapping[str, int]) -> list[float]:
        """The answer's expected share by row, for a labeler of whom only the rates are known."""
        others = max(len(classes), 2) - 1
        wrong = [(1.0 - rate) / others for rate in self.rates]
        expected: list[float] = []
        for name in classes:
            expected.extend(self.rates if name == answer else wrong)
        self.expected[answer] = expected
        return expected

    def rescale(self) -> None:
        """Follow the clock."""
        exponent = self.forgetting.clock - self.base
        if exponent > MAX_EXPONENT:
            factor = 2.0**-exponent
            self.columns = {name: [count * factor for count in column] for name, column in self.columns.items()}
            self.totals = [count * factor for count in self.totals]
            self.heard = {partition: (evidence, f * factor) for partition, (evidence, f) in self.heard.items()}
            self.base, exponent = self.forgetting.clock, 0.0
        self.scale = 2.0**exponent

    def hear(self, source_partition: int, evidence: Evidence, classes: Mapping[str, int]) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        before = self.heard.get(source_partition)
        if before is not None:
            self._add(*before, classes, -1.0)
        if evidence.changed_ms > self.forgetting.changed_ms and evidence.weight > 0:
            answers = max(int(evidence.weight), 1)
            self.restart(classes, Change(evidence.right / evidence.weight, answers), evidence.changed_ms)
        self.heard[source_partition] = (evidence, self.scale)
        self._add(evidence, self.scale, classes, 1.0)

    def evidence(self, classes: Mapping[str, int], population: Population) -> Evidence:
        """What this source partition knows by itself, whole."""
        columns, _ = self._own(classes)
        counts = {
            (true, kind, answer): count
            for answer, column in columns.items()
            for true, row in classes.items()
            for kind in range(KINDS)
            if (count := column[row + kind] / self.scale) > NEGLIGIBLE
        }
        known = (population.accuracy, population.concentration)
        watch = self.forgetting
        return Evidence(CONFUSION, self.labels, watch.last_ms, counts, known, changed_ms=watch.changed_ms)

    def dump(self, classes: Mapping[str, int]) -> list[Any]:
        """Own counts, exactly, as plain values; neither what was heard nor room for more classes is in it."""
        columns, totals = self._own(classes)
        columns = {name: counts for name, column in columns.items() if (counts := _without_room(column))}
        totals = _without_room(totals)
        return [columns, totals, self.labels, self.base, self.forgetting.dump(), self.rates, self.accuracy]

    def load(self, state: list[Any]) -> None:
        """Continue from what was dumped; before anything is heard."""
        columns, totals, self.labels, self.base, forgetting, self.rates, self.accuracy = state
        rows = len(self.totals)
        self.columns |= {name: counts + [0.0] * (rows - len(counts)) for name, counts in columns.items()}
        self.totals = totals + [0.0] * (rows - len(totals))
        self.forgetting = Forgetting(*forgetting)
        self.rescale()
        self.expected.clear()

    def _add(self, evidence: Evidence, factor: float, classes: Mapping[str, int], sign: float) -> None:
        for (true, kind, answer), count in evidence.counts.items():
            row = classes[true] + kind
            self.columns[answer][row] += sign * factor * count
            self.totals[row] += sign * factor * count

    def _own(self, classes: Mapping[str, int]) -> tuple[dict[str, list[float]], list[float]]:
        columns = {name: list(column) for name, column in self.columns.items()}
        totals = list(self.totals)
        for evidence, factor in self.heard.values():
            for (true, kind, answer), count in evidence.counts.items():
                row = classes[true] + kind
                columns[answer][row] -= factor * count
                totals[row] -= factor * count
        return columns, totals


def _without_room(counts: list[float]) -> list[float]:
    """Without zeros at the end: how many there are says which classes were known when, and nothing of the labeler."""
    used = len(counts)
    while used and not counts[used - 1]:
        used -= 1
    return counts[:used]
