"""Alerts on a few of a scope's labelers, beside those on all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from detectors.alerts.alert import Alert, Notice
from detectors.alerts.book import AlertBook
from schemas.alert_rows import AlertNoteRow
from schemas.thresholds import Rule
from schemas.verdicts import Verdict, VerdictKind
from streams.delivery.explained_text import told_ms
from streams.delivery.text import PlainText, Text
from tests.alerts import HOUR, MINUTE, T0, Mailbox, batch, figures, rule, scope, verdict
from tests.notify_rig import Rig


@pytest.mark.parametrize(
    ("first", "later", "where", "inhibited"),
    [
        (None, 3, {}, True),
        (3, None, {}, False),
        (3, 3, {}, False),
        (None, 3, {"project_id": "other"}, False),
    ],
)
def test_all_of_a_scope_says_what_a_few_of_it_would(
    first: int | None, later: int | None, where: dict[str, str], inhibited: bool
) -> None:
    book, verdicts = AlertBook("labelwatch"), []
    for number, (labelers, on) in enumerate([(first, scope("segment")), (later, scope("segment", **where))], 1):
        of = rule(f"rule-{number}", metric=("gold_accuracy", "consensus_agreement")[number - 1])
        said = verdict(number, "breach", T0 + number * MINUTE, of, on)
        verdicts.append(said.model_copy(update={"figures": figures(labelers=labelers)}))
    told = book.take(batch(*verdicts))
    assert told[-1].alert.rule.name == "rule-2"
    assert (told[-1].alert.held == "inhibited") is inhibited


def of_few(number: int, kind: VerdictKind = "breach", at: int = T0, of: Rule | None = None, **more: Any) -> Verdict:
    return verdict(number, kind, at, of or rule("few"), scope("segment"), labelers=3, **more)


class TestApartFromABroaderAlert:
    """People may be told that a few of a scope changed by themselves; whether they did is not known to the book."""

    def test_at_once_and_every_hour(self) -> None:
        book = AlertBook("labelwatch")
        told = book.take(batch(verdict(1), of_few(2), clock=T0 + 3 * HOUR))
        few = [one for one in told if one.alert.rule.name == "few"]
        assert [(one.at_ms - T0, one.change, one.notice) for one in few] == [
            (0, "fired", "apart"),
            (HOUR, "looked", "apart"),
            (2 * HOUR, "looked", "apart"),
            (3 * HOUR, "looked", "apart"),
        ]
        assert {(one.alert.held, one.alert.told) for one in few} == {("inhibited", 0)}

    def test_not_on_all_of_the_scope(self) -> None:
        book = AlertBook("labelwatch")
        told = book.take(batch(verdict(1), verdict(2, on=scope("segment")), clock=T0 + 3 * HOUR))
        assert [one.notice for one in told if one.alert.key.scope[0] == "segment"] == [None]

    @pytest.mark.parametrize(("vendors", "notices"), [([], [None]), ([verdict(1)], ["apart"] * 4)])
    def test_beside_an_alert_on_all_of_the_same_only_while_that_is_held(
        self, vendors: list[Verdict], notices: list[Notice | None]
    ) -> None:
        book = AlertBook("labelwatch")
        told = book.take(batch(*vendors, verdict(2, on=scope("segment")), of_few(3), clock=T0 + 3 * HOUR))
        assert [one.notice for one in told if one.alert.rule.name == "few"] == notices

    def test_beside_an_alert_on_those_whom_they_disagree_with(self) -> None:
        book, agreement = AlertBook("labelwatch"), rule("few", metric="consensus_agreement")
        told = book.take(batch(verdict(1, on=scope("segment", vendor_id="peers")), of_few(2, of=agreement)))
        assert [one.notice for one in told] == ["firing", "apart"]

    def test_not_in_quiet_hours(self) -> None:
        book, night = AlertBook("labelwatch"), {"quiet_hours": [{"from": "07:00", "to": "09:30"}]}  # T0 is 8 h
        told = book.take(batch(verdict(1), of_few(2, of=rule("few", schedule=night)), clock=T0 + 2 * HOUR))
        assert [(one.at_ms - T0, one.notice) for one in told if one.alert.rule.name == "few"] == [
            (0, None),
            (2 * HOUR, "apart"),
        ]

    def test_not_once_the_broader_one_is_over(self) -> None:
        book = AlertBook("labelwatch")
        book.take(batch(verdict(1), of_few(2)))
        book.take(batch(verdict(3, "recovered", T0 + MINUTE)))
        (few,) = book.open
        assert (few.held, few.look_ms) == ("unconfirmed", None)
        assert book.take(batch(clock=T0 + 9 * HOUR)) == []


class Says(PlainText):
    """Finds by a given time that labelers stand out."""

    def __init__(self, at: int | None) -> None:
        super().__init__()
        self._at = at

    async def __call__(self, alert: Alert, notice: Notice) -> Text:
        is_open = notice == "apart" and (self._at is None or told_ms(alert) < self._at)
        return Text(f"{alert.rule.name} {notice}", "", "{}", is_open)


class Slowly(Says):
    """Is still finding out while other things happen."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__(T0)
        self._meanwhile = meanwhile

    async def __call__(self, alert: Alert, notice: Notice) -> Text:
        if notice == "apart":
            self._meanwhile()
        return await super().__call__(alert, notice)


