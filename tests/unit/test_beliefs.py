"""Beliefs: which model a label space gets, what truth does to confidence, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.beliefs import LEARNED_AT, Beliefs, Guideline, Outcome
from detectors.consensus import NOTHING, Answer, LabelSpace, Task, Truth
from detectors.evidence import Evidence
from detectors.forgetting import HalfLives

HALF_LIVES = HalfLives(1_000, 90)
SPACE = LabelSpace("animals", "image_class")


def beliefs(**settings: Any) -> Beliefs:
    return Beliefs(HALF_LIVES, **settings)


def task(number: int = 0) -> Task:
    return Task(*SPACE[:1], f"t-{number}", SPACE.task_type)


def give(made: Beliefs, one: Task, labeler: str, label: str | None, at_ms: int = 1_000, kind: str = "class") -> Any:
    return made.answer(one, labeler, Answer(label, at_ms), kind)


def three(made: Beliefs, number: int = 0) -> Task:
    one = task(number)
    for name, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog")):
        give(made, one, name, label)
    return one


class TestForms:
    @pytest.mark.parametrize(
        ("kind", "guideline", "form"),
        [
            ("class", Guideline(), "confusion"),
            ("class", Guideline(classes=("a", "b", "c")), "confusion"),
            ("class", Guideline(classes=("a", "b", "c", "d")), "one_coin"),
            ("multiclass", Guideline(), "one_coin"),
            ("rating", Guideline(), "rating"),
            ("class", Guideline(subjective=True), "subjective"),
            ("rating", Guideline(subjective=True), "subjective"),
        ],
    )
    def test_a_label_space_gets_its_model_by_kind_and_guideline(
        self, kind: str, guideline: Guideline, form: str
    ) -> None:
        made = beliefs(max_classes=3, guidelines={"animals": guideline})
        give(made, task(), "ann", "3" if kind == "rating" else "a", kind=kind)
        assert made.models[SPACE].form == form

    def test_projects_and_task_types_have_models_of_their_own(self) -> None:
        made = beliefs()
        for project, task_type in (("a", "x"), ("a", "y"), ("b", "x")):
            give(made, Task(project, "t", task_type), "ann", "cat")
        assert len(made.models) == 3

    def test_one_class_too_many_is_the_end_of_the_matrix(self) -> None:
        made = beliefs(max_classes=3)
        before = three(made)
        one = task(1)
        for number, label in enumerate(("emu", "fox")):
            assert made.models[SPACE].form == "confusion"
            give(made, one, f"l-{number}", label)
        assert made.models[SPACE].form == "one_coin"
        assert made.belief(before).label == "cat"
        give(made, before, "dee", "dog")
        give(made, before, "eve", "dog")
        assert made.belief(before).label == "dog", "the open task goes on"
        told = {name: model.evidence(name) for _, name, model in made.take_changed()}
        assert {evidence.form for evidence in told.values()} == {"one_coin"}
        assert {"ann", "bob", "cy", "l-0", "l-1"} <= told.keys()

    def test_one_partition_that_has_seen_too_many_classes_takes_the_others_along(self) -> None:
        made = beliefs()
        one = three(made)
        made.hear(SPACE, "zoe", 1, Evidence("one_coin", 9, 1, {("right", 0, "right"): 9.0}))
        assert (made.models[SPACE].form, made.belief(one).label) == ("one_coin", "cat")

    def test_a_space_that_only_others_know_is_made_in_their_form(self) -> None:
        made = beliefs()
        assert made.accuracy(SPACE, "ann") is None
        made.hear(SPACE, "ann", 1, Evidence("confusion", 99, 1, {("cat", 0, "cat"): 90.0}))
        accuracy = made.accuracy(SPACE, "ann")
        assert accuracy is not None
        assert accuracy > 0.9

    def test_free_text_is_not_compared_with_anything(self) -> None:
        made = beliefs()
        assert not made.is_comparable(SPACE, "text")
        assert not made.is_comparable(SPACE, "span")
        assert made.is_comparable(SPACE, "class")
        give(made, task(), "ann", "3", kind="rating")
        assert (made.is_comparable(SPACE, "rating"), made.is_comparable(SPACE, "class")) == (True, False)


class TestAnswers:
    def test_an_earlier_answer_that_comes_late_changes_nothing(self) -> None:
        made = beliefs()
        one = three(made)
        before = (made.belief(one), made.models[SPACE].dump_labeler("ann"))
        give(made, one, "ann", "dog", at_ms=0)
        assert (made.belief(one), made.models[SPACE].dump_labeler("ann")) == before

    def test_free_text_is_nothing_to_believe(self) -> None:
        made, one = beliefs(), task()
        give(made, one, "ann", None, kind="text")
        assert (made.belief(one), made.confidence(one), made.consensus(one)) == (NOTHING, 0.0, None)
        assert made.models == {}

    def test_who_adds_free_text_still_votes(self) -> None:
        made = beliefs()
        one = three(made)
        before = made.models[SPACE].dump_labeler("bob")
        assert give(made, one, "bob", None, at_ms=2_000, kind="text") is None
        assert made.belief(one).label == "cat"
        assert made.models[SPACE].dump_labeler("bob") == before

    def test_the_others_consensus(self) -> None:
        made = beliefs()
        one = three(made)
        assert made.consensus(one) == "cat"
        give(made, one, "dee", "dog")
        assert made.consensus(one, without="cy") == "cat"
        assert made.consensus(one, without="ann") == "dog"
        made.know(one, Truth("emu", "review", 9))
        assert made.consensus(one, without="ann") == "emu", "what is known needs nobody"


class TestTruth:
    def test_an_outcome_is_what_was_believed_before(self) -> None:
        made = beliefs()
        one = three(made)
        belief, confidence = made.belief(one), made.confidence(one)
        truth = Truth("dog", "review", 9)
        assert made.know(one, truth) == Outcome(belief, confidence, truth, is_right=False, labels=3)
        assert (made.belief(one).label, made.confidence(one)) == ("dog", 1.0)
        assert [made.forecast(one, name)[1] for name in ("ann", "cy", "nobody")] == [0.0, 1.0, None]
        assert made.is_confidence_changed

    def test_known_already_it_is_no_outcome_again(self) -> None:
        made = beliefs()
        one = three(made)
        assert made.know(one, Truth("dog", "review", 9)) is not None
        assert made.know(one, Truth("dog", "review", 9)) is None, "a replay"
        assert made.know(one, Truth("dog", "gold", 99)) is None, "of less rank"
        assert made.know(one, Truth("cat", "review", 10)) is None, "corrected: it was no forecast"
        assert made.belief(one).label == "cat"

    def test_of_a_task_without_answers_nothing_was_believed(self) -> None:
        made = beliefs()
        three(made)
        assert made.know(task(1), Truth("dog", "review", 9)) is None
        assert beliefs().know(task(), Truth("dog", "review", 9)) is None, "nor in an unknown space"

    def test_answers_to_a_task_whose_truth_is_known_are_forecasts_now_and_then(self) -> None:
        made, one = beliefs(), task()
        one.know(Truth("cat", "gold", 0))
        told = [give(made, one, f"l-{number}", "cat") is not None for number in range(1, 15)]
        assert {number for number, is_told in enumerate(told, 1) if is_told} == {n for n in LEARNED_AT if n < 15}

    def test_confidence_learns_from_truth(self) -> None:
        made = beliefs()
        before = made.confidence(three(made))
        for number in range(1, 60):
            made.know(three(made, number), Truth("dog" if number % 2 else "cat", "review", 9))
        assert made.confidence(three(made, 99)) < before - 0.1

    def test_a_refused_label_is_out_and_is_no_outcome(self) -> None:
        made = beliefs()
        one = three(made)
        made.refute(one, "cat")
        assert made.belief(one).label == "dog"
        assert 0.0 < made.confidence(one) < 1.0
        assert not made.is_confidence_changed

    def test_closing_looks_once_more_with_what_is_known_by_now(self) -> None:
        made = beliefs()
        early = three(made)
        for number in range(1, 200):
            one = three(made, number)
            made.know(one, Truth("dog", "review", 9))  # ann and bob are always wrong
        assert made.belief(early).label == "cat"
        made.close(early)
        assert made.belief(early).label == "dog"


class TestTold:
    def test_changes_are_told_once(self) -> None:
        made = beliefs()
        three(made)
        assert [(space, name) for space, name, _ in made.take_changed()] == [(SPACE, n) for n in ("ann", "bob", "cy")]
        assert list(made.take_changed()) == []
        give(made, task(1), "ann", "cat")
        assert [name for _, name, _ in made.take_changed()] == ["ann"]

    def test_what_is_heard_is_not_told_back(self) -> None:
        made = beliefs()
        three(made)
        list(made.take_changed())
        made.hear(SPACE, "ann", 1, Evidence("confusion", 99, 1, {("cat", 0, "cat"): 90.0}))
        assert list(made.take_changed()) == []
        assert made.models[SPACE].evidence("ann").weight == pytest.approx(1.0)
