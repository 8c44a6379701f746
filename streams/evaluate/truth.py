"""The consensus model on labels whose truth is known: how often it is right, how well it knows, whom it trusts.

Two passes over the same sequence. The first reveals no truth at all, like the methods it is measured beside: accuracy,
the ranking of labelers and the time come from it. The second reveals some golds, each once its task has closed, which
is what calibration learns from: calibration errors come from it, over the tasks whose truth was never revealed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from detectors.consensus import Task
from streams.evaluate.baselines import METHODS, available
from streams.evaluate.dataset import Dataset
from streams.evaluate.forecast import Forecast, Opinion, accuracy, calibration_error, ranking

#: Labels behind one figure of time. The median of many such means is blind to a moment when the machine was busy.
CHUNK = 250
PROJECT, TASK_TYPE = "evaluation", "labels"

Done = Callable[[int], None]
"""Told how many labels were passed since it was last told."""


class Believed(Protocol):
    """What a model believes of a task (``detectors.beliefs.Belief``)."""

    @property
    def label(self) -> str: ...
    @property
    def raw_confidence(self) -> float: ...
    @property
    def confidence(self) -> float: ...


class Model(Protocol):
    """What is evaluated (``detectors.beliefs.Beliefs``)."""

    def answer(self, task: Task, labeler_id: str, label: str, at_ms: int) -> None: ...
    def settle(self, task: Task, truth: str) -> None: ...
    def close(self, task: Task) -> None: ...
    def belief(self, task: Task) -> Believed: ...
    def reliability(self, project_id: str, task_type: str, labeler_id: str) -> Any: ...


@dataclass(frozen=True)
class Stage:
    """Beliefs of tasks at one time: by the posterior as it is, and as calibrated."""

    raw: dict[str, Forecast]
    calibrated: dict[str, Forecast]

    def note(self, task_id: str, belief: Believed) -> None:
        """Keep what is believed of one task."""
        self.raw[task_id] = Forecast(belief.label, belief.raw_confidence)
        self.calibrated[task_id] = Forecast(belief.label, belief.confidence)


@dataclass(frozen=True)
class Pass:
    """One pass: beliefs as each task got its last label (before its truth was revealed, if it was) and at the end."""

    streaming: Stage
    final: Stage
    labelers: dict[str, float]
    us_per_label: float


def run_pass(
    data: Dataset,
    model: Model,
    revealed: Collection[str] = (),
    *,
    done: Done = lambda labels: None,
    clock_ns: Callable[[], int] = time.process_time_ns,
) -> Pass:
    """Every label once, in order. The truth of ``revealed`` tasks is told as each has got its last label.

    Time is CPU time of the model's own work: what it does with each label, its belief of the task after it, and its
    last look at every task at the end.
    """
    tasks = {task_id: Task(PROJECT, task_id, TASK_TYPE) for task_id in data.tasks}
    last = {given.task_id: index for index, given in enumerate(data.labels)}
    streaming, final = Stage({}, {}), Stage({}, {})
    chunk_ns = []
    for start in range(0, len(data.labels), CHUNK):
        chunk = data.labels[start : start + CHUNK]
        spent = 0
        for index, given in enumerate(chunk, start):
            task = tasks[given.task_id]
            began = clock_ns()
            model.answer(task, given.labeler_id, given.label, given.at_ms)
            belief = model.belief(task)
            spent += clock_ns() - began
            if index == last[given.task_id]:
                streaming.note(given.task_id, belief)
                if given.task_id in revealed:
                    model.settle(task, data.truth[given.task_id])
        chunk_ns.append(spent / len(chunk))
        done(len(chunk))
    began = clock_ns()
    for task in tasks.values():
        model.close(task)
    closing_ns = clock_ns() - began
    for task_id, task in tasks.items():
        final.note(task_id, model.belief(task))
    us_per_label = (statistics.median(chunk_ns) + closing_ns / len(data.labels)) / 1_000
    return Pass(streaming, final, _labeler_accuracy(model, data), us_per_label)


def _labeler_accuracy(model: Model, data: Dataset) -> dict[str, float]:
    accuracies = {name: model.reliability(PROJECT, TASK_TYPE, name).accuracy for name in data.labelers}
    return {name: value for name, value in accuracies.items() if value is not None}


@dataclass(frozen=True)
class Score:
    """How a baseline did. ECE is over the same tasks as the model's; None where there is nothing to measure by."""

    accuracy: float | None
    ece: float | None
    spearman: float | None


@dataclass(frozen=True)
class Evaluation:
    """All figures of one evaluation. Shares and errors from 0 to 1; None where there is nothing to measure by."""

    items: int
    labels: int
    labelers: int
    classes: int
    accuracy_streaming: float | None
    accuracy_final: float | None
    ece_raw: float | None
    ece_calibrated: float | None
    spearman: float | None
    auc_worst_fifth: float | None
    us_per_label: float
    baselines: dict[str, Score]


@dataclass(frozen=True)
class Passes:
    """The two passes of one evaluation, and the tasks whose truth was never revealed."""

    blind: Pass
    informed: Pass
    golds: frozenset[str]
    rest: tuple[str, ...]


def run_passes(
    data: Dataset, new_model: Callable[[], Model], golds: int, seed: int, *, done: Done = lambda labels: None
) -> Passes:
    """A pass without truth, and one in which at most ``golds`` of the tasks with truth are revealed."""
    revealed = data.golds(golds, seed)
    rest = tuple(task for task in data.tasks if task in data.truth and task not in revealed)
    blind = run_pass(data, new_model(), done=done)
    return Passes(blind, run_pass(data, new_model(), revealed, done=done), revealed, rest)


def run_baselines(
    data: Dataset, *, with_glad: bool = True, name: Callable[[str], None] = lambda name: None
) -> Opinions:
    """Every method that can be run here; ``name`` is told of each before it starts."""
    opinions = {}
    for method in available(with_glad=with_glad):
        name(method)
        opinions[method] = METHODS[method](data)
    return opinions


Opinions = Mapping[str, Opinion]


def evaluate(data: Dataset, passes: Passes, baselines: Opinions) -> Evaluation:
    """The figures."""
    truth, rest = data.truth, passes.rest
    ranked = ranking(passes.blind.labelers, data)
    return Evaluation(
        items=len(data.tasks),
        labels=len(data.labels),
        labelers=len(data.labelers),
        classes=len(data.classes),
        accuracy_streaming=accuracy(passes.blind.streaming.raw, truth),
        accuracy_final=accuracy(passes.blind.final.raw, truth),
        ece_raw=calibration_error(passes.informed.final.raw, truth, rest),
        ece_calibrated=calibration_error(passes.informed.final.calibrated, truth, rest),
        spearman=ranked.spearman,
        auc_worst_fifth=ranked.auc_worst_fifth,
        us_per_label=passes.blind.us_per_label,
        baselines={
            name: Score(
                accuracy(opinion.tasks, truth),
                calibration_error(opinion.tasks, truth, rest),
                ranking(opinion.labelers, data).spearman,
            )
            for name, opinion in baselines.items()
        },
    )
