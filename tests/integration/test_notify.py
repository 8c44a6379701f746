"""Verdicts on Kafka become messages at a webhook: through real workers, stopped, killed and refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.verdicts import Verdict
from streams.sources.source import Message
from tests.alerts import HOUR, T0, batch, scope, verdict
from tests.integration.deployment import Deployment, until
from tests.webhook import Webhook, webhook

pytestmark = pytest.mark.integration


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


def settings(hook: Webhook) -> dict[str, str]:
    return {
        "LABELWATCH_NOTIFY__APPRISE_URLS": f"json://127.0.0.1:{hook.port}/?:alert_id={{alert_id}}",
        "LABELWATCH_NOTIFY__RETRY_MAX_SECONDS": "1",
    }


def say(deployment: Deployment, app_id: str, *verdicts: Verdict) -> None:
    value = batch(*verdicts, app_id=app_id).model_dump_json(by_alias=True).encode()
    deployment.produce([Message("alerts", b"", value, T0)])


def test_a_restart_between_fire_and_end_repeats_nothing_and_misses_nothing(
    deployment: Deployment, hook: Webhook
) -> None:
    app_id = "notify-restart"
    client = deployment.database("notify_restart")
    first = deployment.start_worker("notify_restart", app_id, **settings(hook))
    say(deployment, app_id, verdict(1))
    until(lambda: hook.taken, "the alert at the webhook")
    assert first.stop() == 0, first.text()[-3_000:]
    say(deployment, app_id, verdict(2, "recovered", T0 + HOUR))
    second = deployment.start_worker("notify_restart", app_id, **settings(hook))
    until(lambda: len(hook.taken) >= 2, "the end of the alert at the webhook")
    say(deployment, app_id, verdict(3, "breach", T0 + HOUR, on=scope(vendor_id="other")))
    until(lambda: len(hook.taken) >= 3, "another alert at the webhook")
    assert second.stop() == 0
    first_title, over, another = hook.titles
    assert first_title == "WARNING gold accuracy of acme fell from 92 % to 80 %"
    assert over.startswith("RESOLVED gold accuracy of acme")
    assert another == "WARNING gold accuracy of other fell from 92 % to 80 %"
    assert len(hook.tried) == 3
    assert hook.taken[0]["alert_id"] == hook.taken[1]["alert_id"] != hook.taken[2]["alert_id"]
    history = client.query(
        "SELECT state, firing_seconds, told, delivered, waiting, title != '' FROM alert_history ORDER BY vendor_id"
    ).result_rows
    assert history == [("resolved", 3_600.0, 1, 2, 0, 1), ("firing", None, 1, 1, 0, 1)]


def test_a_webhook_that_answers_500_gets_each_alert_once(deployment: Deployment, hook: Webhook) -> None:
    app_id = "notify-500"
    client = deployment.database("notify_500")
    hook.status = 500
    worker = deployment.start_worker("notify_500", app_id, **settings(hook))
    vendors = ["a", "b", "c"]
    say(deployment, app_id, *(verdict(n, on=scope(vendor_id=vendor)) for n, vendor in enumerate(vendors, start=1)))
    until(lambda: len(hook.tried) >= 9, "three tries of each")
    # Consumption does not wait for any of it.
    say(deployment, app_id, verdict(4, on=scope(vendor_id="d")))
    until(lambda: any("of d fell" in tried["title"] for tried in hook.tried), "one more, meanwhile")
    worker.kill()  # what waits survives
    tried = len(hook.tried)
    again = deployment.start_worker("notify_500", app_id, **settings(hook))
    until(lambda: len(hook.tried) > tried, "tries of the next worker")
    assert hook.taken == []
    hook.status = 200
    until(lambda: len(hook.taken) >= 4, "all alerts")
    sql = "SELECT vendor_id, delivered, waiting FROM alert_history ORDER BY vendor_id"
    expected = [(vendor, 1, 0) for vendor in [*vendors, "d"]]
    until(lambda: client.query(sql).result_rows == expected, "all of it in the tables")
    assert again.stop() == 0
    assert sorted(hook.titles) == [
        f"WARNING gold accuracy of {vendor} fell from 92 % to 80 %" for vendor in [*vendors, "d"]
    ]
    assert f"127.0.0.1:{hook.port}" not in worker.text() + again.text(), "addresses are secret"


def test_a_message_that_is_refused_is_given_up(deployment: Deployment, hook: Webhook) -> None:
    app_id = "notify-400"
    client = deployment.database("notify_400")
    hook.status = 400
    worker = deployment.start_worker("notify_400", app_id, **settings(hook))
    say(deployment, app_id, verdict(1))
    sql = "SELECT status, reason, attempts FROM alert_deliveries_current"
    until(lambda: client.query(sql).result_rows == [("given_up", "HTTP 400", 1)], "it to be given up")
    assert worker.stop() == 0
    assert len(hook.tried) == 1


def test_a_refused_address_is_tried_until_it_is_mended(deployment: Deployment, hook: Webhook) -> None:
    app_id = "notify-401"
    client = deployment.database("notify_401")
    hook.status = 401
    worker = deployment.start_worker("notify_401", app_id, **settings(hook))
    say(deployment, app_id, verdict(1))
    sql = "SELECT status, reason FROM alert_deliveries_current"
    until(lambda: len(hook.tried) >= 3, "three tries")
    until(lambda: client.query(sql).result_rows == [("waiting", "HTTP 401")], "the reason")
    hook.status = 200
    until(lambda: client.query(sql).result_rows == [("delivered", "")], "it to be taken")
    assert worker.stop() == 0
    assert len(hook.taken) == 1
