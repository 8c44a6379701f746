"""Reviews between being read and being applied."""

from __future__ import annotations

import random
from typing import cast

from schemas.events import ReviewEvent
from schemas.rows import StateRow
from streams.sinks.sink import MemorySink
from streams.state.journal import Journal, Noted
from tests.builders import finished, make_pipeline, records, review, score_all
from tests.builders import restored as restored_pipeline


def event(**overrides: object) -> ReviewEvent:
    return ReviewEvent.model_validate(review(**overrides))


def everything(noted: Noted) -> bool:
    return True


def nothing(noted: Noted) -> bool:
    return False


def stored(journal: Journal, sink: MemorySink) -> None:
    finished(sink.write({"state": journal.changes()}))


def restored(sink: MemorySink, *, seed: int = 0) -> Journal:
    journal = Journal("app", 3)
    rows = cast(list[StateRow], sink.rows("state"))
    random.Random(seed).shuffle(rows)
    for row in rows:
        journal.restore(row)
    return journal


def test_a_review_is_taken_once_it_is_ready_and_not_before() -> None:
    journal = Journal("app", 3)
    journal.note(7, event(), watermark_ms=5)
    assert journal.take_ready() == []
    journal.make_ready(nothing)
    assert journal.take_ready() == []
    journal.make_ready(everything)
    (noted,) = journal.take_ready()
    assert (noted.offset, noted.review, noted.watermark_ms) == (7, event(), 5)
    assert journal.take_ready() == [], "once"


def test_what_is_ready_stays_ready() -> None:
    journal = Journal("app", 3)
    journal.note(7, event(), watermark_ms=5)
    journal.make_ready(everything)
    journal.make_ready(nothing)
    assert len(journal.take_ready()) == 1


def test_each_stage_survives_a_restart() -> None:
    journal, sink = Journal("app", 3), MemorySink()
    hostile = event(task_id='["p","t"]', labeler_id="null\x00byte", true_label={"kind": "class", "value": "漢字 🦉"})
    journal.note(7, hostile, watermark_ms=5)
    stored(journal, sink)
    assert restored(sink).noted == {7: Noted(7, hostile, 5)}
    journal.make_ready(everything)
    stored(journal, sink)
    assert restored(sink).noted == {7: Noted(7, hostile, 5, is_ready=True)}
    journal.take_ready()
    journal.count_applied()
    assert restored(sink).noted == {7: Noted(7, hostile, 5, is_ready=True)}, "applied after the checkpoint: again"
    stored(journal, sink)
    assert (restored(sink).noted, restored(sink).applied) == ({}, 1)
    assert sink.rows("state", kind="review") == [], "nothing is left behind"


def test_an_earlier_stage_never_replaces_a_later_one() -> None:
    """A worker that lost its partition may write late."""
    journal, late, sink = Journal("app", 3), Journal("app", 3), MemorySink()
    for one in (journal, late):
        one.note(7, event(), watermark_ms=5)
    journal.make_ready(everything)
    journal.take_ready()
    stored(journal, sink)
    stored(late, sink)
    assert sink.rows("state", kind="review") == []


def test_reviews_are_restored_in_the_order_of_their_offsets() -> None:
    journal, sink = Journal("app", 3), MemorySink()
    for offset in (2, 9, 10, 100):
        journal.note(offset, event(reviewer_id=f"r-{offset}"), watermark_ms=0)
    journal.make_ready(everything)
    stored(journal, sink)
    for seed in range(5):
        assert [noted.offset for noted in restored(sink, seed=seed).take_ready()] == [2, 9, 10, 100]


def test_changes_are_told_once() -> None:
    journal = Journal("app", 3)
    assert journal.changes() == []
    journal.note(7, event(), watermark_ms=5)
    assert len(journal.changes()) == 1
    assert journal.changes() == []
    journal.make_ready(nothing)
    assert journal.changes() == []


def test_a_waiting_review_is_looked_up_once_by_whomever() -> None:
    """What the lookup found is stored by the same checkpoint: to look again, later, would find something else."""
    pipeline, sink = make_pipeline(partition=3), MemorySink()
    score_all(pipeline, records([review()]), sink, "reviews")
    assert pipeline.wanted_tasks() == {}
    assert restored_pipeline(pipeline, sink).wanted_tasks() == {}
