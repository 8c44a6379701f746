"""A task: which answers stand, which of them vote, and what is known of its truth."""

from __future__ import annotations

import itertools

import pytest

from detectors import consensus
from detectors.consensus import MAX_VOTES, Answer, LabelSpace, Task, Truth, shared
from tests.builders import answered


def test_the_label_submitted_last_stands_whatever_arrives_last() -> None:
    revisions = [("ana", "cat", 1_000), ("ana", "dog", 2_000), ("ana", "emu", 3_000)]
    for order in itertools.permutations(revisions):
        seen = answered(*order)
        assert seen.answers == {"ana": Answer("emu", 3_000, "acme")}
        assert seen.last_submitted_ms == 3_000


def test_labels_of_one_moment_stand_in_one_order() -> None:
    for order in itertools.permutations([("ana", "cat", 5), ("ana", "dog", 5), ("ana", None, 5)]):
        assert answered(*order).answers["ana"].label == "dog"


def test_who_stands_no_more_is_told() -> None:
    seen = Task("animals", "t-1", "image_class")
    first, second, stale = Answer("cat", 2), Answer("dog", 3), Answer("emu", 1)
    assert seen.stand("ana", first) is None
    assert seen.stand("ana", second) is first, "replaced"
    assert seen.stand("ana", stale) is stale, "it never stood"
    assert seen.answers == {"ana": second}


def test_free_text_casts_no_vote() -> None:
    seen = answered(("ana", "cat", 1), ("bob", None, 2), ("cy", "dog", 3))
    assert [name for name, _ in seen.votes()] == ["ana", "cy"]


def test_what_can_be_compared_is_never_replaced_by_what_cannot() -> None:
    """Else her class would be in nobody's votes, and still in what is known of her."""
    for order in itertools.permutations([("ana", "cat", 1), ("ana", None, 2), ("ana", "dog", 0)]):
        assert answered(*order).answers["ana"].label == "cat"
    seen = answered(("ana", None, 9), ("ana", "cat", 1))
    assert [name for name, _ in seen.votes()] == ["ana"]


@pytest.mark.parametrize("free", [0, 5])
def test_the_latest_to_arrive_vote(free: int) -> None:
    count = MAX_VOTES + 10
    seen = answered(*[(f"l-{i}", "cat", 1_000 - i) for i in range(count)], *[(f"f-{i}", None) for i in range(free)])
    assert [name for name, _ in seen.votes()] == [f"l-{i}" for i in range(10, count)], "in order of arrival"
    seen.stand("l-0", Answer("dog", 2_000))
    assert [name for name, _ in seen.votes()] == [*[f"l-{i}" for i in range(11, count)], "l-0"]


def test_duplicate_replay_and_revision_are_three_things() -> None:
    seen = answered()
    assert not seen.is_duplicate(7, offset=10)
    assert not seen.is_duplicate(7, offset=10), "the same offset: a replay"
    assert seen.is_duplicate(7, offset=11)
    assert not seen.is_duplicate(8, offset=12), "another event: a revision"


class TestTruth:
    def test_the_greatest_rank_stands_whatever_comes_last(self) -> None:
        truths = [Truth("cat", "gold", 1), Truth("dog", "gold", 3), Truth("emu", "gold", 2)]
        for order in itertools.permutations(truths):
            seen = answered()
            for truth in order:
                seen.know(truth)
            assert seen.truth == Truth("dog", "gold", 3)

    def test_a_review_is_a_later_look_than_any_gold(self) -> None:
        for order in itertools.permutations([Truth("cat", "gold", 9), Truth("dog", "review", 1)]):
            seen = answered()
            for truth in order:
                seen.know(truth)
            assert seen.truth is not None
            assert seen.truth.source == "review"

    def test_whether_it_changed_anything_is_told(self) -> None:
        seen = answered()
        assert seen.know(Truth("cat", "gold", 5))
        assert not seen.know(Truth("cat", "gold", 5)), "a replay"
        assert not seen.know(Truth("dog", "gold", 4)), "an older one"
        assert seen.know(Truth("cat", "gold", 6))

    def test_what_was_refused_is_a_set(self) -> None:
        for order in itertools.permutations(["cat", "dog", "cat"]):
            seen = answered()
            assert [seen.refute(label) for label in order].count(True) == 2
            assert seen.refuted == ("cat", "dog")


def test_a_label_space_is_a_project_and_a_task_type() -> None:
    assert answered().space == LabelSpace("animals", "image_class")
    assert answered(task_id="t-2").space == answered().space


def test_equal_strings_are_one() -> None:
    assert shared("".join(["a", "na"])) is shared("".join(["an", "a"]))


def test_a_runaway_task_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "MAX_ANSWERS", 10)
    seen = answered()
    for i in range(100):
        assert not seen.is_duplicate(i, offset=i)
        seen.stand(f"labeler-{i}", Answer("cat", i))
    assert list(seen.answers) == [f"labeler-{i}" for i in range(90, 100)]
    assert len(seen.event_offsets) == 10
    assert seen.is_duplicate(95, offset=200)
    assert not seen.is_duplicate(5, offset=201), "forgotten: the price of the bound"
