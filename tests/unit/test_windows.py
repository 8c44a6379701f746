"""Windows: what closes when, and what an observation adds."""

from __future__ import annotations

import pytest

from detectors import windows
from detectors.agreement import unit_contribution
from detectors.sketches import bucket
from detectors.windows import OTHER, IntervalOutcome, Observation, Partial, WindowKey, Windows

SEGMENT = ("animals", "image_class", "acme")


def opened(*, out_of_order_ms: int = 10_000, lateness_ms: int = 60_000) -> Windows:
    return Windows(width_ms=60_000, out_of_order_ms=out_of_order_ms, lateness_ms=lateness_ms)


def seen(**overrides: object) -> Observation:
    base = Observation("t-1", "ana", ("cat",), 20_000_000, None, None, None, False)
    return base._replace(**overrides)  # type: ignore[arg-type]  # the tests' own fields


def interval_sums(partial: Partial) -> tuple[int, ...]:
    return (
        partial.interval_seen,
        partial.covered_50,
        partial.covered_90,
        partial.width_90_log_micro,
        partial.n_too_fast,
        partial.n_too_slow,
        partial.n_time_flagged,
    )


class TestWatermark:
    def test_follows_the_latest_event_and_never_goes_back(self) -> None:
        made = opened()
        for event_ms, expected in ((100_000, 90_000), (50_000, 90_000), (100_001, 90_001)):
            made.advance(event_ms)
            assert made.watermark_ms == expected

    @pytest.mark.parametrize(("watermark", "late"), [(59_999, False), (60_000, True)])
    def test_a_window_is_late_once_the_watermark_has_passed_its_end(self, watermark: int, late: bool) -> None:
        made = opened(out_of_order_ms=0)
        made.advance(watermark)
        assert made.is_late(made.key(SEGMENT, 59_999)) is late

    @pytest.mark.parametrize(("event_ms", "start_ms"), [(0, 0), (59_999, 0), (60_000, 60_000), (-1, -60_000)])
    def test_windows_are_half_open(self, event_ms: int, start_ms: int) -> None:
        assert opened().key(SEGMENT, event_ms) == WindowKey(start_ms, *SEGMENT)


