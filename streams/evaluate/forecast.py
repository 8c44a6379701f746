"""What a method says of tasks and labelers, whichever method it is, and how right it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streams.evaluate.dataset import Dataset
from streams.evaluate.metrics import auc_worst, expected_calibration_error, spearman


class Forecast(NamedTuple):
    """The label believed of a task, and the probability given to its being right."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Opinion:
    """All that a method says: of tasks, and of labelers (anything that grows with their accuracy)."""

    tasks: Mapping[str, Forecast]
    labelers: Mapping[str, float]


@dataclass(frozen=True)
class Ranking:
    """How well labelers were told apart; None where they are all alike."""

    spearman: float | None
    auc_worst_fifth: float | None


def accuracy(forecasts: Mapping[str, Forecast], truth: Mapping[str, str]) -> float | None:
    """Share of the tasks with truth whose label is right; None where there are none."""
    if not truth:
        return None
    return sum(forecasts[task].label == label for task, label in truth.items()) / len(truth)


def outcomes(
    forecasts: Mapping[str, Forecast], truth: Mapping[str, str], tasks: Collection[str]
) -> tuple[list[float], list[bool]]:
    """Confidences of these tasks, and whether the labels were right."""
    return [forecasts[task].confidence for task in tasks], [forecasts[task].label == truth[task] for task in tasks]


def calibration_error(
    forecasts: Mapping[str, Forecast], truth: Mapping[str, str], tasks: Collection[str]
) -> float | None:
    """ECE over these tasks; None where there are none."""
    return expected_calibration_error(*outcomes(forecasts, truth, tasks))


def ranking(estimates: Mapping[str, float], data: Dataset) -> Ranking:
    """Estimates beside the true accuracy of every labeler that can be judged by truth.

    A labeler without an estimate stands in the middle of the others, so that silence earns nothing.
    """
    known = sorted(estimates[labeler] for labeler in data.labeler_accuracy if labeler in estimates)
    middle = known[len(known) // 2] if known else 0.0
    estimated = [estimates.get(labeler, middle) for labeler in data.labeler_accuracy]
    true = list(data.labeler_accuracy.values())
    return Ranking(spearman(estimated, true), auc_worst(estimated, true))
