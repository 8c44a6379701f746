"""An alert whose cause nobody could name is looked at again every hour, and told again once it can be named."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.alerts.alert import Alert, Notice, Transition
from detectors.alerts.book import LOOK_MS, AlertBook
from schemas.alert_rows import AlertNoteRow
from schemas.thresholds import Rule
from schemas.verdicts import VerdictKind
from streams.delivery.explained_text import told_ms
from streams.delivery.target import Sent
from streams.delivery.text import PlainText, Text
from tests.alerts import HOUR, MINUTE, T0, Mailbox, batch, rule, scope, verdict
from tests.notify_rig import Rig


class Story:
    """A book, and verdicts numbered as they come."""

    def __init__(self, of: Rule | None = None) -> None:
        self.book = AlertBook("labelwatch")
        self.rule = of or rule()
        self._number = 0

    def say(self, kind: VerdictKind, at: int, of: Rule | None = None, on: Any = None) -> None:
        self._number += 1
        self.book.take(batch(verdict(self._number, kind, at, of or self.rule, on)))

    def wait(self, clock: int) -> list[Transition]:
        return self.book.take(batch(clock=clock))

    def looks(self, clock: int) -> list[int]:
        """When it is looked again until then."""
        return [one.at_ms for one in self.wait(clock) if one.notice == "update"]

    @property
    def only(self) -> Alert:
        (alert,) = self.book.open
        return alert


def test_it_is_looked_again_every_hour_between_repeats() -> None:
    story = Story(rule(severity="critical"))
    story.say("breach", T0)
    told = story.wait(T0 + 6 * HOUR)
    assert LOOK_MS == HOUR
    assert [one.notice for one in told] == ["update"] * 3 + ["repeat"] + ["update"] * 2
    assert [one.at_ms for one in told] == [T0 + n * HOUR for n in range(1, 7)]
    assert story.only.told == 2, "whether people are told is not known here"


def test_not_of_what_is_over_nor_of_a_labeler_nor_where_nothing_comes() -> None:
    story = Story(rule(no_data="alert"))
    story.say("breach", T0, on=scope("labeler"))
    story.say("silent", T0)
    assert story.looks(T0 + 5 * HOUR) == []
    story.say("breach", T0 + 5 * HOUR, on=scope("project"))
    story.say("recovered", T0 + 5 * HOUR + MINUTE, on=scope("project"))
    assert story.looks(T0 + 9 * HOUR) == []


def test_not_in_quiet_hours_nor_while_a_broader_alert_says_it() -> None:
    story = Story(rule(schedule={"quiet_hours": [{"from": "08:30", "to": "10:30"}]}))  # T0 is 8 h
    story.say("breach", T0)
    assert story.looks(T0 + 4 * HOUR) == [T0 + 3 * HOUR, T0 + 4 * HOUR]
    story.say("breach", T0 + 4 * HOUR + MINUTE, rule("broad"), scope("all"))
    assert story.looks(T0 + 6 * HOUR) == [T0 + 5 * HOUR + MINUTE], "of the broad one alone"


def test_counted_from_when_people_were_told() -> None:
    story = Story(rule(schedule={"quiet_hours": [{"from": "07:00", "to": "10:00"}]}))
    story.say("breach", T0)
    assert story.looks(T0 + 3 * HOUR) == [T0 + 3 * HOUR]


def test_not_while_all_is_well() -> None:
    story = Story()
    for n in range(3):  # the third end is one too many
        story.say("breach", T0 + n * HOUR)
        story.say("recovered", T0 + n * HOUR + 30 * MINUTE)
    assert story.only.well_ms is not None
    assert story.looks(T0 + 4 * HOUR) == []


def test_state_from_before_alerts_were_looked_at_is_read() -> None:
    story = Story()
    story.say("breach", T0)
    plain = story.only.to_plain()
    del plain["look_ms"]
    assert Alert.from_plain(plain).look_ms is None


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


class Slowly(PlainText):
    """Can name somebody only some hours later."""

    def __init__(self, hours: int) -> None:
        super().__init__()
        self._clear_ms = T0 + hours * HOUR

    async def __call__(self, alert: Alert, notice: Notice) -> Text:
        is_open = told_ms(alert) < self._clear_ms
        return Text(f"{notice}: {'?' if is_open else 'ana'}", "it fell", "{}", is_open)


def titles(box: Mailbox) -> list[str]:
    return [message.text.title for message in box.sent]


async def test_who_was_too_early_to_say_is_told_once_as_soon_as_it_can_be_said(box: Mailbox) -> None:
    rig = await Rig(box, describe=Slowly(3)).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    for hour in range(1, 9):
        rig = await Rig(box, sink=rig.sink, worker=f"worker-{hour}", describe=Slowly(3)).start()
        rig.feed(batch(clock=T0 + hour * HOUR))
        await rig.turn()
    assert titles(box) == ["firing: ?", "update: ana"]
    first, update = box.sent
    assert first.alert.alert_id == update.alert.alert_id
    assert rig.alerts()[-1].title == "update: ana"
    assert [status for _, notice, status, _ in rig.deliveries() if notice == "update"] == ["dropped"] * 2 + [
        "delivered"
    ]
    rig.feed(batch(clock=T0 + 60 * HOUR))
    await rig.turn()
    assert titles(box)[2:] == ["repeat: ana"], "and then as ever"


async def test_what_was_named_at_once_is_not_looked_at_again(box: Mailbox) -> None:
    rig = await Rig(box, describe=Slowly(0)).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rig.feed(*(batch(clock=T0 + hour * HOUR) for hour in range(1, 20)))
    await rig.turn()
    assert titles(box) == ["firing: ana"]
    assert len(rig.deliveries()) == 1


async def test_every_target_is_told_who_it_was_also_one_that_was_away() -> None:
    manager, away = Mailbox("manager", keeps_alive=True), Mailbox("away")
    rig = await Rig(manager, away, describe=Slowly(1)).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    away.answers = [Sent("later", "HTTP 500")]
    rig.feed(batch(clock=T0 + HOUR))
    await rig.turn()
    rig.feed(batch(clock=T0 + 2 * HOUR))
    rig.now += HOUR
    await rig.turn()
    assert titles(manager) == ["firing: ?", "update: ana"]
    assert titles(away) == ["firing: ?", "update: ana", "update: ana"], "the second time because the first failed"
    assert manager.alive[-1][0].text.title == "update: ana"


async def test_a_repeat_that_names_somebody_leaves_nothing_to_update(box: Mailbox) -> None:
    rig = await Rig(box, describe=Slowly(4)).start()
    rig.feed(batch(verdict(1, of=rule(severity="critical"))))
    await rig.turn()
    for hour in range(1, 8):
        rig.feed(batch(clock=T0 + hour * HOUR))
        await rig.turn()
    assert titles(box) == ["firing: ?", "repeat: ana"]


async def test_no_update_of_what_somebody_acknowledged(box: Mailbox) -> None:
    rig = await Rig(box, describe=Slowly(1)).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    ack = AlertNoteRow("labelwatch", "n-1", "ack", box.sent[0].alert.alert_id, "", "ana", "", rig.now, rig.now)
    await rig.sink.write({"alert_notes": [ack]})
    rig.feed(batch(clock=T0 + HOUR))
    await rig.turn()
    assert titles(box) == ["firing: ?"]