class TestClosing:
    def test_untouched_for_the_lateness_in_event_time(self) -> None:
        made = opened(out_of_order_ms=0)
        made.advance(1_000)
        made.touch(WindowKey(0, *SEGMENT), offset=0)
        made.advance(60_999)
        assert list(made.close()) == []
        made.advance(61_000)
        assert [key.start_ms for key, _ in made.close()] == [0]
        assert len(made) == 0

    def test_a_touch_keeps_open_and_keeps_the_first_offset(self) -> None:
        made = opened(out_of_order_ms=0)
        first = made.touch(WindowKey(0, *SEGMENT), offset=3)
        made.touch(WindowKey(60_000, *SEGMENT), offset=4)
        made.advance(50_000)
        assert made.touch(WindowKey(0, *SEGMENT), offset=5) is first
        assert first.first_offset == 3
        made.advance(60_000)
        assert [key.start_ms for key, _ in made.close()] == [60_000], "the one touched longest ago"

    def test_a_late_touch_opens_another_partial(self) -> None:
        made = opened(out_of_order_ms=0)
        made.touch(WindowKey(0, *SEGMENT), offset=0)
        made.advance(500_000)
        assert len(list(made.close())) == 1
        assert made.touch(WindowKey(0, *SEGMENT), offset=9).first_offset == 9

    def test_one_that_can_hold_no_more_is_closed_early(self) -> None:
        made, key = opened(), WindowKey(0, *SEGMENT)
        full = made.touch(key, offset=3)
        made.close_early(key)
        assert made.open_keys() == []
        assert made.touch(key, offset=4) is not full

    def test_the_cap_closes_the_excess(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(windows, "MAX_OPEN_PARTIALS", 3)
        made = opened()
        for i in range(5):
            made.touch(WindowKey(i * 60_000, *SEGMENT), offset=i)
        assert [key.start_ms for key, _ in made.close()] == [0, 60_000]
        assert len(made) == 3


class TestPartial:
    def test_an_observation_adds_to_every_measure(self) -> None:
        partial = Partial(5, 4, 0)
        partial.add(seen(gold_correct=True, agrees=False, forecast_microseconds=25_000_000), offset=5, late=True)
        partial.add(seen(labeler_id="bob", gold_correct=False, revision=True), offset=6, late=False)
        partial.add_duplicate(7)
        assert (partial.first_offset, partial.last_offset) == (5, 7)
        assert (partial.annotations, partial.revisions, partial.duplicates, partial.late) == (2, 1, 1, 1)
        assert (partial.gold_seen, partial.gold_right) == (2, 1)
        assert (partial.consensus_seen, partial.consensus_agreed) == (1, 0)
        assert partial.handling_microseconds == 40_000_000
        assert partial.handling_sketch == {bucket(20.0): 2}
        assert (partial.forecast_seen, partial.forecast_microseconds) == (1, 25_000_000)
        assert partial.forecast_error_microseconds == 5_000_000
        assert (partial.tasks.estimate(), partial.labelers.estimate()) == (1, 2)
        assert partial.label_histogram == {"cat": 2}

    def test_intervals_are_counted_where_there_are_any(self) -> None:
        partial = Partial(5, 4, 0)
        partial.add(seen(), offset=5, late=False)
        assert interval_sums(partial) == (0, 0, 0, 0, 0, 0, 0)
        usual = IntervalOutcome(True, True, 1_386_294, too_fast=False, too_slow=False)
        quick = IntervalOutcome(False, False, 2_000_001, too_fast=True, too_slow=False)
        slow = IntervalOutcome(False, True, 3_000_000, too_fast=False, too_slow=True)
        for offset, interval in enumerate((usual, quick, slow, usual), 6):
            partial.add(seen(interval=interval, time_flagged=interval is slow), offset=offset, late=False)
        partial.add(seen(time_flagged=True), offset=10, late=True)
        assert interval_sums(partial) == (4, 2, 3, 7_772_589, 1, 1, 2)
        partial.correct(11, gold_seen=1, gold_right=-1)
        assert interval_sums(partial) == (4, 2, 3, 7_772_589, 1, 1, 2), "no truth changes how long it took"

    def test_an_included_offset_changes_nothing(self) -> None:
        partial = Partial(5, 4, 0)
        partial.add(seen(), offset=5, late=False)
        partial.add_duplicate(6)
        before = repr(partial)
        for offset in (4, 5, 6):
            interval = IntervalOutcome(True, True, 1, too_fast=True, too_slow=True)
            again = seen(labeler_id="new", classes=("emu",), interval=interval, time_flagged=True)
            partial.add(again, offset=offset, late=True)
            partial.add_duplicate(offset)
        assert repr(partial) == before

    def test_a_correction_may_be_negative_and_is_no_annotation(self) -> None:
        partial = Partial(5, 4, 0)
        partial.correct(9, gold_seen=1, consensus_agreed=-1)
        partial.correct(9, gold_seen=1, gold_right=1, consensus_seen=1)  # of another answer, by the same truth
        assert (partial.gold_seen, partial.gold_right, partial.consensus_seen, partial.consensus_agreed) == (
            2,
            1,
            1,
            -1,
        )
        assert (partial.annotations, partial.last_offset) == (0, 9)

    def test_agreement_is_added_and_taken_back(self) -> None:
        partial, unit = Partial(5, 4, 0), unit_contribution({"cat": 2, "dog": 1})
        partial.agree(6, unit, 1)
        assert (partial.agreement.units, partial.agreement.values, partial.last_offset) == (1, 3, 6)
        partial.agree(7, unit, -1)
        assert (partial.agreement.is_empty, partial.last_offset) == (True, 7)

    def test_a_free_for_all_label_set_stays_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(windows, "MAX_HISTOGRAM_LABELS", 3)
        partial = Partial(0, -1, 0)
        for offset, name in enumerate(["a", "b", "c", "d", "e", "a"]):
            partial.add(seen(classes=(name,)), offset=offset, late=False)
        assert partial.label_histogram == {"a": 2, "b": 1, "c": 1, OTHER: 2}
