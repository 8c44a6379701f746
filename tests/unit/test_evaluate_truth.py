"""The two passes, with a model whose every step is known: it counts votes, and learns only from what it is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import pytest

from detectors.consensus import Task
from streams.evaluate.baselines import majority
from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.forecast import Forecast, ranking
from streams.evaluate.truth import Evaluation, Pass, evaluate, run_pass, run_passes


class Belief(NamedTuple):
    label: str
    raw_confidence: float
    confidence: float


class Reliability(NamedTuple):
    accuracy: float | None


class Votes:
    """Majority vote; calibrated confidence is the share of right consensus among the settled tasks, if any."""

    def __init__(self, accuracy: dict[str, float] | None = None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.accuracy = accuracy or {}
        self.known: dict[str, str] = {}
        self.right: list[bool] = []

    def answer(self, task: Task, labeler_id: str, label: str, at_ms: int) -> None:
        self.calls.append(("answer", task.task_id, labeler_id))
        task.answer(labeler_id, label, at_ms)

    def settle(self, task: Task, truth: str) -> None:
        self.calls.append(("settle", task.task_id, truth))
        self.right.append(task.consensus()[0] == truth)
        self.known[task.task_id] = truth

    def close(self, task: Task) -> None:
        self.calls.append(("close", task.task_id))

    def belief(self, task: Task) -> Belief:
        if task.task_id in self.known:
            return Belief(self.known[task.task_id], 1.0, 1.0)
        label, share = task.consensus()
        assert label is not None
        return Belief(label, share, sum(self.right) / len(self.right) if self.right else share)

    def reliability(self, project_id: str, task_type: str, labeler_id: str) -> Reliability:
        return Reliability(self.accuracy.get(labeler_id))


def labels(*given: str) -> tuple[GivenLabel, ...]:
    """From "task labeler label"."""
    return tuple(GivenLabel(*one.split(), at_ms=n) for n, one in enumerate(given))  # type: ignore[misc,call-arg]


DATA = Dataset(
    labels(
        "1 ann a", "1 bob a", "2 ann b", "1 cy b", "2 bob b",
        "3 ann a", "3 bob b", "3 cy b", "4 ann a", "4 cy a", "2 cy a",
    ),
    {"1": "a", "2": "a", "3": "b", "4": "a"},
)  # fmt: skip


def passed(model: Votes, revealed: frozenset[str] = frozenset(), clock: Callable[[], int] = lambda: 0) -> Pass:
    return run_pass(DATA, model, revealed, clock_ns=clock)


def test_a_task_closes_with_its_last_label_and_its_truth_is_told_after_that() -> None:
    model = Votes()
    passed(model, frozenset({"1", "2"}))
    settled = [(n, call) for n, call in enumerate(model.calls) if call[0] == "settle"]
    assert [call for _, call in settled] == [("settle", "1", "a"), ("settle", "2", "a")]
    for at, (_, task, _) in settled:
        answers = [n for n, call in enumerate(model.calls) if call[:2] == ("answer", task)]
        assert at == max(answers) + 1
    assert model.calls[-4:] == [("close", "1"), ("close", "2"), ("close", "3"), ("close", "4")]


def test_what_was_believed_while_streaming_knows_no_truth_told_later() -> None:
    found = passed(Votes(), frozenset({"1", "2"}))
    assert found.streaming.raw["2"] == Forecast("b", 2 / 3)
    assert found.final.raw["2"] == Forecast("a", 1.0)
    assert found.streaming.calibrated["1"] == Forecast("a", 2 / 3)  # nothing learned yet
    assert found.streaming.calibrated["3"] == Forecast("b", 1.0)  # one settled, and it was right
    assert found.final.calibrated["3"] == Forecast("b", 0.5)  # two settled, one right


def test_without_golds_no_truth_is_told() -> None:
    model = Votes()
    passed(model)
    assert not [call for call in model.calls if call[0] == "settle"]


def test_progress_tells_of_every_label() -> None:
    told: list[int] = []
    run_pass(DATA, Votes(), done=told.append)
    assert sum(told) == len(DATA.labels)


def test_time_is_of_the_models_work_and_blind_to_one_busy_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.evaluate.truth.CHUNK", 2)
    # Every look at the clock is 3 us after the one before, so a label takes 3, and closing 3 for all 11 of them.
    ticks = count(step=3_000)
    assert passed(Votes(), clock=lambda: next(ticks)).us_per_label == pytest.approx(3 + 3 / 11)

    # As before, but that the machine was away for a second within the fourth label.
    ticks = count(step=3_000)
    away = (tick + (1_000_000_000 if tick > 6 * 3_000 else 0) for tick in ticks)
    late = passed(Votes(), clock=lambda: next(away)).us_per_label
    assert late == pytest.approx(3 + 3 / 11)


def evaluated(accuracy: dict[str, float], golds: int = 2) -> tuple[Evaluation, list[Votes]]:
    models: list[Votes] = []

    def new_model() -> Votes:
        models.append(Votes(accuracy))
        return models[-1]

    passes = run_passes(DATA, new_model, golds, seed=1)
    assert not set(passes.rest) & passes.golds
    assert set(passes.rest) | passes.golds == set(DATA.truth)
    return evaluate(DATA, passes, {"majority": majority(DATA)}), models


def test_revealed_truths_count_neither_for_accuracy_nor_for_calibration() -> None:
    result, (blind, informed) = evaluated({})
    assert not blind.known
    assert len(informed.known) == 2
    # Of 1 a, 2 b, 3 b, 4 a the second is wrong, also at the end.
    assert result.accuracy_streaming == result.accuracy_final == result.baselines["majority"].accuracy == 0.75
    assert (result.items, result.labels, result.labelers, result.classes) == (4, 11, 3, 2)


def test_raw_and_calibrated_confidence_are_told_apart() -> None:
    result, (_, informed) = evaluated({})
    shares = {"1": (2 / 3, True), "2": (2 / 3, False), "3": (2 / 3, True), "4": (1.0, True)}
    rest = [shares[task] for task in DATA.truth if task not in informed.known]
    by_bin: dict[float, list[float]] = {}
    for share, right in rest:
        by_bin.setdefault(share, []).append(right - share)
    expected = sum(abs(sum(distances)) for distances in by_bin.values()) / len(rest)
    assert result.ece_raw == pytest.approx(expected)
    calibrated = sum(informed.right) / len(informed.right)
    assert result.ece_calibrated == pytest.approx(abs(sum(right for _, right in rest) / len(rest) - calibrated))
    assert result.baselines["majority"].ece == pytest.approx(expected)


def test_labelers_are_ranked_by_what_the_model_thinks_of_them() -> None:
    # Truly: ann is right in 2 of 4, bob in 2 of 3, cy in 3 of 4.
    assert DATA.labeler_accuracy == {"ann": 0.5, "bob": 2 / 3, "cy": 0.75}
    result, _ = evaluated({"ann": 0.1, "bob": 0.2, "cy": 0.3})
    assert (result.spearman, result.auc_worst_fifth) == (1.0, 1.0)
    result, _ = evaluated({"ann": 0.3, "bob": 0.2, "cy": 0.1})
    assert (result.spearman, result.auc_worst_fifth) == (-1.0, 0.0)


def test_no_estimate_is_a_place_in_the_middle() -> None:
    assert ranking({"ann": 0.1, "cy": 0.3}, DATA).spearman == pytest.approx(0.866, abs=0.001)
    assert ranking({}, DATA).spearman is None
