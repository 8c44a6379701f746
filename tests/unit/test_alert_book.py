"""The life of alerts, one rule of it at a time."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.book import REPEAT_MS, AlertBook
from detectors.alerts.family import FAMILIES
from detectors.alerts.inhibition import is_broader
from detectors.alerts.quiet import quiet_until_ms
from detectors.metrics_registry import METRICS
from schemas.schedule import Schedule
from schemas.thresholds import Rule
from schemas.verdicts import Verdict, VerdictKind, Verdicts
from tests.alerts import DAY, HOUR, MINUTE, T0, batch, figures, rule, scope, verdict


class Story:
    """A book, and verdicts numbered as they come; what comes of them, but for looking again."""

    def __init__(self, of: Rule | None = None) -> None:
        self.book = AlertBook("labelwatch")
        self.rule = of or rule()
        self._number = 0

    def say(
        self, kind: VerdictKind, at: int, of: Rule | None = None, on: Any = None, seen_since: int | None = None
    ) -> list[Transition]:
        self._number += 1
        told = self.book.take(batch(verdict(self._number, kind, at, of or self.rule, on, seen_since=seen_since)))
        return [one for one in told if one.change != "looked"]

    def wait(self, clock: int) -> list[Transition]:
        return [one for one in self.book.take(batch(clock=clock)) if one.change != "looked"]


def brief(transitions: list[Transition]) -> list[tuple[str, str | None]]:
    return [(one.change, one.notice) for one in transitions]


def only(book: AlertBook) -> Alert:
    (alert,) = book.open
    return alert


def test_fires_and_ends() -> None:
    story = Story()
    assert brief(story.say("breach", T0)) == [("fired", "firing")]
    ended = story.say("recovered", T0 + HOUR)
    assert brief(ended) == [("resolved", "resolved")]
    assert (ended[0].alert.resolved_ms, ended[0].alert.ended, ended[0].alert.state) == (
        T0 + HOUR,
        "recovered",
        "resolved",
    )
    assert story.book.open == []


def test_waits_for_as_long_as_the_rule_asks() -> None:
    story = Story(rule(**{"for": "5m"}))
    assert brief(story.say("breach", T0)) == [("pending", None)]
    assert story.wait(T0 + 5 * MINUTE - 1) == []
    (fired,) = story.wait(T0 + 9 * MINUTE)
    assert (fired.change, fired.notice, fired.at_ms) == ("fired", "firing", T0 + 5 * MINUTE)
    assert (fired.alert.began_ms, fired.alert.fired_ms) == (T0, T0 + 5 * MINUTE)


def test_what_is_over_before_it_fires_is_not_told() -> None:
    story = Story(rule(**{"for": "5m"}))
    story.say("breach", T0)
    assert brief(story.say("recovered", T0 + MINUTE)) == [("calmed", None)]
    assert story.wait(T0 + HOUR) == []


@pytest.mark.parametrize("kind", ["recovered", "withdrawn", "new_level", "dropped"])
def test_what_ends_an_alert(kind: VerdictKind) -> None:
    story = Story()
    story.say("breach", T0)
    (ended,) = story.say(kind, T0 + HOUR)
    assert (ended.notice, ended.alert.ended) == ("resolved", kind)


@pytest.mark.parametrize(("no_data", "changes"), [("ok", ["resolved"]), ("keep", []), ("alert", ["fired"])])
def test_silence_means_what_the_rule_says(no_data: str, changes: list[str]) -> None:
    story = Story(rule(no_data=no_data))
    story.say("breach", T0)
    assert [one.change for one in story.say("silent", T0 + HOUR)] == changes
    if no_data == "alert":
        assert [alert.about for alert in story.book.open] == ["change", "no_data"]
        assert len({alert.alert_id for alert in story.book.open}) == 2
        (ended,) = story.say("speaking", T0 + 2 * HOUR)
        assert (ended.alert.about, ended.alert.ended, ended.alert.figures) == ("no_data", "speaking", None)


@pytest.mark.parametrize(("between", "told"), [(None, [("fired", "firing")]), ("recovered", [])])
def test_a_breach_that_silence_ended_fires_again_with_the_first_value(between: Any, told: Any) -> None:
    story = Story(rule(no_data="ok"))
    story.say("breach", T0)
    story.say("silent", T0 + HOUR)
    if between:
        story.say(between, T0 + 90 * MINUTE)
    assert brief(story.say("speaking", T0 + 2 * HOUR)) == told
    if told:
        again = only(story.book)
        assert (again.began_ms, again.figures and again.figures.level) == (T0 + 2 * HOUR, 0.8)
    story.say("recovered", T0 + 3 * HOUR)
    assert story.say("speaking", T0 + 4 * HOUR) == []


def test_a_changed_rule_ends_both_its_alerts() -> None:
    story = Story(rule(no_data="alert"))
    story.say("breach", T0)
    story.say("silent", T0 + HOUR)
    assert [one.alert.ended for one in story.say("dropped", T0 + 2 * HOUR)] == ["dropped", "dropped"]


def test_one_alert_a_rule_and_scope_also_when_it_gets_worse() -> None:
    story = Story()
    story.say("breach", T0)
    assert brief(story.say("breach", T0 + MINUTE)) == [("updated", None)]
    moved = scope("labeler", vendor_id="other")
    story.say("breach", T0 + 2 * MINUTE, on=scope("labeler"))
    assert brief(story.say("breach", T0 + 3 * MINUTE, on=moved)) == [("updated", None)], (
        "a labeler that changed vendors"
    )
    assert len(story.book.open) == 2
    assert moved not in [one.scope for one in story.book.open], "or Alertmanager takes it for another alert"


def test_known_verdicts_change_nothing() -> None:
    book = AlertBook("labelwatch")
    first = batch(verdict(1))
    assert len(book.take(first)) == 1
    assert book.take(first) == []
    assert book.take(batch(verdict(1, "recovered", T0 + MINUTE))) == []


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_tells_again_while_it_lasts(severity: Any) -> None:
    story = Story(rule(severity=severity))
    story.say("breach", T0)
    every = REPEAT_MS[severity]
    told = story.wait(T0 + 3 * every)
    assert brief(told) == [("repeated", "repeat")] * 3
    assert [one.at_ms for one in told] == [T0 + n * every for n in (1, 2, 3)]
    assert only(story.book).told == 4


class TestFlapping:
    def story(self) -> Story:
        """Fired and ended twice, and fires again."""
        story = Story()
        for n in range(2):
            story.say("breach", T0 + n * HOUR)
            story.say("recovered", T0 + n * HOUR + 30 * MINUTE)
        story.say("breach", T0 + 2 * HOUR)
        return story

    def test_the_third_end_within_six_hours_is_none(self) -> None:
        story = self.story()
        assert brief(story.say("recovered", T0 + 2 * HOUR + MINUTE)) == [("flapping", None)]
        assert only(story.book).is_flapping
        well = T0 + 2 * HOUR + MINUTE + 4 * 30 * MINUTE
        assert story.wait(well - 1) == []
        (ended,) = story.wait(well + HOUR)
        assert (ended.change, ended.notice, ended.at_ms) == ("resolved", "resolved", well)

    def test_it_fires_on_without_a_word_when_it_comes_again(self) -> None:
        story = self.story()
        story.say("recovered", T0 + 2 * HOUR + MINUTE)
        assert brief(story.say("breach", T0 + 3 * HOUR)) == [("updated", None)]
        assert [one.change for one in story.wait(T0 + 8 * HOUR)] == [], "well is counted anew"
        story.say("recovered", T0 + 8 * HOUR)
        assert [one.at_ms for one in story.wait(T0 + 12 * HOUR)] == [T0 + 10 * HOUR]

    def test_after_it_ended_counting_begins_anew(self) -> None:
        story = self.story()
        story.say("recovered", T0 + 2 * HOUR + MINUTE)
        story.wait(T0 + 5 * HOUR)
        story.say("breach", T0 + 5 * HOUR)
        assert brief(story.say("recovered", T0 + 5 * HOUR + MINUTE)) == [("resolved", "resolved")]

    def test_ends_that_are_longer_ago_do_not_count(self) -> None:
        story = Story()
        for n in range(6):
            story.say("breach", T0 + n * 3 * HOUR)
            assert brief(story.say("recovered", T0 + n * 3 * HOUR + MINUTE)) == [("resolved", "resolved")]

    @pytest.mark.parametrize("kind", ["withdrawn", "new_level", "dropped"])
    def test_what_is_over_for_good_is_over(self, kind: VerdictKind) -> None:
        story = self.story()
        assert brief(story.say(kind, T0 + 2 * HOUR + MINUTE)) == [("resolved", "resolved")]


NIGHT = {"quiet_hours": [{"from": "22:00", "to": "06:00"}]}
TEN = T0 + 14 * HOUR
"""22:00 UTC."""


class TestQuietHours:
    def test_nobody_is_woken_before_they_end(self) -> None:
        story = Story(rule(schedule=NIGHT))
        assert brief(story.say("breach", TEN + HOUR)) == [("fired", None)]
        assert only(story.book).held == "quiet"
        assert story.wait(TEN + 8 * HOUR - 1) == []
        (told,) = story.wait(TEN + 9 * HOUR)
        assert (told.change, told.notice, told.at_ms) == ("released", "firing", TEN + 8 * HOUR)

    def test_what_is_over_by_then_is_never_told(self) -> None:
        story = Story(rule(schedule=NIGHT))
        story.say("breach", TEN + HOUR)
        assert brief(story.say("recovered", TEN + 2 * HOUR)) == [("resolved", None)]
        assert story.wait(TEN + DAY) == []

    def test_repeats_wait_too(self) -> None:
        story = Story(rule(schedule=NIGHT, severity="critical"))
        story.say("breach", TEN - HOUR)
        assert [(one.change, one.at_ms) for one in story.wait(TEN + 11 * HOUR)] == [("repeated", TEN + 8 * HOUR)]

    def test_that_never_end(self) -> None:
        always = Schedule.model_validate({"quiet_hours": [{"from": "00:00", "to": "24:00"}]})
        assert quiet_until_ms(always, T0) is None
        story = Story(rule(schedule={"quiet_hours": [{"from": "00:00", "to": "24:00"}]}))
        story.say("breach", T0)
        assert story.wait(T0 + 30 * DAY) == []


class TestInhibition:
    VENDOR = rule("vendor-gold")
    LABELER = rule("labeler-gold")

    def test_a_broader_alert_says_it(self) -> None:
        story = Story()
        story.say("breach", T0, self.VENDOR)
        (held,) = story.say("breach", T0 + MINUTE, self.LABELER, scope("labeler"))
        assert (held.change, held.notice, held.alert.held) == ("fired", None, "inhibited")
        assert held.alert.inhibited_by == next(a.alert_id for a in story.book.open if a.rule == self.VENDOR)

    def held(self) -> Story:
        """The vendor's alert is over; a labeler's that it held is not, as far as anybody knows."""
        story = Story()
        story.say("breach", T0, self.VENDOR)
        story.say("breach", T0 + MINUTE, self.LABELER, scope("labeler"))
        ended = story.say("recovered", T0 + HOUR, self.VENDOR)
        assert brief(ended) == [("resolved", "resolved"), ("held", None)]
        assert (only(story.book).held, only(story.book).inhibited_by) == ("unconfirmed", "")
        return story

    def test_what_it_held_is_told_when_it_is_confirmed(self) -> None:
        story = self.held()
        assert story.wait(T0 + 2 * DAY) == [], "it may be over, too"
        before, after = T0 + HOUR - 1, T0 + HOUR
        old = story.say("breach", T0 + 2 * DAY, self.LABELER, scope("labeler"), before)
        assert brief(old) == [("updated", None)], "of values that came while the broader alert still spoke"
        (told,) = story.say("breach", T0 + 2 * DAY + HOUR, self.LABELER, scope("labeler"), after)
        assert (told.change, told.notice, told.alert.held) == ("released", "firing", "")
        assert (told.alert.began_ms, told.alert.told) == (T0 + MINUTE, 1)
        assert brief(story.say("breach", T0 + 3 * DAY, self.LABELER, scope("labeler"))[-1:]) == [("updated", None)]

    @pytest.mark.parametrize("kind", ["recovered", "withdrawn", "new_level", "dropped"])
    def test_what_it_held_ends_without_a_word(self, kind: VerdictKind) -> None:
        assert brief(self.held().say(kind, T0 + 2 * HOUR, self.LABELER, scope("labeler"))) == [("resolved", None)]

    def test_what_is_not_confirmed_is_held_anew_by_another(self) -> None:
        story = self.held()
        story.say("breach", T0 + 2 * HOUR, self.VENDOR)
        (still,) = story.say("breach", T0 + 3 * HOUR, self.LABELER, scope("labeler"))
        assert (still.change, still.notice, still.alert.held) == ("held", None, "inhibited")

    def test_what_is_not_confirmed_holds_nothing(self) -> None:
        story = Story()
        story.say("breach", T0, self.VENDOR, scope("all"))
        story.say("breach", T0 + MINUTE, self.VENDOR)
        story.say("recovered", T0 + HOUR, self.VENDOR, scope("all"))
        (told,) = story.say("breach", T0 + 2 * HOUR, self.LABELER, scope("labeler"))
        assert (told.notice, told.alert.held) == ("firing", "")

    @pytest.mark.parametrize(
        ("first", "other", "inhibited"),
        [
            ("consensus_agreement", {}, True),
            ("gold_accuracy", {}, True),
            ("reviewer_reject_rate", {}, False),
            ("consensus_agreement", {"vendor_id": "acme"}, False),
            ("gold_accuracy", {"project_id": "other"}, False),
            ("gold_accuracy", {"task_type": "other"}, False),
        ],
    )
    def test_agreement_does_not_say_who_is_wrong(self, first: Any, other: dict[str, str], inhibited: bool) -> None:
        story, peers = Story(), scope("segment", **{"vendor_id": "peers", **other})
        agreement = rule("agreement", metric="consensus_agreement")
        story.say("breach", T0, rule("first", metric=first), peers)
        (later,) = story.say("breach", T0 + MINUTE, agreement, scope("segment"))
        assert (later.alert.held == "inhibited") is inhibited
        ended = story.say("recovered", T0 + HOUR, rule("first", metric=first), peers)
        assert [one.notice for one in ended] == (["resolved", None] if inhibited else ["resolved"])

    def test_gold_says_it_and_the_earlier_of_two_is_told_again(self) -> None:
        story, peers = Story(), scope("segment", vendor_id="peers")
        agreement = rule("agreement", metric="consensus_agreement")
        story.say("breach", T0, agreement, peers)
        assert brief(story.say("breach", T0 + MINUTE, rule("gold"), scope("segment"))) == [("fired", "firing")]
        story.say("breach", T0 + 2 * MINUTE, agreement, scope("segment", vendor_id="third"))
        story.say("recovered", T0 + HOUR, rule("gold"), scope("segment"))
        told = story.wait(T0 + DAY + HOUR)
        assert [(one.notice, one.alert.scope.vendor_id) for one in told] == [("repeat", "peers")]

    def test_held_by_the_next_broader_one_where_there_is_one(self) -> None:
        story = Story()
        everything, labeler = scope("all"), scope("labeler")
        story.say("breach", T0, self.VENDOR)
        story.say("breach", T0 + MINUTE, self.VENDOR, everything)
        story.say("breach", T0 + 2 * MINUTE, self.LABELER, labeler)
        story.say("recovered", T0 + HOUR, self.VENDOR, everything)
        (vendor,) = (one for one in story.book.open if one.scope.kind == "vendor")
        (held,) = (one for one in story.book.open if one.scope.kind == "labeler")
        assert (held.held, held.inhibited_by) == ("inhibited", vendor.alert_id)

    def test_silence_ends_what_is_not_confirmed_for_good(self) -> None:
        story, quiet = Story(), rule("labeler-gold", no_data="ok")
        story.say("breach", T0, self.VENDOR)
        story.say("breach", T0 + MINUTE, quiet, scope("labeler"))
        story.say("recovered", T0 + HOUR, self.VENDOR)
        assert brief(story.say("silent", T0 + 2 * HOUR, quiet, scope("labeler"))) == [("resolved", None)]
        assert story.say("speaking", T0 + 3 * HOUR, quiet, scope("labeler")) == []

    def test_what_is_over_before_the_broader_one_is_never_told(self) -> None:
        story = Story()
        story.say("breach", T0, self.VENDOR)
        story.say("breach", T0 + MINUTE, self.LABELER, scope("labeler"))
        assert brief(story.say("recovered", T0 + 2 * MINUTE, self.LABELER, scope("labeler"))) == [("resolved", None)]
        assert brief(story.say("recovered", T0 + HOUR, self.VENDOR)) == [("resolved", "resolved")]

    @pytest.mark.parametrize(
        ("broad", "inhibited"),
        [
            ({"of": rule("time", metric="aht_seconds")}, False),
            ({"of": rule("quality", metric="reviewer_reject_rate")}, True),
            ({"on": scope(vendor_id="other")}, False),
            ({"of": rule("pending", **{"for": "1h"})}, False),
            ({"of": rule("info", severity="info")}, False),
            ({"of": rule("asleep", schedule={"quiet_hours": [{"from": "00:00", "to": "12:00"}]})}, False),
            ({"on": scope("labeler", labeler_id="ben")}, False),
            ({"on": scope("all")}, True),
            ({"on": scope("all", 'project_id = "captions"')}, True),
            ({"on": scope("all", 'project_id = "other"')}, False),
        ],
    )
    def test_by_whom(self, broad: dict[str, Any], inhibited: bool) -> None:
        story = Story()
        story.say("breach", T0, **{"of": self.VENDOR, **broad})
        (narrow,) = story.say("breach", T0 + MINUTE, self.LABELER, scope("labeler"))
        assert (narrow.alert.held == "inhibited") is inhibited

    @pytest.mark.parametrize(("later", "inhibited"), [(DAY - 1, True), (DAY, False)])
    def test_a_change_that_begins_a_day_later_is_news(self, later: int, inhibited: bool) -> None:
        story, told = Story(), verdict(2, "breach", T0 + 2 * DAY, self.LABELER, scope("labeler"))
        story.say("breach", T0, self.VENDOR)
        story.book.take(batch(told.model_copy(update={"figures": figures(since_ms=T0 + later)})))
        (narrow,) = (one for one in story.book.open if one.scope.kind == "labeler")
        assert (narrow.held == "inhibited") is inhibited

    def test_where_a_field_is_not_known_nobody_is(self) -> None:
        assert not is_broader(scope("all", 'task_type = "image"'), scope("vendor"))
        assert is_broader(scope("all", 'vendor_id = "acme"'), scope("vendor"))

    def test_at_the_same_moment_the_broader_one_speaks(self) -> None:
        book = AlertBook("labelwatch")
        labeler, vendor = rule("a-labeler", **{"for": "5m"}), rule("z-vendor", **{"for": "5m"})
        book.take(batch(verdict(1, of=labeler, on=scope("labeler")), verdict(2, of=vendor)))
        assert [(one.alert.rule.name, one.notice) for one in book.take(batch(clock=T0 + HOUR))] == [
            ("z-vendor", "firing"),
            ("a-labeler", None),
        ]


def test_every_metric_has_a_family() -> None:
    assert FAMILIES.keys() == METRICS.keys()


def test_a_loaded_book_goes_on_as_if_nothing_had_been() -> None:
    story, rows = TestFlapping().story(), dict[tuple[str, str], str | None]()
    story.say("recovered", T0 + 2 * HOUR + MINUTE)
    story.say("breach", T0 + 2 * HOUR, rule("night", schedule=NIGHT, **{"for": "2m"}), scope("labeler"))
    rows.update({(kind, key): payload for kind, key, payload in story.book.take_changed()})
    again = AlertBook("labelwatch")
    again.load([(kind, key, payload) for (kind, key), payload in rows.items() if payload is not None])
    assert again.take_changed() == []
    later: list[Verdicts] = [batch(clock=T0 + 3 * HOUR), batch(_breach(99), clock=T0 + 40 * HOUR)]
    assert again.open == story.book.open
    assert [again.take(one) for one in later] == [story.book.take(one) for one in later]
    with pytest.raises(ValueError, match="no kind 'task'"):
        again.load([("task", "", "{}")])


def _breach(number: int) -> Verdict:
    return verdict(number, at=T0 + 4 * HOUR)