async def rig_of(at: int | None) -> tuple[Rig, Mailbox, Mailbox]:
    box, manager = Mailbox(), Mailbox("manager", keeps_alive=True)
    rig = await Rig(box, manager, describe=Says(at)).start()
    rig.feed(batch(verdict(1), of_few(2)))
    await rig.turn()
    return rig, box, manager


def said(box: Mailbox) -> list[str]:
    return [message.text.title for message in box.sent if message.alert.rule.name == "few"]


async def test_who_changed_by_themselves_are_told_once_and_so_is_their_end() -> None:
    rig, box, manager = await rig_of(T0 + HOUR)
    assert said(box) == []
    (row,) = (row for row in rig.alerts() if row.rule == "few")
    assert (row.told, row.title) == (0, "")
    rig.feed(batch(clock=T0 + HOUR))
    await rig.turn()
    rig = await Rig(box, manager, sink=rig.sink, worker="worker-2", describe=Says(T0)).start()
    rig.feed(batch(clock=T0 + 3 * HOUR))
    rig.now += 3 * HOUR
    await rig.turn()
    assert said(box) == said(manager) == ["few apart"]
    assert {message.alert.rule.name for message in manager.alive[-1]} == {"gold", "few"}
    (row,) = (row for row in rig.alerts() if row.rule == "few")
    assert (row.told, row.title) == (1, "few apart")
    rig.feed(batch(of_few(3, "recovered", T0 + 4 * HOUR)))
    await rig.turn()
    assert said(box) == said(manager) == ["few apart", "few resolved"]


async def test_what_was_told_apart_is_not_told_anew_when_the_broader_one_is_over() -> None:
    rig, box, _ = await rig_of(T0)
    rig.feed(batch(verdict(3, "recovered", T0 + HOUR)), batch(of_few(4, at=T0 + 2 * HOUR, seen_since=T0 + HOUR)))
    await rig.turn()
    assert said(box) == ["few apart"]
    rig.feed(batch(clock=T0 + 26 * HOUR))
    await rig.turn()
    assert said(box) == ["few apart", "few repeat"], "and then as ever"


async def test_the_end_of_what_did_not_stand_out_is_not_told() -> None:
    rig, box, manager = await rig_of(None)
    rig.feed(batch(clock=T0 + 5 * HOUR), batch(of_few(3, "recovered", T0 + 6 * HOUR)))
    rig.now += 6 * HOUR
    await rig.turn()
    assert said(box) == said(manager) == []
    assert {message.alert.rule.name for message in manager.alive[-1]} == {"gold"}


async def test_what_ends_while_it_is_found_out_is_told_with_its_end_or_not_at_all() -> None:
    over = batch(of_few(3, "recovered", T0 + MINUTE))
    for stands_out, told in ((True, ["few apart", "few resolved"]), (False, [])):
        box = Mailbox()
        rig = Rig(box, describe=(slow := Slowly(lambda: rig.feed(over))))  # noqa: B023  # called within the turn
        slow._at = T0 if stands_out else None
        await rig.start()
        rig.feed(batch(verdict(1), of_few(2)))
        await rig.turn()
        await rig.turn()
        assert said(box) == told


async def test_what_is_told_in_any_case_meanwhile_is_told_once() -> None:
    box = Mailbox()
    confirmed = (
        batch(verdict(3, "recovered", T0 + MINUTE)),
        batch(of_few(4, at=T0 + HOUR, seen_since=T0 + 2 * MINUTE)),
    )
    rig = Rig(box, describe=Slowly(lambda: rig.feed(*confirmed)))
    await rig.start()
    rig.feed(batch(verdict(1), of_few(2)))
    await rig.turn()
    await rig.turn()
    assert said(box) == ["few apart"]
    assert ("mailbox", "firing", "dropped", 0) in rig.deliveries()


async def test_what_was_not_yet_tried_apart_is_told_as_any_alert() -> None:
    box = Mailbox()
    rig = await Rig(box, describe=Says(T0)).start()
    rig.feed(batch(verdict(1), of_few(2)))
    rig.feed(batch(verdict(3, "recovered", T0 + MINUTE)), batch(of_few(4, at=T0 + HOUR, seen_since=T0 + 2 * MINUTE)))
    await rig.turn()
    assert said(box) == ["few firing"]


async def test_nobody_hears_apart_of_what_is_acknowledged() -> None:
    rig, box, _ = await rig_of(T0 + HOUR)
    (row,) = (row for row in rig.alerts() if row.rule == "few")
    ack = AlertNoteRow("labelwatch", "n-1", "ack", row.alert_id, "", "ana", "", rig.now, rig.now)
    await rig.sink.write({"alert_notes": [ack]})
    rig.feed(batch(clock=T0 + 2 * HOUR))
    await rig.turn()
    assert said(box) == []
