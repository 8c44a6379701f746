"""One accuracy per labeler: for open label sets, and after a matrix that has seen too many classes."""

from __future__ import annotations

import random

import pytest

from detectors import consensus, one_coin
from detectors.confusion import ConfusionModel
from detectors.consensus import Answer, Task, Truth
from detectors.evidence import Evidence
from detectors.forgetting import HalfLives
from detectors.one_coin import OneCoinModel

FOREVER = HalfLives(1e12, 1e12)
Model = ConfusionModel | OneCoinModel


def task(number: int = 0) -> Task:
    return Task("words", f"t-{number}", "transcription")


def give(made: Model, one: Task, labeler: str, label: str, at_ms: int = 1_000) -> None:
    answer = Answer(label, at_ms)
    before = one.stand(labeler, answer)
    assert before is not answer, "give it a later time"
    made.answer(one, labeler, answer, before)


def hits(made: OneCoinModel, labeler: str) -> tuple[float, float]:
    found = made.evidence(labeler)
    return found.right, found.weight


class TestExpectation:
    def test_of_strangers_by_hand(self) -> None:
        """Three labels are possible, a stranger is right in .8, and else gives each of the other two in .1.

        Odds of a label against one that nobody gave: (.8 x 2 / .2) = 8 an answer. fish: 64, dish: 8, the third: 1.
        """
        made, one = OneCoinModel(FOREVER), task()
        for number, label in enumerate(("fish", "dish", "wish")):
            give(made, task(number + 10), "zoe", label)
        for name, label in (("ann", "fish"), ("bob", "fish"), ("cy", "dish")):
            give(made, one, name, label)
        belief = made.belief(one)
        assert (belief.label, belief.posterior) == (
            "fish",
            {"fish": pytest.approx(64 / 73), "dish": pytest.approx(8 / 73)},
        )
        assert belief.raw_confidence == pytest.approx(64 / 73)

    def test_the_more_labels_are_possible_the_more_two_equal_ones_mean(self) -> None:
        sure = []
        for vocabulary in (2, 200):
            made, one = OneCoinModel(FOREVER), task()
            for number in range(vocabulary):
                give(made, task(number + 10), "zoe", f"word {number}")
            for name, label in (("ann", "word 0"), ("bob", "word 0"), ("cy", "word 1")):
                give(made, one, name, label)
            sure.append(made.belief(one).raw_confidence)
        assert sure[0] < 0.9 < sure[1]

    def test_believing_without_one_leaves_that_one_out(self) -> None:
        made, one = OneCoinModel(FOREVER), task()
        for name, label in (("ann", "fish"), ("bob", "dish")):
            give(made, one, name, label)
        assert made.believe(one, without="ann").label == "dish"
        assert made.believe(one, without="bob").label == "fish"

    def test_thirty_two_perfect_labelers_are_no_overflow(self) -> None:
        made = OneCoinModel(FOREVER)
        for name in range(32):
            made.hear(f"l-{name}", 1, Evidence("one_coin", 10**9, 0, {("right", 0, "right"): 1e15}))
        for truth in (None, Truth("fish", "gold", 1)):
            one = task()
            one.truth = truth
            for name in range(32):
                give(made, one, f"l-{name}", "fish" if name % 2 else "dish")
            assert sum(made.belief(one).posterior.values()) == pytest.approx(1.0)


class TestTruth:
    def test_settles_the_task_whenever_it_comes(self) -> None:
        for when in range(3):
            made, one = OneCoinModel(FOREVER), task()
            for step in range(3):
                if step == when:
                    one.know(Truth("dish", "review", 5))
                    made.update(one)
                if step < 2:
                    give(made, one, ("ann", "bob")[step], ("fish", "dish")[step])
            assert made.belief(one).posterior == {"fish": 0.0, "dish": pytest.approx(1.0)}
            assert (hits(made, "ann"), hits(made, "bob")) == (
                (pytest.approx(0.0), pytest.approx(1.0)),
                (pytest.approx(1.0), pytest.approx(1.0)),
            )

    def test_that_nobody_gave_makes_all_wrong(self) -> None:
        made, one = OneCoinModel(FOREVER), task()
        give(made, one, "ann", "fish")
        one.know(Truth("swish", "review", 5))
        made.update(one)
        assert made.belief(one).label == "swish"
        assert hits(made, "ann") == (pytest.approx(0.0), pytest.approx(1.0))

    def test_a_refuted_label_is_out(self) -> None:
        made, one = OneCoinModel(FOREVER), task()
        for name, label in (("ann", "fish"), ("bob", "fish"), ("cy", "dish")):
            give(made, one, name, label)
        one.refute("fish")
        made.update(one)
        assert (made.belief(one).label, made.belief(one).posterior["fish"]) == ("dish", 0.0)


