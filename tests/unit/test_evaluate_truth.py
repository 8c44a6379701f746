"""The two passes, with a model whose every step is known: it counts votes, and learns only from what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from math import log

import pytest

from detectors.beliefs import Beliefs, Outcome
from detectors.consensus import Answer, Belief, Task, Truth
from detectors.evidence import Evidence
from detectors.expected_time import ExpectedTimes
from detectors.forgetting import HalfLives
from detectors.one_coin import OneCoinModel
from streams.evaluate.baselines import majority
from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.forecast import Forecast, ranking
from streams.evaluate.models import Models, new_models
from streams.evaluate.truth import SPACE, Evaluation, Pass, Passes, Stage, evaluate, run_pass, run_passes
from streams.settings import Settings

HALF_LIVES = HalfLives(annotations=1_000, days=90)


class Told(OneCoinModel):
    """Reports these accuracies of labelers, with next to no prior."""

    def __init__(self, accuracy: dict[str, float]) -> None:
        super().__init__(HALF_LIVES)
        self.told = accuracy

    def evidence(self, labeler_id: str) -> Evidence:
        right = 100 * self.told[labeler_id]
        return Evidence("one_coin", 100, 0, {("=", 0, "="): right, ("=", 0, "!"): 100 - right}, (0.5, 1e-6))


class Votes(Beliefs):
    """Majority vote; calibrated confidence is the share of right consensus among the known tasks, if any."""

    def __init__(self, accuracy: dict[str, float] | None = None) -> None:
        super().__init__(HALF_LIVES)
        self.models[SPACE] = Told(accuracy or {"ann": 0.5, "bob": 0.5, "cy": 0.5})
        self.calls: list[tuple[str, ...]] = []
        self.paces: list[float | None] = []
        self.right: list[bool] = []

    def answer(self, task: Task, labeler_id: str, answer: Answer, kind: str) -> None:
        assert kind == "class"
        self.calls.append(("answer", task.task_id, labeler_id))
        self.paces.append(answer.pace)
        task.stand(labeler_id, answer)

    def know(self, task: Task, truth: Truth) -> Outcome | None:
        self.calls.append(("know", task.task_id, truth.label))
        self.right.append(self.belief(task).label == truth.label)
        task.know(truth)
        return None

    def close(self, task: Task) -> None:
        self.calls.append(("close", task.task_id))

    def belief(self, task: Task) -> Belief:
        if task.truth is not None:
            return Belief(task.truth.label, 1.0, 0.0, {})
        given = [str(answer.label) for answer in task.answers.values()]
        label = max(sorted(given), key=given.count)
        return Belief(label, given.count(label) / len(given), 0.0, {})

    def confidence(self, task: Task) -> float:
        if task.truth is not None:
            return 1.0
        return sum(self.right) / len(self.right) if self.right else self.belief(task).raw_confidence

    @property
    def known(self) -> dict[str, str]:
        return {task: label for call, task, label in (c for c in self.calls if c[0] == "know")}


def labels(*given: str) -> tuple[GivenLabel, ...]:
    """From "task labeler label"."""
    parts = [one.split() for one in given]
    return tuple(GivenLabel(task, labeler, label, n) for n, (task, labeler, label) in enumerate(parts))


DATA = Dataset(
    labels(
        "1 ann a", "1 bob a", "2 ann b", "1 cy b", "2 bob b",
        "3 ann a", "3 bob b", "3 cy b", "4 ann a", "4 cy a", "2 cy a",
    ),
    {"1": "a", "2": "a", "3": "b", "4": "a"},
)  # fmt: skip


def models(model: Votes) -> Models:
    return Models(model, ExpectedTimes())


def passed(model: Votes, revealed: frozenset[str] = frozenset(), clock: Callable[[], int] = lambda: 0) -> Pass:
    return run_pass(DATA, models(model), revealed, clock_ns=clock)


def test_a_task_closes_with_its_last_label_and_its_truth_is_told_after_that() -> None:
    model = Votes()
    passed(model, frozenset({"1", "2"}))
    known = [(n, call) for n, call in enumerate(model.calls) if call[0] == "know"]
    assert [call for _, call in known] == [("know", "1", "a"), ("know", "2", "a")]
    for at, (_, task, _) in known:
        answers = [n for n, call in enumerate(model.calls) if call[:2] == ("answer", task)]
        assert at == max(answers) + 1
    assert model.calls[-4:] == [("close", "1"), ("close", "2"), ("close", "3"), ("close", "4")]


def test_what_was_believed_while_streaming_knows_no_truth_told_later() -> None:
    found = passed(Votes(), frozenset({"1", "2"}))
    assert found.streaming.raw["2"] == Forecast("b", 2 / 3)
    assert found.final.raw["2"] == Forecast("a", 1.0)
    assert found.streaming.calibrated["1"] == Forecast("a", 2 / 3)  # nothing learned yet
    assert found.streaming.calibrated["3"] == Forecast("b", 1.0)  # one known, and it was right
    assert found.final.calibrated["3"] == Forecast("b", 0.5)  # two known, one right


def test_without_golds_no_truth_is_told() -> None:
    model = Votes()
    passed(model)
    assert not [call for call in model.calls if call[0] == "know"]


def test_the_pace_of_an_answer_is_against_a_forecast_made_before_it() -> None:
    timed = [
        given._replace(seconds=seconds) for given, seconds in zip(DATA.labels, (8.0, 4.0, None, 16.0), strict=False)
    ]
    model = Votes()
    run_pass(Dataset(tuple(timed), DATA.truth), models(model))
    assert model.paces[0] is model.paces[2] is None, "nothing is known yet, no time is told"
    assert model.paces[1] == pytest.approx(log(4 / 8), abs=0.6), "one answer was learned, and priors count"
    assert model.paces[3] is not None
    assert log(16 / 14) < model.paces[3] < log(16 / 4)


def test_progress_tells_of_every_label() -> None:
    told: list[int] = []
    run_pass(DATA, models(Votes()), done=told.append)
    assert sum(told) == len(DATA.labels)


def test_time_is_of_the_models_work_and_blind_to_one_busy_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.evaluate.truth.CHUNK", 2)
    # Every look at the clock is 3 us after the one before: a label takes 3, closing 3 for all 11, saying 3 for 4 tasks.
    ticks = count(step=3_000)
    found = passed(Votes(), clock=lambda: next(ticks))
    assert found.us_per_label == pytest.approx(3 + 3 / 11)
    assert found.us_per_forecast == pytest.approx(3 / 4)

    # As before, but that the machine was away for a second within the fourth label.
    ticks = count(step=3_000)
    away = (tick + (1_000_000_000 if tick > 6 * 3_000 else 0) for tick in ticks)
    late = passed(Votes(), clock=lambda: next(away)).us_per_label
    assert late == pytest.approx(3 + 3 / 11)


def evaluated(accuracy: dict[str, float] | None, golds: int = 2) -> tuple[Evaluation, list[Votes]]:
    made: list[Votes] = []

    def new_models() -> Models:
        made.append(Votes(accuracy))
        return models(made[-1])

    passes = run_passes(DATA, new_models, golds, seed=1)
    assert not set(passes.rest) & passes.golds
    assert set(passes.rest) | passes.golds == set(DATA.truth)
    return evaluate(DATA, passes, {"majority": majority(DATA)}), made


def test_revealed_truths_count_neither_for_accuracy_nor_for_calibration() -> None:
    result, (blind, informed) = evaluated(None)
    assert not blind.known
    assert len(informed.known) == 2
    # Of 1 a, 2 b, 3 b, 4 a the second is wrong, also at the end.
    assert result.accuracy_streaming == result.accuracy_final == result.baselines["majority"].accuracy == 0.75
    assert (result.items, result.labels, result.labelers, result.classes) == (4, 11, 3, 2)


def test_raw_and_calibrated_confidence_are_told_apart() -> None:
    result, (_, informed) = evaluated(None)
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


def test_accuracy_is_of_the_blind_pass_and_calibration_of_the_informed_one() -> None:
    found = passed(Votes())
    never = {task: Forecast("c", 1.0) for task in DATA.truth}
    sure = {task: Forecast(label, 1.0) for task, label in DATA.truth.items()}
    liar, oracle = (replace(found, streaming=Stage(one, one), final=Stage(one, one)) for one in (never, sure))
    rest = tuple(DATA.truth)
    result = evaluate(DATA, Passes(liar, oracle, frozenset(), rest), {})
    assert (result.accuracy_streaming, result.accuracy_final, result.ece_raw, result.ece_calibrated) == (0, 0, 0, 0)
    result = evaluate(DATA, Passes(oracle, liar, frozenset(), rest), {})
    assert (result.accuracy_streaming, result.accuracy_final, result.ece_raw, result.ece_calibrated) == (1, 1, 1, 1)


@pytest.mark.parametrize(("max_classes", "form"), [(3, "confusion"), (2, "one_coin")])
def test_models_are_made_by_the_settings(max_classes: int, form: str) -> None:
    settings = Settings.model_validate({"reliability": {"max_classes": max_classes, "half_life_days": 7}})
    beliefs = new_models(settings).beliefs
    for label in "abc":
        beliefs.answer(Task("p", label, "t"), "ann", Answer(label, 0), "class")
    (model,) = beliefs.models.values()
    assert model.form == form
    assert beliefs._half_lives == HalfLives(annotations=1_000, days=7)


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
