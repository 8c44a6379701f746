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

from detectors.beliefs import Beliefs
from detectors.consensus import Answer, LabelSpace, Task, Truth
from detectors.expected_time import ExpectedTimes, Work
from detectors.reliability import summarise
from streams.evaluate.baselines import METHODS, available
from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.forecast import Forecast, Opinion, accuracy, calibration_error, ranking
from streams.evaluate.models import Models

#: Labels behind one figure of time. The median of many such means is blind to a moment when the machine was busy.
CHUNK = 250
SPACE = LabelSpace("evaluation", "labels")
KIND = "class"

Done = Callable[[int], None]
"""Told how many labels were passed since it was last told."""


@dataclass(frozen=True)
class Stage:
    """Beliefs of tasks at one time: by the posterior as it is, and as calibrated."""

    raw: dict[str, Forecast]
    calibrated: dict[str, Forecast]

    def note(self, model: Beliefs, task: Task) -> None:
        """Keep what is believed of one task now."""
        belief = model.belief(task)
        assert belief.label is not None  # every task here has a label
        self.raw[task.task_id] = Forecast(belief.label, belief.raw_confidence)
        self.calibrated[task.task_id] = Forecast(belief.label, model.confidence(task))


@dataclass(frozen=True)
class Pass:
    """One pass: beliefs as each task got its last label (before its truth was revealed, if it was) and at the end."""

    streaming: Stage
    final: Stage
    labelers: dict[str, float]
    """Accuracy as reported by `detectors.reliability`."""
    us_per_label: float
    """What the model does with a label, and its share of the last look at the task."""
    us_per_forecast: float
    """What it takes to say what is believed of a task, calibrated."""


def run_pass(
    data: Dataset,
    models: Models,
    revealed: Collection[str] = (),
    *,
    done: Done = lambda labels: None,
    clock_ns: Callable[[], int] = time.process_time_ns,
) -> Pass:
    """Every label once, in order. The truth of ``revealed`` tasks is told as each has got its last label.

    Times are CPU time of the model's own work.
    """
    tasks = {task_id: Task(SPACE.project_id, task_id, SPACE.task_type) for task_id in data.tasks}
    last = {given.task_id: index for index, given in enumerate(data.labels)}
    streaming, final = Stage({}, {}), Stage({}, {})
    model, expected_times = models
    paces = [_pace(expected_times, given) for given in data.labels]  # apart, so that times are those of the model alone
    chunk_ns = []
    for start in range(0, len(data.labels), CHUNK):
        chunk = data.labels[start : start + CHUNK]
        spent = 0
        for index, given in enumerate(chunk, start):
            task = tasks[given.task_id]
            answer = Answer(given.label, given.at_ms, pace=paces[index])
            began = clock_ns()
            model.answer(task, given.labeler_id, answer, KIND)
            spent += clock_ns() - began
            if index == last[given.task_id]:
                streaming.note(model, task)
                if given.task_id in revealed:
                    model.know(task, Truth(data.truth[given.task_id], "gold", given.at_ms))
        chunk_ns.append(spent / len(chunk))
        done(len(chunk))
    began = clock_ns()
    for task in tasks.values():
        model.close(task)
    closed = clock_ns()
    for task in tasks.values():
        final.note(model, task)
    forecast = clock_ns()
    return Pass(
        streaming,
        final,
        {name: accuracy for name in data.labelers if (accuracy := _accuracy(model, name)) is not None},
        (statistics.median(chunk_ns) + (closed - began) / len(data.labels)) / 1_000,
        (forecast - closed) / len(tasks) / 1_000,
    )


def _pace(expected_times: ExpectedTimes, given: GivenLabel) -> float | None:
    """Log of handling time over its forecast, as the agents have it: forecast first, then learned."""
    if given.seconds is None:
        return None
    started_ms = given.at_ms - round(given.seconds * 1_000)
    work = Work(given.labeler_id, *SPACE, "", given.task_id, started_ms, given.at_ms, given.seconds)
    return expected_times.observe(work).pace


def _accuracy(model: Beliefs, labeler_id: str) -> float | None:
    return summarise([model.models[SPACE].evidence(labeler_id)]).accuracy


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
    data: Dataset, new_models: Callable[[], Models], golds: int, seed: int, *, done: Done = lambda labels: None
) -> Passes:
    """A pass without truth, and one in which at most ``golds`` of the tasks with truth are revealed."""
    revealed = data.golds(golds, seed)
    rest = tuple(task for task in data.tasks if task in data.truth and task not in revealed)
    blind = run_pass(data, new_models(), done=done)
    return Passes(blind, run_pass(data, new_models(), revealed, done=done), revealed, rest)


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
