"""The confusion model: E-step and M-step by hand, truth, many answers, what others know."""

from __future__ import annotations

import math
import random

import pytest

from detectors import confusion, confusion_counts, consensus
from detectors.confusion import ConfusionModel
from detectors.consensus import Answer, Task, Truth
from detectors.evidence import Evidence
from detectors.forgetting import HalfLives

HALF_LIVES = HalfLives(1_000, 90)
#: Nothing fades.
FOREVER = HalfLives(1e12, 1e12)


def model(*classes: str, half_lives: HalfLives = FOREVER) -> ConfusionModel:
    return ConfusionModel(half_lives, classes or ("cat", "dog"))


def give(made: ConfusionModel, task: Task, labeler: str, label: str, at_ms: int = 1_000) -> None:
    answer = Answer(label, at_ms)
    before = task.stand(labeler, answer)
    assert before is not answer, "give it a later time"
    made.answer(task, labeler, answer, before)


def task(number: int = 0) -> Task:
    return Task("animals", f"t-{number}", "image_class")


def counts(made: ConfusionModel, labeler: str) -> dict[tuple[str, str], float]:
    """Own counts by true label and answer."""
    found: dict[tuple[str, str], float] = {}
    for (true, _, answer), count in made.evidence(labeler).counts.items():
        found[(true, answer)] = found.get((true, answer), 0.0) + count
    return found


def taught(seed: int = 0, tasks: int = 120, classes: str = "ab") -> ConfusionModel:
    """A model that has seen three labelers: ann nearly always right, cy by little more than half."""
    rng, made = random.Random(seed), ConfusionModel(HALF_LIVES)
    for number in range(tasks):
        truth = rng.choice(classes)
        one = task(number)
        one.truth = Truth(truth, "gold", 0)
        for name, accuracy in (("ann", 0.98), ("bob", 0.8), ("cy", 0.6)):
            label = truth if rng.random() < accuracy else rng.choice(classes.replace(truth, ""))
            give(made, one, name, label, number * 1_000)
    return made


class TestExpectation:
    def test_of_strangers_by_hand(self) -> None:
        """Two say cat, one dog. Rows (ordinary, hard) of equal priors; a stranger is right in .9 and in .7.

        cat: .9 x .9 x .1 + .7 x .7 x .3 = .228; dog: .1 x .1 x .9 + .3 x .3 x .7 = .072. The
        task's own share of their counts is left out, so they are strangers each time.
        """
        made, one = model(), task()
        for name, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog")):
            give(made, one, name, label)
        belief = made.belief(one)
        assert belief.label == "cat"
        assert belief.posterior["cat"] == pytest.approx(0.228 / 0.3)
        assert belief.raw_confidence == belief.posterior["cat"]
        assert sum(belief.posterior.values()) == pytest.approx(1.0)
        p = 0.76
        assert belief.entropy == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))

    def test_who_is_known_to_be_good_outvotes_two_who_are_not(self) -> None:
        made = taught()
        one = task(9_999)
        for name, label in (("cy", "a"), ("dee", "a"), ("ann", "b")):
            give(made, one, name, label)
        assert made.consensus(one) == "b"

    def test_a_known_confusion_is_read_backwards(self) -> None:
        """Who always says b of an a tells an a by saying b."""
        made = model("a", "b", "c")
        for number in range(60):
            for name in ("ann", "bob", "cy"):
                one = task(number)
                one.truth = Truth("abc"[number % 3], "gold", 0)
                give(made, one, name, {"a": "b", "b": "a", "c": "c"}[one.truth.label])
        one = task(9_999)
        give(made, one, "ann", "b")
        give(made, one, "bob", "b")
        assert made.consensus(one) == "a"

    def test_of_equals_the_one_that_sorts_last(self) -> None:
        for labels in (("cat", "dog"), ("dog", "cat")):
            made, one = model(*labels), task()
            for name, label in zip(("ann", "bob"), labels, strict=True):
                give(made, one, name, label)
            assert made.consensus(one) == "dog"

    def test_two_classes_written_out_say_the_same_as_any_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tasks, made = [task(number) for number in range(40)], taught()
        monkeypatch.setattr(confusion, "BINARY_ROWS", 0)
        in_general = taught()
        for one in tasks:
            for name, label in (("ann", "a"), ("cy", "b"), ("bob", "b")):
                one.stand(name, Answer(label, 1_000, is_counted=False))
        expected = [in_general.believe(one) for one in tasks]
        monkeypatch.undo()
        for one, belief in zip(tasks, expected, strict=True):
            assert made.believe(one).label == belief.label
            assert made.believe(one).posterior == pytest.approx(belief.posterior, rel=1e-12)
        assert counts(made, "cy") == pytest.approx(counts(in_general, "cy"), rel=1e-12)

    def test_believing_teaches_nothing(self) -> None:
        made = taught()
        one = task(5_000)
        give(made, one, "ann", "a")
        give(made, one, "cy", "b")
        before = [made.dump(), *[made.dump_labeler(name) for name in made.labelers]]
        assert made.believe(one, without="ann").label == "b"
        assert made.believe(one).label == "a"
        assert made.believe(one, without="cy").label == "a"
        assert [made.dump(), *[made.dump_labeler(name) for name in made.labelers]] == before

    def test_what_is_stored_of_a_labeler_does_not_say_which_classes_others_met_meanwhile(self) -> None:
        made = ConfusionModel(FOREVER)
        give(made, task(), "ann", "cat")
        before = made.dump_labeler("ann")
        give(made, task(1), "bob", "dog")
        assert made.dump_labeler("ann") == before
        again = ConfusionModel(FOREVER)
        again.load(made.dump())
        again.load_labeler("ann", before)
        assert again.evidence("ann") == made.evidence("ann")
        one = task(2)
        give(again, one, "ann", "dog", at_ms=2_000)
        assert again.consensus(one) == "dog"

    def test_nobody_left_believes_nothing(self) -> None:
        made, one = model(), task()
        assert made.believe(one).label is None
        give(made, one, "ann", "cat")
        assert made.believe(one, without="ann") == consensus.NOTHING