class TestCounting:
    def test_a_revision_replaces(self) -> None:
        made, one = OneCoinModel(FOREVER), task()
        one.truth = Truth("fish", "gold", 0)
        for at_ms, label in enumerate(("fish", "dish", "fish", "dish")):
            give(made, one, "ann", label, at_ms)
        assert hits(made, "ann") == (pytest.approx(0.0), pytest.approx(1.0))

    def test_what_was_given_before_weighs_less(self) -> None:
        made = OneCoinModel(HalfLives(annotations=1, days=1e12))
        for number, label in enumerate(("fish", "dish")):
            one = task(number)
            one.truth = Truth("fish", "gold", 0)
            give(made, one, "ann", label, number)
        assert hits(made, "ann") == (pytest.approx(0.5), pytest.approx(1.5))

    def test_a_clock_that_runs_for_long_is_no_overflow(self) -> None:
        made = OneCoinModel(HalfLives(annotations=0.5, days=1e12))
        for number in range(1_000):
            one = task(number)
            one.truth = Truth("fish", "gold", 0)
            give(made, one, "ann", "fish", number)
        assert made.labelers["ann"].scale <= 2.0**one_coin.MAX_EXPONENT
        assert hits(made, "ann") == (pytest.approx(4 / 3), pytest.approx(4 / 3))

    def test_a_runaway_task_stays_within_its_votes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(consensus, "MAX_VOTES", 4)
        made, one = OneCoinModel(FOREVER), task()
        for i in range(12):
            give(made, one, f"l-{i}", "fish" if i % 4 else "dish", i)
        for i in range(12):
            right, weight = hits(made, f"l-{i}")
            assert -1e-9 < right < 1 + 1e-9
            assert weight == pytest.approx(1.0)

    def test_what_others_know_is_added_and_kept_apart(self) -> None:
        made = OneCoinModel(FOREVER)
        before = made.accuracy("ann")
        matrix = Evidence("confusion", 30, 1, {("a", 0, "a"): 28.0, ("a", 0, "b"): 2.0})
        made.hear("ann", 1, Evidence("one_coin", 3, 1, {("right", 0, "wrong"): 3.0}))
        made.hear("ann", 1, matrix)
        assert made.labelers["ann"].hits() == (28.0, 30.0)
        assert made.accuracy("ann") > before
        assert hits(made, "ann") == (0.0, 0.0)
        assert made.changed == set()


class TestSuccessor:
    """A label set that turns out to be too large for matrices goes over to one coin, and goes on."""

    def matrix(self) -> tuple[ConfusionModel, list[Task]]:
        rng, made = random.Random(5), ConfusionModel(HalfLives(1_000, 90))
        tasks = []
        for number in range(150):
            one, truth = task(number), rng.choice("abcdef")
            for name, accuracy in (("ann", 0.95), ("bob", 0.8), ("cy", 0.7)):
                if len(one.answers) < 2 or number % 3:
                    give(made, one, name, truth if rng.random() < accuracy else rng.choice("abcdef"), number * 1_000)
            tasks.append(one)
        made.hear("bob", 7, Evidence("confusion", 10, 9, {("a", 0, "a"): 8.0, ("b", 1, "a"): 2.0}))
        return made, tasks

    def test_no_evidence_is_lost(self) -> None:
        former, _ = self.matrix()
        made = OneCoinModel.successor(former, HalfLives(1_000, 90))
        assert made.labelers.keys() == former.labelers.keys()
        for name in former.labelers:
            before, after = former.evidence(name), made.evidence(name)
            assert (after.form, after.labels, after.seen_ms) == ("one_coin", before.labels, before.seen_ms)
            assert (after.right, after.weight) == (pytest.approx(before.right), pytest.approx(before.weight))
        heard = made.labelers["bob"].heard[7]
        assert (heard.right, heard.weight) == (8.0, 10.0)
        assert made.changed == {"ann", "bob", "cy"}, "all of them are told of in their new form"

    def test_open_tasks_go_on(self) -> None:
        former, tasks = self.matrix()
        beliefs = [former.belief(one) for one in tasks]
        made = OneCoinModel.successor(former, HalfLives(1_000, 90))
        for one, before in zip(tasks, beliefs, strict=True):
            after = made.belief(one)
            assert after.label == before.label
            assert {label: chance for label, chance in after.posterior.items() if chance} == pytest.approx(
                {label: chance for label, chance in before.posterior.items() if chance}
            ), "classes that came later have no chance in either"
        weight = {name: made.evidence(name).weight for name in made.labelers}
        for one in tasks:  # a new label on each, and a truth on some: what the matrix had counted is taken back
            if len(one.answers) == 3:
                give(made, one, "dee", "something new", 200_000)
                one.know(Truth("b", "review", 300_000))
                made.update(one)
        for name, before_weight in weight.items():
            assert made.evidence(name).weight == pytest.approx(before_weight), "the same answers, seen otherwise"
            assert made.labelers[name].right > -1e-9
        assert made.evidence("dee").right == pytest.approx(0.0, abs=1e-9)

    def test_a_revision_across_the_change_replaces_what_the_matrix_counted(self) -> None:
        former, tasks = self.matrix()
        made = OneCoinModel.successor(former, HalfLives(1e12, 1e12))
        before = made.evidence("ann").weight
        for number in range(100, 110):
            give(made, tasks[number], "ann", "zzz", 10**6)
        # Each of the ten weighed about .95 and weighs 1 now.
        assert made.evidence("ann").weight == pytest.approx(before, abs=1.0)

    def test_the_state_of_the_successor_is_whole(self) -> None:
        former, tasks = self.matrix()
        made = OneCoinModel.successor(former, HalfLives(1_000, 90))
        again = OneCoinModel(HalfLives(1_000, 90))
        again.load(made.dump())
        for name in made.labelers:
            again.load_labeler(name, made.dump_labeler(name))
        assert again.belief(tasks[0]) == made.belief(tasks[0]), "the rows of older tasks are still understood"
