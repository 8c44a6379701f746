"""Consensus of ratings; bias and precision of who gave them."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping

import pytest

from detectors.consensus import Answer, Belief, Task, Truth
from detectors.evidence import RATING, Evidence
from detectors.forgetting import HalfLives
from detectors.rating import RatingModel
from detectors.rating_scale import MAX_VALUES, Scale, number
from detectors.reliability import summarise

HALF_LIVES = HalfLives(annotations=1_000, days=90)
#: Labeler to bias and standard deviation.
TEAM: Mapping[str, tuple[float, float]] = {"ann": (0.0, 0.3), "bob": (0.5, 0.5), "cy": (-0.4, 0.7), "di": (0.0, 1.4)}


def give(model: RatingModel, task: Task, labeler_id: str, label: str, at_ms: int = 0) -> None:
    answer = Answer(label, at_ms)
    before = task.stand(labeler_id, answer)
    model.answer(task, labeler_id, answer, before)


def task_of(model: RatingModel, name: str, answers: Mapping[str, str]) -> Task:
    task = Task("essays", name, "quality")
    for labeler_id, label in answers.items():
        give(model, task, labeler_id, label)
    return task


def simulated(seed: int, tasks: int = 400, continuous: bool = False) -> tuple[RatingModel, list[tuple[Task, float]]]:
    """Three of the team on every task; ratings from 1 to 5, or from anything around 50 on a scale 12 times as wide."""
    rng = random.Random(seed)
    model = RatingModel(HALF_LIVES)
    made = []
    for i in range(tasks):
        true = rng.gauss(50.0, 15.0) if continuous else float(rng.randint(1, 5))
        answers = {}
        for name in rng.sample(sorted(TEAM), 3):
            error = rng.gauss(*TEAM[name])
            answers[name] = f"{true + 12 * error:.12g}" if continuous else f"{min(max(round(true + error), 1), 5)}"
        made.append((task_of(model, f"t{i}", answers), true))
    return model, made


def state(model: RatingModel) -> str:
    return json.dumps([model.dump(), {name: model.dump_labeler(name) for name in sorted(model.labelers)}])


def nearly(model: RatingModel, other: RatingModel) -> bool:
    """Whether two models believe the same of everybody, but for rounding."""
    assert model.labelers.keys() == other.labelers.keys()
    return all(
        one.sums() == pytest.approx(other.labelers[name].sums(), abs=1e-9) for name, one in model.labelers.items()
    )


def test_bias_and_precision_are_recovered() -> None:
    model, _ = simulated(1, tasks=1_500, continuous=True)
    for name, (bias, deviation) in TEAM.items():
        law = model.law(name)
        assert law.bias / 12 == pytest.approx(bias, abs=0.15), name
        assert math.sqrt(law.variance) / 12 == pytest.approx(deviation, abs=0.2), name


def test_precision_ranks_labelers_on_a_scale_of_five_too() -> None:
    model, _ = simulated(2)
    assert sorted(TEAM, key=lambda name: model.law(name).variance) == ["ann", "bob", "cy", "di"]
    assert model.accuracy("ann") > 0.65 > 0.45 > model.accuracy("di")
    assert model.law("bob").bias > 0.2 > -0.2 > model.law("cy").bias


def test_the_consensus_beats_the_plain_mean_and_knows_how_sure_it_is() -> None:
    _, made = simulated(3, tasks=1_500, continuous=True)
    late = made[500:]
    posteriors = [(task.posterior or [], true) for task, true in late]
    error = math.fsum((mean - true) ** 2 for (mean, _), true in posteriors)
    claimed = math.fsum(variance for (_, variance), _ in posteriors)
    plain = 0.0
    for task, true in late:
        ratings = [float(answer.label or "") for answer in task.answers.values()]
        plain += (math.fsum(ratings) / len(ratings) - true) ** 2
    assert error < 0.5 * plain
    assert 0.6 < claimed / error < 1.6


def test_raw_confidence_is_about_the_share_of_right_ratings() -> None:
    model, made = simulated(4)
    beliefs = [(model.believe(task), true) for task, true in made[100:]]
    right = sum(belief.label == f"{true:g}" for belief, true in beliefs) / len(beliefs)
    said = math.fsum(belief.raw_confidence for belief, _ in beliefs) / len(beliefs)
    assert right > 0.7
    assert said == pytest.approx(right, abs=0.12)


def test_a_posterior_does_not_depend_on_the_order_of_answers() -> None:
    model, _ = simulated(5)
    answers = {"ann": "2", "bob": "4", "cy": "2", "di": "5"}
    seen = []
    for order in itertools.permutations(answers):
        task = Task("essays", "new", "quality")
        for name in order:
            task.stand(name, Answer(answers[name], 1))
        seen.append(model.believe(task))
    for belief in seen:
        assert belief.label == seen[0].label
        assert belief.posterior == pytest.approx(seen[0].posterior, abs=1e-9)


def test_a_replaced_answer_leaves_no_trace() -> None:
    revised, straight = simulated(6)[0], simulated(6)[0]
    first = task_of(revised, "new", {"ann": "1", "bob": "4", "cy": "3"})
    give(revised, first, "ann", "4", 1)
    second = task_of(straight, "new", {"bob": "4", "cy": "3"})
    ann = straight.labelers["ann"]
    ann.labels += 1
    ann.forgetting.advance(HALF_LIVES, 0)  # the same clock
    give(straight, second, "ann", "4", 1)
    assert first.posterior == pytest.approx(second.posterior, abs=1e-9)
    assert nearly(revised, straight)
    assert revised.scale.prior == pytest.approx(straight.scale.prior, abs=1e-9)
    assert revised.belief(first).posterior == pytest.approx(straight.belief(second).posterior, abs=1e-9)


def test_updating_again_changes_nothing_but_what_converges() -> None:
    model, _ = simulated(7)
    task = task_of(model, "new", {"ann": "2", "bob": "3", "cy": "2"})
    weights = {name: one.sums()[0] for name, one in model.labelers.items()}
    for _ in range(50):
        model.update(task)
    posterior = list(task.posterior or ())
    model.update(task)
    assert task.posterior == pytest.approx(posterior, abs=1e-9)
    assert {name: one.sums()[0] for name, one in model.labelers.items()} == pytest.approx(weights, abs=1e-9)


def test_truth_fixes_the_value_and_revises_the_labelers() -> None:
    model, _ = simulated(8)
    task = task_of(model, "new", {"ann": "2", "bob": "2", "cy": "2"})
    assert model.consensus(task) == "2"
    error = model.labelers["ann"].sums()[1]
    task.know(Truth("5", "review", 9))
    model.changed.clear()
    model.update(task)
    assert model.belief(task) == Belief("5", 1.0, 0.0, {"5": 1.0})
    assert task.posterior == [5.0, 0.0]
    assert model.believe(task).label == "2", "what the answers alone say"
    assert model.labelers["ann"].sums()[1] == pytest.approx(error - 3, abs=0.3)
    assert model.changed == {"ann", "bob", "cy"}
    task.know(Truth("2", "review", 10))
    model.update(task)
    assert model.labelers["ann"].sums()[1] == pytest.approx(error, abs=0.3)


def test_one_answer_says_nothing_of_its_labeler_and_little_of_its_task() -> None:
    model, _ = simulated(9)
    before = model.labelers["ann"].sums()[0]
    task = task_of(model, "new", {"ann": "3"})
    assert model.labelers["ann"].sums()[0] < before, "only faded"
    assert not task.answers["ann"].is_counted
    assert model.belief(task).label == "3"
    assert 0.3 < model.belief(task).raw_confidence < 0.95
    assert model.believe(task, without="ann").label is None


def test_a_consensus_is_one_of_the_ratings_and_of_two_as_near_the_lower() -> None:
    model, _ = simulated(10)
    task = task_of(model, "new", {"ann": "2", "di": "5"})
    chances = model.belief(task).posterior
    assert math.fsum(chances.values()) == pytest.approx(1.0, abs=1e-6)
    assert model.consensus(task) == max(chances, key=lambda label: chances[label])
    task.posterior = [3.5, 0.5]
    assert model.consensus(task) == "3"


def test_a_refused_rating_is_not_the_consensus() -> None:
    model, _ = simulated(11)
    task = task_of(model, "new", {"ann": "2", "bob": "2", "cy": "2"})
    for label in ("2", "1", "3", "4"):
        task.refute(label)
        model.update(task)
        assert label not in model.belief(task).posterior
    assert model.consensus(task) == "5"
    task.refute("5")
    assert model.consensus(task) == "2", "where every rating was refused, none is"


@pytest.mark.parametrize("label", ["good", "nan", "inf", "1_0", "1e+999", "", "٣"])
def test_what_is_no_number_casts_no_vote(label: str) -> None:
    model, _ = simulated(12)
    before = state(model)
    task = task_of(model, "new", {"eve": label})
    assert number(label) is None
    assert (task.posterior, model.belief(task).label, model.consensus(task)) == (None, None, None)
    assert model.labelers.pop("eve").labels == 0
    assert state(model) == before
    mixed = task_of(model, "mixed", {"ann": "4", "eve": label, "bob": "4"})
    assert model.belief(mixed).label == "4"
    mixed.know(Truth(label, "review", 1))
    model.update(mixed)
    assert model.belief(mixed).label == "4", "nor is it a true rating"


def test_a_number_that_is_taken_back_takes_its_errors_with_it() -> None:
    model, _ = simulated(13)
    task = task_of(model, "new", {"ann": "1", "bob": "4"})
    weight = model.labelers["ann"].sums()[0]
    give(model, task, "ann", "cannot tell", 1)
    assert model.labelers["ann"].sums()[0] == pytest.approx(weight - 1)
    assert model.belief(task).label == "4"
    give(model, task, "bob", "cannot tell", 2)
    assert model.belief(task).label is None


@pytest.mark.parametrize("number_of_tasks", [2, 200])
def test_one_absurd_rating_ruins_nobody(number_of_tasks: int) -> None:
    model, _ = simulated(14, tasks=number_of_tasks)
    task_of(model, "slip", {"ann": "4", "bob": "4", "cy": "1000000000"})
    assert all(abs(model.law(name).bias) < 3 for name in TEAM)
    assert all(model.law(name).variance < 10 for name in TEAM)
    assert model.accuracy("new") > 0.1


def test_a_continuous_scale_asks_only_for_the_ratings_given() -> None:
    model, made = simulated(15, continuous=True)
    task, _ = made[-1]
    belief = model.belief(task)
    assert set(belief.posterior) <= {answer.label for answer in task.answers.values()}
    assert belief.label in belief.posterior
    assert 0.0 < math.fsum(belief.posterior.values()) <= 1.0 + 1e-9
    assert len(json.dumps(model.dump())) < 40 * MAX_VALUES, "bounded"


def test_the_scale_of_whole_numbers_survives_a_half() -> None:
    scale = Scale()
    for label in ("1", "2", "2.5", "3", "4", "5"):
        scale.add(float(label), label)
    assert scale.step == 1.0


def test_dumped_and_loaded_it_goes_on_the_same() -> None:
    model, _ = simulated(16)
    loaded = RatingModel(HALF_LIVES)
    loaded.load(json.loads(json.dumps(model.dump())))
    for name in model.labelers:
        loaded.load_labeler(name, json.loads(json.dumps(model.dump_labeler(name))))
    assert state(loaded) == state(model)
    beliefs = [one.belief(task_of(one, "new", {"ann": "2", "eve": "9", "di": "3"})) for one in (model, loaded)]
    assert beliefs[0] == beliefs[1]
    assert state(loaded) == state(model)


def test_the_clock_may_run_for_ever() -> None:
    model = RatingModel(HalfLives(annotations=0.5, days=90))  # two half-lives an answer
    for i in range(600):
        task_of(model, f"t{i}", {"ann": str(1 + i % 5), "bob": str(1 + i % 5)})
    assert model.labelers["ann"].base > 0, "scaled down at least once"
    weight, error, squared = model.labelers["ann"].sums()
    assert weight == pytest.approx(4 / 3)
    assert abs(error) < 1
    assert 0 <= squared < 5


def test_what_is_heard_replaces_what_was_heard() -> None:
    model, _ = simulated(17)
    sums = model.labelers["ann"].sums()
    own = model.evidence("ann")
    for weight in (100.0, 40.0, 40.0):
        moments = {"weight": weight, "error": weight, "squared": 2 * weight}
        model.hear("ann", 3, Evidence(RATING, 50, 0, {}, (0.5, 10.0), moments))
        assert model.labelers["ann"].sums() == pytest.approx((sums[0] + weight, sums[1] + weight, sums[2] + 2 * weight))
    assert model.evidence("ann") == own, "what was heard is not told again"
    model.hear("ann", 3, Evidence("one_coin", 50, 0, {("right", 0, "right"): 9.0}))
    assert model.labelers["ann"].sums()[0] == pytest.approx(sums[0] + 40), "another form says nothing here"


def test_evidence_adds_up_over_source_partitions() -> None:
    one, other = simulated(18)[0], simulated(19)[0]
    parts = [Evidence.from_plain(json.loads(json.dumps(m.evidence("bob").to_plain()))) for m in (one, other)]
    known = summarise(parts)
    assert (known.form, known.labels) == ("rating", sum(part.labels for part in parts))
    assert known.effective_labels == pytest.approx(sum(m.labelers["bob"].sums()[0] for m in (one, other)))
    assert known.bias == pytest.approx((one.law("bob").bias + other.law("bob").bias) / 2, abs=0.1)
    assert known.precision is not None
    assert known.precision > 1.0
    assert known.accuracy is not None
    assert known.accuracy == pytest.approx(one.accuracy("bob"), abs=0.1)
    assert summarise(reversed(parts)).bias == pytest.approx(known.bias)


def test_alone_a_summary_is_what_the_model_believes() -> None:
    model, _ = simulated(20)
    known, law = summarise([model.evidence("cy")]), model.law("cy")
    assert known.bias == pytest.approx(law.bias)
    assert known.precision == pytest.approx(1 / law.variance)
    assert known.accuracy == pytest.approx(model.accuracy("cy"))
    assert model.evidence("cy").population[0] == pytest.approx(model.accuracy("nobody knows"))


def test_an_unknown_labeler_is_like_the_middle_one() -> None:
    model, _ = simulated(21)
    law = model.law("eve")
    assert law.bias == 0.0
    assert model.law("ann").variance < law.variance < model.law("di").variance


def test_an_old_error_is_forgotten() -> None:
    model, rng = RatingModel(HalfLives(annotations=50, days=90)), random.Random(22)
    for i in range(600):
        true = rng.randint(2, 4)
        shift = 1 if i < 300 else 0
        task_of(model, f"t{i}", {"ann": str(true), "bob": str(true), "cy": str(true), "di": str(true + shift)})
        if i == 299:
            assert model.law("di").bias > 0.5
    assert abs(model.law("di").bias) < 0.15


def test_a_half_life_counts_what_other_partitions_see_too() -> None:
    alone, heard = simulated(23, tasks=0)[0], simulated(23, tasks=0)[0]
    heard.hear("ann", 1, Evidence(RATING, 900, 0, {}, (0.5, 10.0), {"weight": 1.0}))
    for model in (alone, heard):
        task_of(model, "t", {"ann": "3"})
    assert heard.labelers["ann"].forgetting.clock == pytest.approx(901 * alone.labelers["ann"].forgetting.clock)


def test_nobody_is_more_precise_than_the_steps_of_the_scale() -> None:
    model = RatingModel(HALF_LIVES)
    for i in range(2_000):
        task_of(model, f"t{i}", dict.fromkeys(("ann", "bob", "cy"), str(1 + i % 5)))
    assert model.law("ann").variance == pytest.approx(1 / 12)
    assert 0.9 < model.accuracy("ann") < 1.0
    task = task_of(model, "new", {"ann": "1", "bob": "1", "cy": "5"})
    assert model.consensus(task) == "2", "nobody is ever outvoted entirely: the mean is 2.3"


def test_all_alike_is_not_certain_but_defined() -> None:
    model = RatingModel(HALF_LIVES)
    for i in range(100):
        task = task_of(model, f"t{i}", {"ann": "3", "bob": "3"})
    assert model.belief(task) == Belief("3", 1.0, 0.0, {"3": 1.0})
    assert 0.5 < model.accuracy("ann") < 1.0


def test_evidence_of_another_form_is_no_evidence_on_ratings() -> None:
    model, _ = simulated(24)
    own = model.evidence("bob")
    other = Evidence("subjective", 9, own.seen_ms + 1, moments={"weight": 1e6, "error": -1e6})
    assert summarise([own, other]).bias == pytest.approx(model.law("bob").bias)


def test_three_ratings_have_bounds() -> None:
    scale = Scale()
    for label in ("1", "2", "1000"):
        scale.add(float(label), label)
    assert scale.bounds == (-1.0, 5.0)
    assert (scale.cut(1_000.0), scale.cut(-7.0), scale.cut(1.5)) == (5.0, -1.0, 1.5)
