"""A segment's quality falls: from the annotations on Kafka to the message at a webhook, by the rules that ship."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import orjson
import pytest

from benchmarks.pooled_drop import DROP_MINUTE, MINUTE_MS, MINUTES, minutes_of_events
from schemas.topics import ANNOTATIONS
from streams.sources.source import Message
from streams.thresholds import SHIPPED
from tests.integration.deployment import Deployment, received, until
from tests.webhook import Webhook, webhook

pytestmark = pytest.mark.integration

#: Minutes that are sent at once while nothing has happened yet.
AT_ONCE = 10


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: nothing here depends on the broker."""
    return "embedded"


def test_twelve_points_at_twenty_golds_a_minute_are_told_within_five_minutes(
    deployment: Deployment, hook: Webhook
) -> None:
    client = deployment.database("pooled_drop")
    settings = {
        "LABELWATCH_RULES__FILE": str(SHIPPED),
        "LABELWATCH_NOTIFY__APPRISE_URLS": f"json://127.0.0.1:{hook.port}/?:alert_id={{alert_id}}",
    }
    worker = deployment.start_worker("pooled_drop", "pooled-drop", **settings)
    start_ms = int(time.time() * 1_000) - (MINUTES + 1) * MINUTE_MS
    sent, waiting = 0, list[Message]()
    for minute, events in enumerate(minutes_of_events(seed=1, start_ms=start_ms)):
        for event in events:
            waiting.append(Message(ANNOTATIONS.name, event["task_id"].encode(), orjson.dumps(event), 0))
        if minute < DROP_MINUTE and minute % AT_ONCE < AT_ONCE - 1:
            continue
        sent += deployment.produce(waiting)
        waiting.clear()
        until(lambda: received(client) >= sent, f"{sent} messages", 120.0)  # noqa: B023  (called at once)
        if minute < DROP_MINUTE:
            assert hook.tried == [], "nothing had happened"
        elif minute >= DROP_MINUTE + 4:
            break
    until(lambda: hook.taken, "the alert at the webhook")
    assert worker.stop() == 0, worker.text()[-3_000:]
    (minutes,) = client.query(
        "SELECT dateDiff('second', toDateTime64({drop:Int64} / 1000, 3, 'UTC'), min(fired_at)) / 60 FROM alert_history",
        parameters={"drop": start_ms + DROP_MINUTE * MINUTE_MS},
    ).first_row
    assert 0 < minutes <= 5
    first = hook.titles[0]  # whichever of the two comes first
    assert re.search("(gold accuracy|consensus agreement) of v / p / t fell from", first), hook.titles
