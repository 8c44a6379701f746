"""NOTIFY: a verdict in, a message out, exactly once over restarts, whatever a target answers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from detectors.alerts.alert import Alert, Notice
from schemas.alert_rows import AlertDeliveryRow, AlertNoteRow
from streams.delivery.target import Sent
from streams.delivery.text import PlainText, Text
from streams.notify import decode_verdicts
from streams.owner import FencedError
from streams.state.codecs import UnknownCodecError
from tests.alerts import HOUR, MINUTE, T0, Mailbox, batch, rule, scope, verdict
from tests.notify_rig import Rig

LATER = Sent("later", "HTTP 500")


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


async def test_a_verdict_becomes_a_message_and_rows(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1, of=rule(severity="critical", runbook="https://runbook/gold"))))
    await rig.turn()
    (message,) = box.sent
    assert message.text.title == "[CRITICAL] gold: vendor acme"
    assert message.text.body.splitlines()[0] == (
        "gold_accuracy of vendor acme fell from 92.0 % to 80.0 % since 2026-01-05 07:59 UTC (120 golds)."
    )
    assert message.page == f"https://page/{message.alert.alert_id}"
    (row,) = rig.alerts()
    assert (row.state, row.told, row.title, row.fired_at) == ("firing", 1, message.text.title, T0)
    assert rig.deliveries() == [("mailbox", "firing", "delivered", 1)]
    assert rig.acknowledged == [("alerts", 0, 0, 1)]
    await rig.turn()
    assert len(box.sent) == 1, "once"

    rig.feed(batch(verdict(2, "recovered", T0 + HOUR, level=0.93)))
    await rig.turn()
    assert [message.notice for message in box.sent] == ["firing", "resolved"]
    assert box.sent[1].text.title == "[RESOLVED] gold: vendor acme"
    (row,) = rig.alerts()
    assert (row.state, row.ended, row.resolved_at) == ("resolved", "recovered", T0 + HOUR)
    kinds = [row.kind for row in cast(Any, rig.sink.rows("state"))]
    assert sorted(kinds) == ["book", "ends", "position"], "nothing is kept of what is over"


async def test_nothing_is_tried_before_it_is_stored(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.notify.desk.turn(box)
    assert box.sent == []
    await rig.turn()
    assert len(box.sent) == 1


async def test_a_restart_between_fire_and_end_repeats_nothing_and_misses_nothing(box: Mailbox) -> None:
    first = await Rig(box).start()
    first.feed(batch(verdict(1)))
    await first.turn()
    second = await Rig(box, sink=first.sink, worker="worker-2").start()
    await second.turn()
    assert box.told == [("gold", "firing")]
    second.feed(batch(verdict(2, "recovered", T0 + HOUR)))
    await second.turn()
    third = await Rig(box, sink=first.sink, worker="worker-3").start()
    await third.turn()
    assert box.told == [("gold", "firing"), ("gold", "resolved")]


async def test_messages_that_come_again_change_nothing(box: Mailbox) -> None:
    rig = await Rig(box).start()
    fires = batch(verdict(1))
    rig.feed(fires, fires)
    await rig.turn()
    assert len(box.sent) == 1


async def test_killed_between_the_answer_and_the_store_one_message_comes_twice_with_the_same_id(box: Mailbox) -> None:
    first = await Rig(box).start()
    first.feed(batch(verdict(1)))
    await first.notify.checkpoint()
    await first.notify.desk.turn(box)  # delivered; and nothing after it is stored
    second = await Rig(box, sink=first.sink, worker="worker-2").start()
    await second.turn()
    one, again = box.sent
    assert (one.alert.alert_id, one.notice) == (again.alert.alert_id, again.notice)
    third = await Rig(box, sink=first.sink, worker="worker-3").start()
    await third.turn()
    assert len(box.sent) == 2


async def test_what_fails_for_now_is_tried_again_later_and_longer(box: Mailbox) -> None:
    rig = await Rig(box).start()
    box.answers = [LATER] * 3
    rig.feed(batch(verdict(1)))
    waits = []
    for _ in range(4):
        await rig.turn()
        before = len(box.sent)
        began = rig.now
        while len(box.sent) == before and rig.now < began + 10 * MINUTE and len(box.sent) < 4:
            rig.now += 500
            await rig.turn()
        waits.append(rig.now - began)
    assert len(box.sent) == 4
    assert waits[:3] == [1_000, 2_000, 4_000]
    assert rig.deliveries() == [("mailbox", "firing", "delivered", 4)]


async def test_what_is_refused_is_given_up_with_the_reason(box: Mailbox) -> None:
    rig = await Rig(box).start()
    box.answers = [Sent("refused", "HTTP 404")]
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rig.now += HOUR
    await rig.turn()
    assert len(box.sent) == 1
    (row,) = cast(list[AlertDeliveryRow], rig.sink.rows("alert_deliveries"))
    assert (row.status, row.reason) == ("given_up", "HTTP 404")


async def test_one_broken_target_holds_up_no_other() -> None:
    broken, well = Mailbox("broken"), Mailbox("well")
    broken.answers = [LATER] * 9
    rig = await Rig(broken, well).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rig.feed(batch(verdict(2, "recovered", T0 + HOUR)))
    await rig.turn()
    assert [notice for _, notice in well.told] == ["firing", "resolved"]


async def test_what_was_over_before_it_was_delivered_is_told_once_as_over(box: Mailbox) -> None:
    rig = await Rig(box).start()
    box.answers = [LATER]
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rig.feed(batch(verdict(2, "withdrawn", T0 + HOUR)))
    await rig.turn()
    assert [notice for _, notice in box.told] == ["firing", "resolved"]
    assert box.sent[1].text.title.startswith("[WITHDRAWN]")
    assert rig.deliveries() == [("mailbox", "firing", "dropped", 1), ("mailbox", "resolved", "delivered", 1)]


async def test_repeats_end_when_somebody_acknowledges(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1, of=rule(severity="critical"))))
    await rig.turn()
    rig.feed(batch(clock=T0 + 5 * HOUR))
    await rig.turn()
    assert [notice for _, notice in box.told] == ["firing", "repeat"]
    alert_id = box.sent[0].alert.alert_id
    ack = AlertNoteRow("labelwatch", "n-1", "ack", alert_id, "", "ana", "", rig.now, rig.now)
    await rig.sink.write({"alert_notes": [ack]})
    rig.feed(batch(clock=T0 + 9 * HOUR))
    await rig.turn()
    assert len(box.sent) == 2
    assert ("mailbox", "repeat", "dropped", 0) in rig.deliveries()


@pytest.mark.parametrize("by_rule", [True, False])
async def test_silence_puts_off_until_it_ends(box: Mailbox, by_rule: bool) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.notify.checkpoint()
    (row,) = rig.alerts()
    until = rig.now + 2 * HOUR
    on = ("", "gold") if by_rule else (row.alert_id, "")
    silence = AlertNoteRow("labelwatch", "n-1", "silence", *on, "ana", "", rig.now, until)
    await rig.sink.write({"alert_notes": [silence]})
    await rig.turn()
    assert box.sent == []
    assert rig.deliveries() == [("mailbox", "firing", "waiting", 0)]
    rig.now = until
    await rig.turn()
    assert box.told == [("gold", "firing")]


@pytest.mark.parametrize("by_rule", [True, False])
@pytest.mark.parametrize("minutes", [0, 5])
async def test_a_silence_can_be_ended_and_shortened(box: Mailbox, by_rule: bool, minutes: int) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.notify.checkpoint()
    on = ("", "gold") if by_rule else (rig.alerts()[0].alert_id, "")

    async def silence(number: int, until: int) -> None:
        note = AlertNoteRow("labelwatch", f"n-{9 - number}", "silence", *on, "ana", "", rig.now, until)
        await rig.sink.write({"alert_notes": [note]})

    await silence(1, rig.now + 90 * 24 * HOUR)
    await rig.turn()
    rig.now += MINUTE
    await rig.turn()
    assert box.sent == []
    shortened = rig.now + minutes * MINUTE
    await silence(2, shortened)
    while rig.now < shortened:
        await rig.turn()
        assert box.sent == []
        rig.now += MINUTE
    rig.now += MINUTE
    await rig.turn()
    assert box.told == [("gold", "firing")]


async def test_what_was_silenced_all_the_time_is_never_told(box: Mailbox) -> None:
    rig = await Rig(box).start()
    silence = AlertNoteRow("labelwatch", "n-1", "silence", "", "gold", "ana", "", rig.now, rig.now + HOUR)
    await rig.sink.write({"alert_notes": [silence]})
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rig.feed(batch(verdict(2, "recovered", T0 + MINUTE)))
    await rig.turn()
    rig.now += 2 * HOUR
    await rig.turn()
    assert box.sent == []
    assert {status for _, _, status, _ in rig.deliveries()} == {"dropped"}


async def test_a_target_that_forgets_is_told_again_also_after_a_restart() -> None:
    manager = Mailbox("manager", keeps_alive=True)
    rig = await Rig(manager).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    assert manager.told == [("gold", "firing")]
    counts = []
    for _ in range(3):
        rig.now += MINUTE
        await rig.turn()
        counts.append([len(said) for said in manager.alive])
    assert counts[-1] == [0, 1, 1, 1]
    again = await Rig(manager, sink=rig.sink, worker="worker-2").start()
    await again.turn()
    assert len(manager.alive[-1]) == 1
    assert manager.alive[-1][0].text == manager.sent[0].text, "the same words"
    assert len(manager.sent) == 1
    again.feed(batch(verdict(2, "recovered", T0 + HOUR)), batch(clock=T0 + 30 * HOUR))
    again.now += MINUTE
    await again.turn()
    assert manager.alive[-1] == []
    assert [notice for _, notice in manager.told] == ["firing", "resolved"], "repeats are its own business"


async def test_words_that_cannot_be_found_are_replaced(box: Mailbox) -> None:
    class Away(PlainText):
        async def __call__(self, alert: Alert, notice: Notice) -> Text:
            raise OSError("ClickHouse is away")

    rig = await Rig(box, describe=Away()).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    assert box.sent[0].text.title == "[WARNING] gold: vendor acme"


async def test_words_are_found_once_for_all_targets() -> None:
    asked: list[Notice] = []

    class Words(PlainText):
        async def __call__(self, alert: Alert, notice: Notice) -> Text:
            asked.append(notice)
            return Text("it fell", "by much", '{"why": 1}')

    rig = await Rig(Mailbox("one"), Mailbox("two"), describe=Words()).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    assert asked == ["firing"]
    assert rig.alerts()[0].explanation == '{"why": 1}'


async def test_pause_waits_for_what_is_being_tried_and_its_end_is_stored() -> None:
    trying, answer = asyncio.Event(), asyncio.Event()

    class Slow(Mailbox):
        async def send(self, message: Any) -> Sent:
            trying.set()
            await answer.wait()
            return await super().send(message)

    slow = Slow()
    rig = await Rig(slow).start()
    rig.feed(batch(verdict(1), verdict(2, on=scope(vendor_id="other"))))
    await rig.notify.checkpoint()
    turn = asyncio.create_task(rig.notify.desk.turn(slow))
    await trying.wait()
    pausing = asyncio.create_task(rig.notify.desk.pause())
    await asyncio.sleep(0)
    assert not pausing.done()
    answer.set()
    await pausing
    await turn
    await rig.notify.checkpoint()
    assert sorted(status for _, _, status, _ in rig.deliveries()) == ["delivered", "waiting"], "no second one was begun"
    rig.notify.desk.go_on()
    await rig.turn()
    assert [status for _, _, status, _ in rig.deliveries()] == ["delivered", "delivered"]


async def test_a_worker_that_was_taken_over_delivers_nothing(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.notify.checkpoint()
    await Rig(box, sink=rig.sink, worker="worker-2").start()
    with pytest.raises(FencedError):
        await rig.notify.desk.turn(box)
    assert box.sent == []


async def test_without_targets_alerts_are_kept_all_the_same() -> None:
    rig = await Rig().start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    assert [row.state for row in rig.alerts()] == ["firing"]
    assert rig.deliveries() == []


async def test_a_target_that_is_gone_takes_its_messages_along(box: Mailbox) -> None:
    box.answers = [LATER]
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    other = Mailbox("other")
    again = await Rig(other, sink=rig.sink, worker="worker-2").start()
    await again.turn()
    assert again.deliveries() == [("mailbox", "firing", "dropped", 1)]
    assert other.sent == [], "what was told before it came is not told again"


async def test_bad_messages_are_dead_letters_and_others_messages_are_not_ours(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(b"", b"{", b'{"schema_version": 2}', b'{"app_id": "labelwatch"}', batch(verdict(1), app_id="other"))
    await rig.turn()
    reasons = [row.reason for row in cast(Any, rig.sink.rows("dead_letters"))]
    assert reasons == ["empty", "not_json", "unknown_schema_version", "invalid_field"]
    assert box.sent == []


def test_what_watch_sends_is_read_as_it_was() -> None:
    said = batch(verdict(1, of=rule(**{"for": "5m", "schedule": {"quiet_hours": [{"from": "22:00", "to": "06:00"}]}})))
    assert decode_verdicts(said.model_dump_json(by_alias=True).encode()) == said


async def test_state_of_another_version_is_refused(box: Mailbox) -> None:
    rig = await Rig(box).start()
    rig.feed(batch(verdict(1)))
    await rig.turn()
    rows = [row._replace(codec_version=99) for row in cast(Any, rig.sink.rows("state"))]
    with pytest.raises(UnknownCodecError, match="codec version 99"):
        rig.notify._make_pipeline(0).state.restore(rows)
