"""Messages through the real plugins of Slack, PagerDuty and Discord: what is sent, and what an answer means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import requests

from detectors.alerts.alert import Alert
from detectors.alerts.book import AlertBook
from detectors.explain import Verdict
from detectors.explain.counterfactual import Without
from detectors.explain.explanation import Named, Summary
from streams.alert_text import MAX_QUERY, AlertFacts, message
from streams.delivery.apprise_target import AppriseTarget
from streams.delivery.target import Outgoing
from streams.delivery.text import PlainText, Text
from streams.explanations import Leading
from tests.alerts import batch, rule, scope, verdict
from tests.builders import START_MS
from tests.hostile_names import ON_THE_WIRE


class Service(NamedTuple):
    """One service: its address, what it says when it takes a message, how long one may be, and where its text is."""

    url: str
    ok: tuple[int, bytes]
    most: int
    shown: Callable[[Any], str]


def _blocks(sent: Any) -> str:
    return str(next(one["text"]["text"] for one in sent["attachments"][0]["blocks"] if one["type"] == "section"))


SLACK_TOKENS = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
SERVICES = {
    "slack webhook": Service(f"{SLACK_TOKENS}/#a", (200, b"ok"), 35_000, lambda sent: sent["attachments"][0]["text"]),
    "slack blocks": Service(f"{SLACK_TOKENS}/#a?blocks=yes", (200, b"ok"), 3_000, _blocks),
    "slack bot": Service(
        "slack://xoxb-1234-1234-abcdefghijklmnop/#a", (200, b'{"ok": true}'), 35_000,
        lambda sent: sent["attachments"][0]["text"],
    ),
    "pagerduty": Service(
        f"pagerduty://{'i' * 32}@{'a' * 20}?action=map&dedup={{alert_id}}", (202, b"{}"), 1_024,
        lambda sent: sent["payload"]["summary"],
    ),
    "discord": Service(f"discord://{'1' * 18}/{'t' * 68}", (204, b""), 2_000, lambda sent: sent["content"]),
}  # fmt: skip


class Wire:
    """What is sent instead of over the network, and the answer to it."""

    def __init__(self) -> None:
        self.answer = (200, b"ok")
        self.sent: list[Any] = []

    def request(self, session: Any, method: str, url: str, **kwargs: Any) -> requests.Response:
        self.sent.append(json.loads(kwargs["data"]))
        response = requests.Response()
        response.status_code, response._content = self.answer
        return response


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    found = Wire()
    monkeypatch.setattr(requests.Session, "request", lambda *args, **kwargs: found.request(*args, **kwargs))
    return found


def fired(name: str = "acme") -> Alert:
    of = rule(severity="critical", runbook="https://runbook/gold")
    return AlertBook("labelwatch").take(batch(verdict(1, of=of, on=scope(vendor_id=name))))[0].alert


async def sent(service: Service, text: Text, alert: Alert) -> Any:
    target = AppriseTarget(service.url)
    try:
        return await target.send(Outgoing(alert, "firing", text, ""))
    finally:
        await target.close()


CAUSE = AlertFacts(
    rule="labeler-gold-accuracy", metric="gold_accuracy", severity="critical", state="firing",
    project_id="traffic-signs-2026", task_type="image_classification", vendor_id="acme-manila",
    baseline=0.92, level=0.8, since_ms=START_MS, at_ms=START_MS + 1_500_000, answers=120, statistic=5_210.4,
    threshold=4_032.0, based_on="by consensus", affected_tasks=1_097, affected_query="x" * MAX_QUERY,
    why=Summary(
        "gold_accuracy", 0.92, 0.8, 4_000.0, 1_373.0, None, Verdict.LABELERS,
        (Named("labeler", "labeler-00017"), Named("labeler", "labeler-00412")), 0.83, 1_234.5,
        Without(("labeler-00017", "labeler-00412"), 0.91, 900.0, True), -0.12, 0.0,
    ),
    leading=(Leading("vendor", "acme-manila", 0.9), Leading("hour", "2026-01-05 07:00", 0.8)),
    runbook="https://wiki.example.com/quality/runbooks/quality-drop", alert_id="1c4b048c409a9ecf",
    page_template="https://watch.example/alerts/$alert_id",
)  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
class TestServices:
    async def test_a_long_body_is_cut_to_what_the_service_takes(self, name: str, wire: Wire) -> None:
        service, alert = SERVICES[name], fired()
        wire.answer = service.ok
        plain = PlainText().text(alert, "firing")
        body = f"{plain.body}\nQuery: \nSELECT {'x' * 50_000}"
        assert (await sent(service, Text(plain.title, body), alert)).verdict == "delivered"
        (one,) = wire.sent
        said = service.shown(one)
        assert 0.9 * service.most < len(said) <= service.most
        assert all(line in said for line in plain.body.splitlines())
        assert plain.title in json.dumps(one, ensure_ascii=False)

    async def test_of_a_page_that_names_a_cause_nothing_is_cut_that_is_needed_now(self, name: str, wire: Wire) -> None:
        service = SERVICES[name]
        wire.answer = service.ok
        page = message(CAUSE)
        kept, query = page.text.split("\nQuery: \n")
        assert len(query) == MAX_QUERY
        assert (await sent(service, Text(*page), fired())).verdict == "delivered"
        said = service.shown(wire.sent[0]).replace("\r", "")
        assert len(said) <= service.most
        needed, _ = kept.split("Judged by: ")
        assert all(line in said for line in needed.splitlines())

    async def test_200_with_a_refusal_in_it_is_not_delivered(self, name: str, wire: Wire) -> None:
        service, alert = SERVICES[name], fired()
        wire.answer = (200, b'{"ok": false, "error": "channel_not_found"}')
        outcome = await sent(service, PlainText().text(alert, "firing"), alert)
        if name.startswith("slack"):
            assert outcome == ("later", "answered 200 but did not take it")
        else:
            assert outcome.verdict == "delivered", "they have no such answer: the status counts"

    @pytest.mark.parametrize(
        ("status", "verdict"), [(400, "refused"), (401, "later"), (403, "later"), (404, "later"), (429, "later")]
    )
    async def test_refusals(self, name: str, wire: Wire, status: int, verdict: str) -> None:
        alert = fired()
        wire.answer = (status, b"no")
        outcome = await sent(SERVICES[name], PlainText().text(alert, "firing"), alert)
        assert outcome == (verdict, f"HTTP {status}")

    async def test_hostile_names_call_and_link_nobody(self, name: str, wire: Wire) -> None:
        service = SERVICES[name]
        wire.answer = service.ok
        for hostile in ON_THE_WIRE:
            alert = fired(hostile)
            assert (await sent(service, PlainText().text(alert, "firing"), alert)).verdict == "delivered"
            whole = json.dumps(wire.sent[-1], ensure_ascii=False)
            for bad in ("@everyone", "@here", "<!channel", "<@", "](http", "https://evil", "<script"):
                assert bad not in whole, hostile
