"""The consensus on a task."""

from __future__ import annotations

import itertools

import pytest

from detectors import consensus
from detectors.consensus import Answer, Task


def task(*answers: tuple[str, str, int]) -> Task:
    made = Task("animals", "t-1", "image_class")
    for labeler, label, at in answers:
        made.answer(labeler, label, at)
    return made


def test_agreement_is_with_the_others_only() -> None:
    seen = task()
    assert seen.answer("ana", "cat", 1) is None, "nobody to agree with"
    assert seen.answer("ana", "cat", 2) is None, "herself does not count"
    assert seen.answer("bob", "dog", 3) is False
    assert seen.answer("ana", "dog", 4) is True, "her own cat does not count against her"
    assert seen.answer("cy", "dog", 5) is True


def test_majority_and_its_share() -> None:
    assert task(("a", "cat", 1), ("b", "dog", 1), ("c", "dog", 1)).consensus() == ("dog", 2 / 3)
    assert task().consensus() == (None, 0.0)


def test_a_tie_goes_to_the_label_that_sorts_first() -> None:
    for answers in itertools.permutations([("a", "dog", 1), ("b", "cat", 1), ("c", "emu", 1)]):
        assert task(*answers).consensus() == ("cat", 1 / 3)


def test_the_label_submitted_last_stands_whatever_arrives_last() -> None:
    revisions = [("ana", "cat", 1_000), ("ana", "dog", 2_000), ("ana", "emu", 3_000)]
    for order in itertools.permutations(revisions):
        seen = task(*order)
        assert seen.answers == {"ana": Answer("emu", 3_000)}
        assert seen.consensus() == ("emu", 1.0)
        assert seen.last_submitted_ms == 3_000


def test_labels_of_one_moment_stand_in_one_order() -> None:
    for order in itertools.permutations([("ana", "cat", 5), ("ana", "dog", 5)]):
        assert task(*order).answers["ana"].label == "dog"


def test_free_text_has_no_consensus() -> None:
    seen = task()
    assert seen.answer("ana", None, 1) is None
    assert seen.answer("bob", None, 2) is None
    assert seen.consensus() == (None, 0.0)
    assert not seen.has_votes


def test_free_text_among_classes_casts_no_vote() -> None:
    seen = task(("ana", "cat", 1), ("bob", "cat", 2), ("cy", "dog", 3))
    assert seen.answer("dee", None, 4) is None
    assert seen.consensus() == ("cat", 2 / 3)
    assert seen.answer("ana", None, 5) is None, "her class is taken back"
    assert seen.consensus() == ("cat", 1 / 2)


def test_duplicate_replay_and_revision_are_three_things() -> None:
    seen = task()
    assert not seen.is_duplicate(7, offset=10)
    assert not seen.is_duplicate(7, offset=10), "the same offset: a replay"
    assert seen.is_duplicate(7, offset=11)
    assert not seen.is_duplicate(8, offset=12), "another event: a revision"


def test_gold_submitted_last_stands() -> None:
    for order in itertools.permutations([Answer("cat", 1), Answer("dog", 3), Answer("emu", 2)]):
        seen = task()
        for gold in order:
            seen.settle(gold)
        assert seen.gold == Answer("dog", 3)


def test_a_runaway_task_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "MAX_ANSWERS", 10)
    seen = task()
    for i in range(100):
        assert not seen.is_duplicate(i, offset=i)
        seen.answer(f"labeler-{i}", "cat" if i < 95 else "dog", i)
    assert list(seen.answers) == [f"labeler-{i}" for i in range(90, 100)]
    assert len(seen.event_offsets) == 10
    assert seen.consensus() == ("cat", 0.5), "what was forgotten has no vote"
    assert seen.is_duplicate(95, offset=200)
    assert not seen.is_duplicate(5, offset=201), "forgotten: the price of the bound"
