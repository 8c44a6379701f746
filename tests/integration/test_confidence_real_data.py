"""Calibrated confidence on real labels with a known truth."""

from __future__ import annotations

import csv
import gzip
import os
import random
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from detectors.confidence import Calibration, ConfidenceModel, Grounds

Outcome = tuple[Grounds, bool]

REAL = Path(os.environ.get("LABELWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = [
    pytest.mark.integration,  # not for what it starts, but for the seconds that it takes
    pytest.mark.skipif(not REAL.is_dir(), reason=f"no annotation data in {REAL}; set LABELWATCH_DATA"),
]
SETS = {
    "active_crowd_toolkit": ("ZenCrowd_us", "ZenCrowd_in", "SP_amt"),
    "truth_inference": ("product", "rte", "dog", "face"),
}


def answers_and_truth(folder: str, name: str) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """The first label by task and labeler, and truth by task."""
    labels: dict[tuple[str, str], str] = {}
    truth: dict[str, str] = {}
    if folder == "active_crowd_toolkit":
        with gzip.open(REAL / folder / f"{name}.csv.gz", "rt") as lines:
            for labeler, task, label, gold, _ in csv.reader(lines):
                labels.setdefault((task, labeler), label)
                truth[task] = gold
    else:
        with (REAL / folder / name / "label.csv").open() as lines:
            for task, labeler, label in list(csv.reader(lines))[1:]:
                labels.setdefault((task, labeler), label)
        with (REAL / folder / name / "truth.csv").open() as lines:
            truth.update((task, gold) for task, gold in list(csv.reader(lines))[1:])
    return labels, truth


def dawid_skene(labels: dict[tuple[str, str], str], truth: dict[str, str]) -> list[Outcome]:
    """Grounds and outcome for each task with truth, by EM over all labels."""
    tasks = {name: n for n, name in enumerate(dict.fromkeys(task for task, _ in labels))}
    labelers = {name: n for n, name in enumerate(dict.fromkeys(labeler for _, labeler in labels))}
    names = sorted({*labels.values(), *truth.values()})
    task, labeler, label = (
        np.array(column)
        for column in zip(*((tasks[t], labelers[w], names.index(said)) for (t, w), said in labels.items()), strict=True)
    )
    classes = len(names)
    votes = np.zeros((len(tasks), classes))
    np.add.at(votes, (task, label), 1.0)
    posterior = votes / votes.sum(1, keepdims=True)
    for _ in range(20):
        confusion = np.full((len(labelers), classes, classes), 0.5) + np.eye(classes)
        for truly in range(classes):
            np.add.at(confusion[:, truly], (labeler, label), posterior[task, truly])
        confusion /= confusion.sum(2, keepdims=True)
        log = np.tile(np.log(posterior.mean(0)), (len(tasks), 1))
        np.add.at(log, task, np.log(confusion[labeler, :, label]))
        posterior = np.exp(log - log.max(1, keepdims=True))
        posterior /= posterior.sum(1, keepdims=True)
    accuracy = np.zeros(len(tasks))
    np.add.at(accuracy, task, np.einsum("k,wkk->w", posterior.mean(0), confusion)[labeler])
    entropy = -(posterior * np.log(np.maximum(posterior, 1e-300))).sum(1)
    made = []
    for name, gold in truth.items():
        at = tasks[name]
        best, count = int(posterior[at].argmax()), int(votes[at].sum())
        share, skill = votes[at, best] / count, accuracy[at] / count
        grounds = Grounds(posterior[at, best], entropy[at], count, classes, share, skill)
        made.append((grounds, names[best] == gold))
    return made


def error(told: list[float], came: list[bool]) -> float:
    counts = Calibration()
    for said, is_right in zip(told, came, strict=True):
        counts.count(said, is_right)
    return counts.expected_calibration_error()


def test_after_200_golds_it_is_calibrated_on_real_data() -> None:
    """Error of the rest: .05 on average, and nowhere .03 above what perfect forecasts would show by chance."""
    raw: list[float] = []
    calibrated: list[float] = []
    by_chance: list[float] = []
    for folder, names in SETS.items():
        for name in names:
            outcomes = dawid_skene(*answers_and_truth(folder, name))
            errors = []
            for seed in range(5):
                rng = random.Random(seed)
                rng.shuffle(outcomes)
                model, rest = ConfidenceModel(), outcomes[200:2_200]
                for grounds, is_right in outcomes[:200]:
                    model.learn("sentiment", grounds, is_right)
                came = [is_right for _, is_right in rest]
                told = [model.forecast("sentiment", grounds) for grounds, _ in rest]
                chances = [error(told, [rng.random() < said for said in told]) for _ in range(5)]
                errors.append(
                    (error([grounds.posterior for grounds, _ in rest], came), error(told, came), mean(chances))
                )
            for kept, values in zip((raw, calibrated, by_chance), zip(*errors, strict=True), strict=True):
                kept.append(mean(values))
    assert mean(raw) > 0.1
    assert mean(calibrated) <= 0.05
    assert max(got - chance for got, chance in zip(calibrated, by_chance, strict=True)) <= 0.03
