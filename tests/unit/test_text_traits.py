"""Traits of free-text answers: what each sees, and where there is nothing to see."""

from __future__ import annotations

import pytest

from detectors.text_traits import EARLIER, Given, likeness, pace, repetition, shape, shingles, told, wording


def given(*texts: str, labeler: str = "ann", task: str | None = None) -> list[Given]:
    return [Given(labeler, "v", task or f"t{at}", text) for at, text in enumerate(texts)]


def test_repetition_is_of_words_whatever_the_case_and_marks() -> None:
    columns = repetition(given("A dog runs.", "a DOG runs", "a dog sleeps", "A dog runs!"))
    assert columns["repeated"] == [None, 1.0, 0.0, 1.0]


def test_the_same_answer_to_the_same_task_repeats_nothing() -> None:
    columns = repetition(given("a dog", "a dog", "a dog", task="t"))
    assert columns == {"repeated": [None] * 3, "near": [None] * 3, "told": [None] * 3}


def test_others_are_not_repeated() -> None:
    answers = given("a dog", labeler="ann") + given("x", "a dog", labeler="bob")
    assert repetition(answers)["repeated"] == [None, None, 0.0]


def test_near_repetition_is_of_the_most_alike_of_the_latest_answers() -> None:
    other = [f"{letter * 9} {letter * 8}" for letter in "bcdefghijklmnopqrstuvwxyz"]
    column = repetition(given("a man on a red horse", *other[:3], "a man on a red house"))["near"]
    assert column[1:4] == [0.0, 0.0, 0.0]
    assert column[4] == likeness(shingles("a man on a red horse"), shingles("a man on a red house")) > 0.5
    forgotten = repetition(given("a man on a red horse", *other[:EARLIER], "a man on a red house"))["near"]
    assert forgotten[-1] == 0.0


def test_what_repeats_is_less_news_also_where_it_is_short() -> None:
    sentence = "a man in a yellow raincoat waits for the light to change"
    assert told(sentence, [sentence]) < 0.3 < 0.9 < told(sentence, ["zwei Hunde spielen im Schnee"])
    assert told("nice picture", ["nice picture"]) < told("a brown dog", ["nice picture"])
    assert told("", ["nice picture"]) == 1.0


def test_shape_of_texts() -> None:
    columns = shape(given("AAAA bc 12!", ""))
    assert columns["upper"] == [4 / 11, 0.0]
    assert columns["digits"] == [2 / 11, 0.0]
    assert columns["marks"] == [1 / 11, 0.0]
    assert columns["longest_run"][0] == columns["longest_word"][0] == pytest.approx(1.609, abs=1e-3)
    assert columns["length"][1] == 0.0


def test_words_that_nobody_else_uses_are_strange() -> None:
    answers = given("a dog", labeler="ann") + given("a dog", labeler="bob") + given("qwx zrk", labeler="eve")
    ann, bob, eve = wording(answers)["strange"]
    assert ann == bob == pytest.approx(0.405, abs=1e-3)
    assert eve == pytest.approx(1.099, abs=1e-3)


def test_words_shared_are_those_of_others_on_the_task() -> None:
    answers = [
        Given("ann", "v", "t1", "a dog"),
        Given("bob", "v", "t1", "a dog"),
        Given("eve", "v", "t1", "a cat"),
        Given("ann", "v", "t2", "a cat"),
        Given("dan", "v", "t3", "sun"),
        Given("dan", "v", "t3", "sun"),
    ]
    shared = wording(answers)["shared"]
    assert shared[:2] == [1.0, 1.0]
    assert shared[2] is not None
    assert 0.2 < shared[2] < 0.5, "only the article is shared, and it weighs less than the noun"
    assert shared[3:] == [None, None, None], "nobody else was on the task: answering twice shares nothing"


def test_without_words_there_is_nothing_to_say_of_them() -> None:
    answers = given("!!!", labeler="ann") + given("...", labeler="bob")
    assert wording(answers) == {"strange": [None, None], "shared": [None, None]}


def test_pace_only_where_there_is_a_time() -> None:
    answers = [
        Given("ann", "v", "t1", "x" * 19, seconds=2.0, p_value=0.02),
        Given("ann", "v", "t2", "x" * 19, seconds=20.0, p_value=0.5),
        Given("ann", "v", "t3", "x" * 19, seconds=0.0),
        Given("ann", "v", "t4", "x" * 19),
    ]
    columns = pace(answers)
    assert columns["too_fast"] == [1.0, 0.0, None, None]
    assert columns["typing"] == [pytest.approx(2.303, abs=1e-3), 0.0, None, None]