class TestCounting:
    def test_an_answer_that_nothing_can_be_held_against_counts_nothing(self) -> None:
        made, one = model(), task()
        give(made, one, "ann", "cat")
        assert counts(made, "ann") == {}
        assert made.evidence("ann").labels == 1

    def test_counts_are_the_posterior(self) -> None:
        made, one = model(), task()
        for name, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog")):
            give(made, one, name, label)
        cat = made.belief(one).posterior["cat"]
        assert counts(made, "ann") == {("cat", "cat"): pytest.approx(cat), ("dog", "cat"): pytest.approx(1 - cat)}
        assert counts(made, "cy") == {("cat", "dog"): pytest.approx(cat), ("dog", "dog"): pytest.approx(1 - cat)}

    def test_a_task_that_hardly_moves_counts_only_what_is_new(self) -> None:
        made, one = model(), task()
        for number in range(22):
            give(made, one, f"labeler {number}", "cat")
        before, share = counts(made, "labeler 0"), one.share
        give(made, one, "ann", "cat")
        assert share is not None
        assert one.posterior != share, "it moved"
        assert one.share == share, "not enough to count everybody again"
        assert counts(made, "labeler 0") == before
        assert counts(made, "ann")["cat", "cat"] == pytest.approx(share[0] + share[1], rel=1e-12), "their common share"

    def test_a_revision_replaces_what_the_answer_before_counted(self) -> None:
        made, one = model(), task()
        revisions = (("ann", "cat"), ("bob", "dog"), ("bob", "cat"), ("ann", "dog"), ("ann", "cat"))
        for at_ms, (name, label) in enumerate(revisions):
            give(made, one, name, label, at_ms)
        for name in ("ann", "bob"):
            assert sum(counts(made, name).values()) == pytest.approx(1.0)
            assert {answer for _, answer in counts(made, name)} == {"cat"}

    def test_what_was_given_before_weighs_less_and_can_still_be_replaced(self) -> None:
        made = model(half_lives=HalfLives(annotations=1, days=1e12))
        first, second = task(1), task(2)
        first.truth = second.truth = Truth("cat", "gold", 0)
        give(made, first, "ann", "cat")
        give(made, second, "ann", "dog")
        assert counts(made, "ann") == {("cat", "cat"): pytest.approx(0.5), ("cat", "dog"): pytest.approx(1.0)}
        first.know(Truth("dog", "review", 9))
        made.update(first)
        assert counts(made, "ann") == {("dog", "cat"): pytest.approx(0.5), ("cat", "dog"): pytest.approx(1.0)}

    def test_a_clock_that_runs_for_long_is_no_overflow(self) -> None:
        made = model(half_lives=HalfLives(annotations=0.5, days=1e12))
        for number in range(1_000):  # two thousand half-lives: 2 ** 2000 is no float
            one = task(number)
            one.truth = Truth("cat", "gold", 0)
            give(made, one, "ann", "cat" if number % 3 else "dog")
        ann = made.labelers["ann"]
        assert ann.forgetting.clock == pytest.approx(2_000.0)
        assert ann.scale <= 2.0**confusion_counts.MAX_EXPONENT
        assert made.evidence("ann").weight == pytest.approx(4 / 3)
        give(made, one, "ann", "cat", 2_000)  # the last one, dog, is replaced across all that
        assert counts(made, "ann")[("cat", "cat")] == pytest.approx(1 + 1 / 16 + 1 / 64, rel=1e-2)

    def test_a_runaway_task_stays_within_its_votes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(consensus, "MAX_VOTES", 4)
        made, one = model(), task()
        for i in range(12):
            give(made, one, f"l-{i}", "cat" if i % 4 else "dog", i)
        weight = {name: made.evidence(name).weight for name in made.labelers}
        assert weight == {f"l-{i}": pytest.approx(1.0) for i in range(12)}
        give(made, one, "l-0", "cat", 100)  # fell out of the votes long ago
        give(made, one, "l-11", "dog", 100)
        found = {name: made.evidence(name) for name in made.labelers}
        assert all(0.9 < evidence.weight < 2.1 for evidence in found.values()), "one answer, or two given to one task"
        for name, one_labeler in made.labelers.items():
            assert min(min(column) for column in one_labeler.columns.values()) > -1e-9, name


