"""Labelers where disagreement is signal."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping

import pytest

from detectors import subjective
from detectors.consensus import Answer, Belief, Task, Truth
from detectors.evidence import SUBJECTIVE, Evidence
from detectors.forgetting import HalfLives
from detectors.reliability import Reliability, summarise
from detectors.subjective import SubjectiveModel
from detectors.subjective_counts import distance

HALF_LIVES = HalfLives(annotations=1_000, days=90)
LABELS = ("angry", "calm", "funny", "sad", "witty")
#: How often people in general find something to be each of these.
USUAL = (0.05, 0.15, 0.55, 0.05, 0.2)


def give(model: SubjectiveModel, task: Task, labeler_id: str, label: str, at_ms: int = 0) -> None:
    answer = Answer(label, at_ms)
    before = task.stand(labeler_id, answer)
    model.answer(task, labeler_id, answer, before)


def task_of(model: SubjectiveModel, name: str, answers: Mapping[str, str], gold: str | None = None) -> Task:
    task = Task("memes", name, "mood")
    if gold is not None:
        task.know(Truth(gold, "gold", 0))
    for labeler_id, label in answers.items():
        give(model, task, labeler_id, label)
    return task


def opinion(rng: random.Random) -> str:
    return rng.choices(LABELS, USUAL)[0]


def simulated(seed: int, tasks: int = 200) -> SubjectiveModel:
    """Everybody has opinions like people in general and repeats most of them; ``bot`` answers at random, always."""
    rng = random.Random(seed)
    model = SubjectiveModel(HALF_LIVES)
    for i in range(tasks):
        gold = rng.choice(LABELS) if i % 10 == 0 else None
        first = {name: gold or opinion(rng) for name in ("ann", "bob", "cy", "di")} | {"bot": rng.choice(LABELS)}
        task = task_of(model, f"t{i}", first, gold)
        if i % 8 == 1:
            for name, label in first.items():
                again = rng.choice(LABELS) if name == "bot" or rng.random() < 0.1 else label
                give(model, task, name, again, 1)
    return model


def reliability(model: SubjectiveModel, labeler_id: str) -> Reliability:
    return summarise([model.evidence(labeler_id)])


def state(model: SubjectiveModel) -> str:
    return json.dumps([model.dump(), {name: model.dump_labeler(name) for name in sorted(model.labelers)}])


def nearly(model: SubjectiveModel, other: SubjectiveModel) -> bool:
    return model.labelers.keys() == other.labelers.keys() and all(
        model.evidence(name).moments == pytest.approx(other.evidence(name).moments, abs=1e-9) for name in model.labelers
    )


def test_the_consensus_is_the_distribution_of_the_answers() -> None:
    model = simulated(1)
    task = task_of(model, "new", {"ann": "sad", "bob": "sad", "cy": "angry", "di": "sad"})
    belief = model.belief(task)
    assert belief.label == model.consensus(task) == "sad"
    assert belief.posterior == pytest.approx({"sad": 0.6, "angry": 0.2}, abs=0.05)
    assert belief.raw_confidence == belief.posterior["sad"]
    assert 0.5 < belief.entropy < math.log(5)
    alone = model.believe(task, without="cy")
    assert alone.posterior.keys() == {"sad"}
    assert 0.75 < alone.raw_confidence < 0.85, "others may still find something else"
    assert model.believe(Task("memes", "none", "mood")) == Belief(None, 0.0, 0.0, {})


def test_good_labelers_do_not_shrink_it_to_one_truth() -> None:
    model = simulated(2)
    task = task_of(model, "new", {"bot": "calm", "ann": "funny"})
    shares = model.belief(task).posterior
    assert shares["calm"] > 0.3
    assert shares["funny"] < 0.6
    alone = task_of(model, "single", {"ann": "angry"})
    assert model.belief(alone).raw_confidence < 0.6


def test_a_distribution_does_not_depend_on_the_order_of_answers() -> None:
    model = simulated(3)
    answers = {"ann": "sad", "bob": "funny", "cy": "sad", "di": "never seen"}
    seen = []
    for order in itertools.permutations(answers):
        task = Task("memes", "new", "mood")
        for name in order:
            task.stand(name, Answer(answers[name], 1))
        seen.append(model.believe(task))
    for belief in seen:
        assert belief.label == "sad"
        assert belief.posterior == pytest.approx(seen[0].posterior, abs=1e-9)


def test_a_random_answerer_is_far_off_and_unstable() -> None:
    model = simulated(4)
    bot = reliability(model, "bot")
    assert bot.distance is not None
    assert bot.stability is not None
    assert bot.attention is not None
    for name in ("ann", "bob", "cy", "di"):
        known = reliability(model, name)
        assert known.distance is not None
        assert known.stability is not None
        assert known.attention is not None
        assert known.distance < 0.1 < 0.2 < bot.distance
        assert known.stability > 0.75 > 0.5 > bot.stability
        assert known.attention > 0.8 > 0.6 > bot.attention


def test_a_minority_of_one_on_every_task_looks_fine() -> None:
    """``odd`` never agrees with anybody, yet finds as much funny as everybody does, and sticks to it."""
    rng = random.Random(5)
    model = SubjectiveModel(HALF_LIVES)
    for i in range(200):
        common = "funny" if i % 2 else "dull"
        odd = "dull" if i % 2 else "funny"
        answers = {"ann": common, "bob": common, "cy": common, "odd": odd}
        task = task_of(model, f"t{i}", answers)
        assert model.consensus(task) == common
        if rng.random() < 0.1:
            for name, label in answers.items():
                give(model, task, name, label, 1)
    task_of(model, "check", dict.fromkeys(("ann", "bob", "cy", "odd"), "blue"), gold="blue")
    odd_one, ann = reliability(model, "odd"), reliability(model, "ann")
    assert odd_one.distance == pytest.approx(ann.distance, abs=0.01) == 0.0
    assert odd_one.stability == pytest.approx(ann.stability)
    assert odd_one.attention == pytest.approx(ann.attention)
    assert model.accuracy("odd") == pytest.approx(model.accuracy("ann"))


def test_nobody_is_far_off_by_five_answers() -> None:
    far = []
    for seed in range(200):
        rng = random.Random(seed)
        own: dict[str, float] = {}
        for _ in range(5):
            label = opinion(rng)
            own[label] = own.get(label, 0.0) + 1.0
        far.append(distance(own, {label: 1_000 * share for label, share in zip(LABELS, USUAL, strict=True)}) or 0.0)
    assert max(far) < 0.2
    assert math.fsum(far) / len(far) < 0.05


def test_distance_grows_to_the_true_one() -> None:
    peers = {"yes": 5_000.0, "no": 5_000.0}
    found = [distance({"yes": 0.9 * n, "no": 0.1 * n}, peers) or 0.0 for n in (5, 20, 100, 1_000, 100_000)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(0.4, abs=0.01)
    assert distance({"yes": 1e6}, {"no": 1e6}) == pytest.approx(1.0, abs=0.01)
    assert distance({"yes": 10.0}, {}) is None
    assert distance({}, peers) is None


def test_what_was_not_seen_is_not_known() -> None:
    model = simulated(6)
    task_of(model, "new", {"eve": "funny"})
    known = reliability(model, "eve")
    assert (known.form, known.labels, known.effective_labels) == ("subjective", 1, 1.0)
    assert (known.stability, known.attention, known.accuracy) == (None, None, None)
    assert known.distance == pytest.approx(0.0, abs=0.02)
    assert model.accuracy("eve") == model.accuracy("nobody") == model.population.accuracy


def test_repeats_are_revisions_by_the_same_labeler() -> None:
    model = SubjectiveModel(HALF_LIVES)
    task = task_of(model, "t", {"ann": "sad", "bob": "sad"})
    for at_ms, label in enumerate(("sad", "calm", "calm"), start=1):
        give(model, task, "ann", label, at_ms)
    sums = model.evidence("ann").moments
    assert (sums["repeats"], sums["repeats_same"]) == pytest.approx((3, 2), abs=0.01)
    assert {name for name in sums if name.startswith("answer:")} == {"answer:calm"}, "only what stands"
    assert sums["answer:calm"] == pytest.approx(1.0)
    assert "repeats" not in model.evidence("bob").moments


def test_a_replaced_answer_leaves_no_trace_but_the_repeat() -> None:
    revised, straight = simulated(7), simulated(7)
    first = task_of(revised, "new", {"ann": "calm", "bob": "sad"}, gold="sad")
    give(revised, first, "ann", "sad", 1)
    second = task_of(straight, "new", {"bob": "sad"}, gold="sad")
    ann = straight.labelers["ann"]
    straight._leave(ann)
    ann.labels += 1
    ann.forgetting.advance(HALF_LIVES, 0)  # the same clock
    ann.rescale()
    straight._join(ann)
    give(straight, second, "ann", "sad", 1)
    assert not nearly(revised, straight)
    unit = revised.labelers["ann"].scale
    revised._leave(revised.labelers["ann"])
    revised.labelers["ann"].sums["repeats"] -= unit
    revised._join(revised.labelers["ann"])
    assert nearly(revised, straight)
    assert revised.belief(first) == straight.belief(second)


def test_only_gold_is_an_attention_check() -> None:
    model = SubjectiveModel(HALF_LIVES)
    task = task_of(model, "t", {"ann": "sad", "bob": "calm"})
    task.know(Truth("calm", "review", 5))
    task.refute("sad")
    model.update(task)
    assert model.belief(task).posterior == pytest.approx({"calm": 0.5, "sad": 0.5}), "one more opinion"
    assert "checks" not in model.evidence("ann").moments
    late = task_of(model, "late", {"ann": "sad", "bob": "calm"})
    late.know(Truth("calm", "gold", 5))
    model.changed.clear()
    for _ in range(2):
        model.update(late)
    assert model.changed == {"ann", "bob"}
    assert model.evidence("ann").moments["checks"] == pytest.approx(1)
    assert "checks_passed" not in model.evidence("ann").moments
    assert model.evidence("bob").moments["checks_passed"] == pytest.approx(1)
    assert model.belief(late) == Belief("calm", 1.0, 0.0, {"calm": 1.0})
    assert model.believe(late).posterior.keys() == {"sad", "calm"}
    assert model.accuracy("bob") > model.accuracy("nobody") > model.accuracy("ann")


def test_a_review_corrects_a_check() -> None:
    model = SubjectiveModel(HALF_LIVES)
    task = task_of(model, "t", {"ann": "sad", "bob": "calm"}, gold="calm")
    task.know(Truth("blue", "review", 5))
    model.update(task)
    assert "checks_passed" not in model.evidence("bob").moments
    task.know(Truth("sad", "review", 6))
    model.update(task)
    assert model.evidence("ann").moments["checks_passed"] == pytest.approx(1)
    assert model.evidence("ann").moments["checks"] == pytest.approx(1)


def test_somebody_who_stops_paying_attention_is_noticed() -> None:
    model = SubjectiveModel(HALF_LIVES)
    for i in range(240):
        task_of(model, f"t{i}", {"ann": "sad" if i < 200 else "calm", "bob": "sad"}, gold="sad")
    assert model.accuracy("ann") < 0.6, "200 checks passed do not outweigh the last 40"
    assert model.accuracy("bob") > 0.95


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjective, "MAX_LABELS", 10)
    model = SubjectiveModel(HALF_LIVES)
    for i in range(60):
        task_of(model, f"t{i}", {"ann": f"{'long' * 50} {i}", "bob": "short"})
    sums = model.evidence("ann").moments
    assert len([name for name in sums if name.startswith("answer:")]) == 9
    assert sums["answers_other"] == pytest.approx(51, rel=0.05)
    assert max(map(len, sums)) < 100
    known = reliability(model, "ann")
    assert known.effective_labels == pytest.approx(60, rel=0.05)
    assert known.distance is not None
    assert known.distance > 0.7
    assert summarise([model.evidence("bob")]).effective_labels == pytest.approx(60, rel=0.05)


def test_dumped_and_loaded_it_goes_on_the_same() -> None:
    model = simulated(8)
    loaded = SubjectiveModel(HALF_LIVES)
    loaded.load(json.loads(json.dumps(model.dump())))
    for name in model.labelers:
        loaded.load_labeler(name, json.loads(json.dumps(model.dump_labeler(name))))
    assert state(loaded) == state(model)
    beliefs = [one.belief(task_of(one, "new", {"ann": "sad", "eve": "odd", "di": "sad"})) for one in (model, loaded)]
    assert beliefs[0] == beliefs[1]
    assert state(loaded) == state(model)


def test_a_dump_is_not_touched_by_what_comes_after() -> None:
    model = simulated(9, tasks=20)
    dumped = [model.dump(), model.dump_labeler("ann")]
    text = json.dumps(dumped)
    task_of(model, "new", {"ann": "unheard of"})
    assert json.dumps(dumped) == text


def test_the_clock_may_run_for_ever() -> None:
    model = SubjectiveModel(HalfLives(annotations=0.5, days=90))  # two half-lives an answer
    for i in range(600):
        task_of(model, f"t{i}", {"ann": "sad", "bob": "calm"})
    assert model.labelers["ann"].base > 0, "scaled down at least once"
    assert model.evidence("ann").moments["answer:sad"] == pytest.approx(4 / 3)
    assert model.evidence("ann").moments["peers:answer:calm"] == pytest.approx(4 / 3)


def test_what_is_heard_replaces_what_was_heard() -> None:
    model = simulated(10)
    own, before = model.evidence("ann"), model.labelers["ann"].checks()
    for checks in (100.0, 40.0, 40.0):
        moments = {"checks": checks, "checks_passed": 10.0}
        model.hear("ann", 3, Evidence(SUBJECTIVE, 200, 0, moments=moments))
        assert model.labelers["ann"].checks() == pytest.approx((before[0] + 10, before[1] + checks))
    assert model.accuracy("ann") < 0.7
    assert model.evidence("ann") == own, "what was heard is not told again"
    model.hear("ann", 3, Evidence("one_coin", 50, 0))
    assert model.labelers["ann"].checks()[1] == pytest.approx(before[1] + 40), "another form says nothing here"


def test_evidence_adds_up_over_source_partitions() -> None:
    """Half of the tasks each: together they know what one that saw all would."""
    halves, whole = [SubjectiveModel(HalfLives(1e9, 1e9)) for _ in range(2)], SubjectiveModel(HalfLives(1e9, 1e9))
    rng = random.Random(11)
    for i in range(100):
        answers = {name: opinion(rng) for name in ("ann", "bob", "cy")} | {"bot": rng.choice(LABELS)}
        for model in (halves[i % 2], whole):
            task = task_of(model, f"t{i}", answers)
            give(model, task, "ann", answers["ann"], 1)
    for name in ("ann", "bot"):
        parts = [Evidence.from_plain(json.loads(json.dumps(half.evidence(name).to_plain()))) for half in halves]
        together, alone = summarise(parts), reliability(whole, name)
        assert together.distance == pytest.approx(alone.distance, abs=1e-4)
        assert together.stability == pytest.approx(alone.stability)
        assert together.effective_labels == pytest.approx(alone.effective_labels)
        assert together.labels == alone.labels


def test_a_half_life_counts_what_other_partitions_see_too() -> None:
    alone, heard = SubjectiveModel(HALF_LIVES), SubjectiveModel(HALF_LIVES)
    heard.hear("ann", 1, Evidence(SUBJECTIVE, 900, 0))
    for model in (alone, heard):
        task_of(model, "t", {"ann": "sad"})
    assert heard.labelers["ann"].forgetting.clock == pytest.approx(901 * alone.labelers["ann"].forgetting.clock)


def test_a_newcomer_is_as_attentive_as_the_others() -> None:
    model = SubjectiveModel(HALF_LIVES)
    for i in range(300):
        task_of(model, f"t{i}", {"ann": "sad", "bob": "sad" if i % 2 else "calm"}, gold="sad")
    assert model.accuracy("eve") == pytest.approx(0.75, abs=0.05)
    assert model.evidence("ann").population == (model.population.accuracy, model.population.concentration)
    assert model.population.concentration < 20, "they differ"


def test_a_tail_of_rare_labels_does_not_excuse_everything() -> None:
    peers = {"usual": 500.0} | {f"rare {i}": 1.0 for i in range(500)}
    assert (distance({"rare 1": 20.0}, peers) or 0.0) > 0.25
