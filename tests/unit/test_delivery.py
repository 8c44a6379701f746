"""Targets, the queue, and what people read."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from detectors.alerts.alert import Alert, Transition
from detectors.alerts.book import AlertBook
from streams.delivery.alertmanager import EXPIRES_MS, Alertmanager, as_posted, labels_of
from streams.delivery.apprise_target import AddressError, AppriseTarget
from streams.delivery.queue import OVER_MATTERS_MS, DeliveryQueue
from streams.delivery.target import DELIVERED, Outgoing
from streams.delivery.targets import targets_of
from streams.delivery.text import PlainText, page_of
from streams.settings import NotifySettings, SettingsError
from tests.alerts import HOUR, MINUTE, T0, batch, rule, scope, verdict
from tests.hostile_names import ON_THE_WIRE
from tests.webhook import webhook

PAGE = "https://page/$rule/$labeler_id"


def story(*verdicts: Any) -> list[Transition]:
    return AlertBook("labelwatch").take(batch(*verdicts))


def outgoing(alert: Alert, notice: Any = "firing") -> Outgoing:
    return Outgoing(alert, notice, PlainText(PAGE).text(alert, notice), page_of(PAGE, alert))


FIRED = story(verdict(1, of=rule(labels={"team": "a"}), on=scope("labeler", labeler_id="ana b")))[0]
OVER = story(verdict(1), verdict(2, "recovered", T0 + HOUR))[-1]


class TestWords:
    @pytest.mark.parametrize(
        ("verdicts", "title", "says"),
        [
            ([verdict(1, of=rule(severity="critical"))], "[CRITICAL] gold: vendor acme", "fell from 92.0 % to 80.0 %"),
            ([verdict(1, "silent", of=rule(no_data="alert"))], "[WARNING] gold: vendor acme", "No values of gold_acc"),
            ([verdict(1), verdict(2, "recovered", T0 + HOUR)], "[RESOLVED] gold", "Over since 2026-01-05 09:00 UTC"),
            ([verdict(1), verdict(2, "withdrawn", T0 + HOUR)], "[WITHDRAWN] gold", "late data say that nothing"),
            ([verdict(1), verdict(2, "new_level", T0 + HOUR)], "[RESOLVED] gold", "it is the level now"),
            ([verdict(1), verdict(2, "dropped", T0 + HOUR)], "[RESOLVED] gold", "the rule was changed or removed"),
        ],
    )
    def test_say_what_happened(self, verdicts: list[Any], title: str, says: str) -> None:
        last = story(*verdicts)[-1]
        assert last.notice is not None
        text = PlainText().text(last.alert, last.notice)
        assert text.title.startswith(title)
        assert says in text.body
        assert last.alert.alert_id in text.body

    def test_link_to_a_page_with_escaped_names(self) -> None:
        assert "Page: https://page/gold/ana%20b" in PlainText(PAGE).text(FIRED.alert, "firing").body

    def test_what_to_do(self) -> None:
        with_link = story(verdict(1, of=rule(runbook="https://runbook/gold")))[0]
        said = PlainText().text(with_link.alert, "firing").body
        assert re.search(r"^What to do: Look at .* https://runbook/gold$", said, re.MULTILINE)
        silent = story(verdict(1, "silent", of=rule(no_data="alert")))[0]
        assert "What to do: Look whether work still comes in" in PlainText().text(silent.alert, "firing").body
        assert "What to do" not in PlainText().text(OVER.alert, "resolved").body

    @pytest.mark.parametrize("name", [*ON_THE_WIRE, "x" * 200])
    @pytest.mark.parametrize("no_data", ["keep", "alert"])
    def test_names_are_nothing_but_text(self, name: str, no_data: str) -> None:
        fields = dict.fromkeys(("project_id", "task_type", "vendor_id", "labeler_id"), name)
        kind = "breach" if no_data == "keep" else "silent"
        (last,) = story(verdict(1, kind, of=rule(no_data=no_data), on=scope("labeler", **fields)))
        said = PlainText().text(last.alert, "firing")
        assert len(said.title) <= 100
        assert len(said.body) < 1_000
        for line in (said.title, *said.body.split("\n")):
            assert line.isprintable()
            assert not re.search(r"[<>\[\]`]|@everyone|@here|https://", line.removeprefix("[WARNING]"))

    def test_a_scope_in_words_of_the_rule_is_nothing_but_text(self) -> None:
        (last,) = story(verdict(1, on=scope("all", 'vendor_id = "[x](https://evil)"')))
        assert PlainText().text(last.alert, "firing").title.endswith('gold: vendor_id = "(x)(https: //evil)"')


class TestAlertmanager:
    def test_what_is_posted(self) -> None:
        posted = as_posted(outgoing(FIRED.alert), T0 + HOUR)
        assert posted["labels"] == labels_of(FIRED.alert)
        assert posted["labels"]["labeler_id"] == "ana b"
        assert posted["labels"]["team"] == "a"
        assert "alert_id" not in posted["labels"], "it would tell one alert from itself when it comes again"
        assert posted["annotations"]["alert_id"] == FIRED.alert.alert_id
        assert posted["startsAt"] == "2026-01-05T08:00:00.000Z"
        assert posted["endsAt"] == "2026-01-05T09:04:00.000Z"
        assert EXPIRES_MS == 4 * 60_000
        assert posted["generatorURL"] == "https://page/gold/ana%20b"
        assert labels_of(story(verdict(1, on=scope("all", 'project_id = "x"')))[0].alert)["selection"] == "yes"
        assert labels_of(story(verdict(1, on=scope("segment"), labelers=3))[0].alert)["few"] == "yes"

    def test_what_is_over_has_an_end_that_has_passed(self) -> None:
        assert as_posted(outgoing(OVER.alert, "resolved"), T0 + 2 * HOUR)["endsAt"] == "2026-01-05T09:00:00.000Z"
        early = as_posted(outgoing(OVER.alert, "resolved"), T0 + 1)  # events from the future
        assert (early["startsAt"], early["endsAt"]) == ("2026-01-05T08:00:00.000Z", "2026-01-05T08:00:00.001Z")

    @pytest.mark.parametrize(
        ("status", "outcome"), [(200, "delivered"), (400, "refused"), (429, "later"), (503, "later")]
    )
    async def test_answers(self, status: int, outcome: str) -> None:
        with webhook() as hook:
            hook.status = status
            target = Alertmanager(f"http://user:secret@127.0.0.1:{hook.port}/prefix/", lambda: T0)
            sent = await target.send(outgoing(FIRED.alert))
            assert await target.keep_alive([]) == DELIVERED
            await target.close()
        assert sent.verdict == outcome
        assert len(hook.tried) == 1

    async def test_nobody_there(self) -> None:
        target = Alertmanager("http://user:secret@127.0.0.1:9", lambda: T0)
        sent = await target.send(outgoing(FIRED.alert))
        await target.close()
        assert sent.verdict == "later"
        assert "cannot connect" in sent.reason
        assert "secret" not in sent.reason


class TestApprise:
    @pytest.mark.parametrize(
        ("status", "outcome"), [(200, "delivered"), (400, "refused"), (404, "later"), (429, "later"), (500, "later")]
    )
    async def test_answers(self, status: int, outcome: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with webhook() as hook:
            hook.status = status
            target = AppriseTarget(f"json://user:secret@127.0.0.1:{hook.port}/?:alert_id={{alert_id}}")
            sent = await target.send(outgoing(FIRED.alert))
            await target.close()
        assert sent.verdict == outcome
        (tried,) = hook.tried
        assert (tried["alert_id"], tried["type"]) == (FIRED.alert.alert_id, "warning")
        assert "secret" not in caplog.text + target.name + sent.reason

    async def test_nobody_there(self) -> None:
        target = AppriseTarget("json://127.0.0.1:9/")
        assert (await target.send(outgoing(FIRED.alert))).verdict == "later"
        await target.close()

    async def test_what_takes_too_long_goes_on_and_is_not_sent_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        target, go_on, began = (
            AppriseTarget("json://127.0.0.1:9/", timeout_seconds=0.01),
            threading.Event(),
            list[str](),
        )

        def notify(message: Outgoing) -> Any:
            began.append(message.alert.alert_id)
            assert go_on.wait(30)
            return DELIVERED

        monkeypatch.setattr(target, "_notify", notify)
        message = outgoing(FIRED.alert)
        assert (await target.send(message)).verdict == "later"
        assert (await target.send(outgoing(OVER.alert))).reason == "an attempt before it has not ended yet"
        go_on.set()
        while (await target.send(message)) != DELIVERED:  # noqa: ASYNC110  (a thread ends it)
            await asyncio.sleep(0)
        assert began == [FIRED.alert.alert_id]
        await target.close()

    def test_unknown_services_are_refused_without_their_address(self) -> None:
        with pytest.raises(AddressError) as refused:
            AppriseTarget("nonsense://token")
        assert "token" not in str(refused.value)

    @pytest.mark.parametrize(
        "url", ["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#a/#b", "json://host/a, json://host/b"]
    )
    def test_several_recipients_are_refused(self, url: str) -> None:
        with pytest.raises(AddressError, match="several recipients: write one address for each") as refused:
            AppriseTarget(url)
        assert "host" not in str(refused.value)


class TestSettings:
    def test_name_targets(self, tmp_path: Any) -> None:
        file = tmp_path / "urls"
        file.write_text("json://127.0.0.1:9/a\n\njson://127.0.0.1:9/b\n")
        settings = NotifySettings.model_validate(
            {"alertmanager_url": "http://one:9093 http://two:9093/am\n", "apprise_urls_file": file}
        )
        names = [target.name for target in targets_of(settings, lambda: T0)]
        assert names[:2] == ["alertmanager", "alertmanager-2"]
        assert len(set(names)) == 4
        assert targets_of(NotifySettings(), lambda: T0) == []
        assert "9/a" not in repr(settings) + repr(
            NotifySettings.model_validate({"apprise_urls": "json://127.0.0.1:9/a"})
        )

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"alertmanager_url": "alertmanager:9093"}, "is not an address such as"),
            ({"alertmanager_url": "http://one:9093,http://two:9093 two:9093"}, "is not an address such as"),
            ({"apprise_urls": "json://127.0.0.1:9/ json://127.0.0.1:9/"}, "an address twice"),
            ({"apprise_urls": "json://127.0.0.1:9/ what://x"}, "address 2: Apprise cannot use"),
            ({"apprise_urls_file": "/nowhere"}, "cannot read the secret file"),
        ],
    )
    def test_that_cannot_be_used(self, settings: Any, says: str) -> None:
        with pytest.raises(SettingsError, match=says):
            targets_of(NotifySettings.model_validate(settings), lambda: T0)

    @pytest.mark.parametrize("template", ["https://x/$alert", "x/$alert_id", "https://$rule/", "https://x/ $rule", "$"])
    def test_pages_that_cannot_be(self, template: str) -> None:
        with pytest.raises(ValidationError):
            NotifySettings(page_url=template)


class TestQueue:
    def queue(self) -> DeliveryQueue:
        found = DeliveryQueue("labelwatch", ["box"])
        for transition in story(verdict(1), verdict(2, on=scope(vendor_id="other"))):
            found.add(transition, T0)
        found.take_changed()
        found.stored()
        return found

    def test_what_ends_while_its_beginning_is_tried_waits_for_that(self) -> None:
        queue = self.queue()
        first = queue.next("box", T0)
        assert first is not None
        (over,) = [one for one in story(verdict(1), verdict(3, "recovered", T0 + 1)) if one.change == "resolved"]
        queue.add(over, T0)
        queue.take_changed()
        queue.stored()
        other = queue.next("box", T0)
        assert other is not None
        assert other.alert.alert_id != first.alert.alert_id, "another alert need not wait"
        assert queue.next("box", T0) is None
        queue.done(first, "delivered", T0)
        end = queue.next("box", T0)
        assert end is not None
        assert (end.notice, end.is_news) == ("resolved", False)

    def test_a_beginning_that_failed_meanwhile_is_not_tried_again(self) -> None:
        queue = self.queue()
        first = queue.next("box", T0)
        assert first is not None
        (over,) = [one for one in story(verdict(1), verdict(3, "recovered", T0 + 1)) if one.change == "resolved"]
        queue.add(over, T0)
        queue.retry(first, T0, 1_000, "HTTP 500")
        notices = [(one.notice, one.is_news) for one in queue.waiting if one.alert.alert_id == first.alert.alert_id]
        assert notices == [("resolved", True)]

    def test_what_is_silenced_for_long_is_stored_once(self) -> None:
        queue = self.queue()
        for minute, is_changed in ((0, True), (1, False), (2, False)):
            intent = queue.next("box", T0 + minute * MINUTE)
            assert intent is not None
            queue.put_off(intent, T0 + (minute + 1) * MINUTE, "silenced")
            assert queue.is_changed is is_changed
            queue.take_changed()
            queue.stored()
            other = queue.next("box", T0 + minute * MINUTE)  # of another alert
            assert other is not None
            assert other.alert.alert_id != intent.alert.alert_id
            queue.release(other)
            assert queue.next_ms("box") == other.next_ms

    def test_that_something_is_over_is_given_up_after_a_week(self) -> None:
        queue = DeliveryQueue("labelwatch", ["box"])
        queue.add(OVER, T0)
        queue.take_changed()
        queue.stored()
        for later, waits in ((OVER_MATTERS_MS - 1, 1), (OVER_MATTERS_MS, 0)):
            intent = queue.next("box", T0 + later)
            assert intent is not None
            queue.retry(intent, T0 + later, 0, "HTTP 500")
            assert len(queue.waiting) == waits
        assert queue.take_changed()[1][-1].status == "given_up"