class TestTruth:
    def test_settles_the_posterior_and_the_counts_whenever_it_comes(self) -> None:
        for when in range(4):
            made, one = model(), task()
            for step, (name, label) in enumerate((("ann", "cat"), ("bob", "cat"), ("cy", "dog"))):
                if step == when:
                    one.know(Truth("dog", "gold", 5))
                    made.update(one)
                give(made, one, name, label)
            if when == 3:
                one.know(Truth("dog", "gold", 5))
                made.update(one)
            assert made.belief(one).posterior == {"cat": 0.0, "dog": pytest.approx(1.0)}
            assert counts(made, "ann") == {("dog", "cat"): pytest.approx(1.0)}
            assert counts(made, "cy") == {("dog", "dog"): pytest.approx(1.0)}

    def test_a_truth_that_nobody_gave_is_a_class(self) -> None:
        made, one = model(), task()
        give(made, one, "ann", "cat")
        one.know(Truth("emu", "review", 5))
        made.update(one)
        assert made.consensus(one) == "emu"
        assert counts(made, "ann") == {("emu", "cat"): pytest.approx(1.0)}

    def test_whose_only_answer_meets_its_truth_late_is_known_to_have_changed(self) -> None:
        made, one = model(), task()
        give(made, one, "ann", "cat")
        made.changed.clear()
        one.know(Truth("cat", "review", 5))
        made.update(one)
        assert made.changed == {"ann"}

    def test_a_refuted_label_is_out_and_the_others_share(self) -> None:
        made, one = model("cat", "dog", "emu"), task()
        for name, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog")):
            give(made, one, name, label)
        one.refute("cat")
        made.update(one)
        belief = made.belief(one)
        assert (belief.label, belief.posterior["cat"]) == ("dog", 0.0)
        assert belief.posterior["dog"] > belief.posterior["emu"] > 0.0

    def test_if_every_class_was_refused_nothing_is_out(self) -> None:
        made, one = model(), task()
        give(made, one, "ann", "cat")
        for label in ("cat", "dog"):
            one.refute(label)
        made.update(one)
        assert made.consensus(one) == "cat"


class TestOthers:
    EVIDENCE = Evidence(
        "confusion", 80, 5_000, {("cat", 0, "cat"): 40.0, ("dog", 0, "dog"): 30.0, ("dog", 1, "cat"): 10.0}
    )

    def test_what_others_know_counts_as_if_it_were_own(self) -> None:
        made = model()
        before = made.accuracy("ann")
        made.hear("ann", 3, self.EVIDENCE)
        assert made.accuracy("ann") > before
        assert made.labelers["ann"].hits(made.classes, 0) == (pytest.approx(70.0), pytest.approx(70.0))
        assert made.evidence("ann").counts == {}, "it is not this partition's"
        assert made.changed == set()

    def test_a_later_word_replaces_the_earlier_one(self) -> None:
        made, other = model(), model()
        made.hear("ann", 3, Evidence("confusion", 3, 1, {("cat", 0, "dog"): 3.0}))
        for one in (made, other):
            one.hear("ann", 3, self.EVIDENCE)
            one.hear("ann", 4, self.EVIDENCE)
        assert made.accuracy("ann") == pytest.approx(other.accuracy("ann"))

    def test_classes_that_only_others_have_seen_are_classes(self) -> None:
        made = model("cat")
        made.hear("ann", 3, self.EVIDENCE)
        assert set(made.classes) == {"cat", "dog"}

    def test_one_coin_evidence_says_nothing_of_classes(self) -> None:
        made = model()
        made.hear("ann", 3, Evidence("one_coin", 5, 1, {("right", 0, "right"): 5.0}))
        assert set(made.classes) == {"cat", "dog"}

    def test_own_evidence_is_told_apart_to_the_last_digits(self) -> None:
        alone, among = taught(), taught()
        among.hear("ann", 1, Evidence("confusion", 80, 5_000, {("a", 0, "a"): 4e4, ("b", 1, "a"): 10.0}))
        own, told = alone.evidence("ann").counts, among.evidence("ann").counts
        assert told.keys() == own.keys()
        for key, count in own.items():
            assert told[key] == pytest.approx(count, abs=1e-6)

    def test_the_clock_counts_what_is_answered_elsewhere(self) -> None:
        alone, among = (model(half_lives=HalfLives(100, 1e12)) for _ in range(2))
        among.hear("ann", 1, Evidence("confusion", 3, 5_000, {("cat", 0, "cat"): 3.0}))
        for made in (alone, among):
            give(made, task(), "ann", "cat")
        assert alone.labelers["ann"].forgetting.clock == pytest.approx(0.01)
        assert among.labelers["ann"].forgetting.clock == pytest.approx(0.04)
