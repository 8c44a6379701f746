"""Real Alertmanager with the shipped configuration: fire, group, inhibit, resolve; over a worker's restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import EmbeddedStack
from schemas.verdicts import Verdict
from streams.sources.source import Message
from tests.alertmanager import Alertmanager, alertmanager
from tests.alerts import HOUR, T0, batch, rule, scope, verdict
from tests.integration.deployment import Deployment, until
from tests.webhook import Webhook, webhook

pytestmark = pytest.mark.integration


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture
def manager(tmp_path: Path, hook: Webhook) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path, hook.port) as running:
        yield running


@pytest.fixture
def worker_on(stack: EmbeddedStack, tmp_path: Path) -> Iterator[Deployment]:
    running = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, tmp_path)
    running.create_topics()
    yield running
    running.close()


VENDOR, LABELER = rule("vendor-gold"), rule("labeler-gold", labels={"team": "captions"})


def labeler(number: int, name: str, **fields: Any) -> Verdict:
    return verdict(number, of=LABELER, on=scope("labeler", labeler_id=name), **fields)


def told(hook: Webhook) -> dict[str, list[str]]:
    """Of each scope, what people were told of it, in order; a status that is only shown again is left out."""
    found: dict[str, list[str]] = {}
    for message in list(hook.taken):
        for alert in message["alerts"]:
            name = alert["labels"].get("labeler_id") or alert["labels"]["vendor_id"]
            before = found.setdefault(name, [])
            if before[-1:] != [alert["status"]]:
                before.append(alert["status"])
    return found


def test_fire_group_inhibit_resolve_over_a_restart(worker_on: Deployment, manager: Alertmanager, hook: Webhook) -> None:
    name, app_id = "alertmanager", "alertmanager"
    worker_on.database(name)
    more = {
        "LABELWATCH_NOTIFY__ALERTMANAGER_URL": manager.url,
        "LABELWATCH_NOTIFY__PAGE_URL": "https://page/$alert_id",
        "LABELWATCH_NOTIFY__RETRY_MAX_SECONDS": "1",
    }

    def say(*verdicts: Verdict) -> None:
        value = batch(*verdicts, app_id=app_id).model_dump_json(by_alias=True).encode()
        worker_on.produce([Message("alerts", b"", value, T0)])

    first = worker_on.start_worker(name, app_id, **more)
    say(labeler(1, "ana"), labeler(2, "ben"))
    until(lambda: told(hook) == {"ana": ["firing"], "ben": ["firing"]}, "two labelers' alerts")
    # Grouped: both in one message, if it was sent after both had come, else in the next.
    last = hook.taken[-1]
    assert {one["labels"]["labeler_id"] for one in last["alerts"]} == {"ana", "ben"}
    assert last["groupLabels"] == {"family": "quality", "project_id": "captions"}
    ana = manager.alerts()["ana"]
    assert ana["labels"] == {
        "alertname": "labeler-gold", "rule": "labeler-gold", "severity": "warning", "metric": "gold_accuracy",
        "family": "quality", "about": "change", "scope": "labeler", "project_id": "captions", "task_type": "image",
        "vendor_id": "acme", "labeler_id": "ana", "team": "captions",
    }  # fmt: skip
    assert ana["generatorURL"] == f"https://page/{ana['annotations']['alert_id']}"
    assert ana["annotations"]["summary"].startswith("WARNING gold accuracy of ana")

    # The vendor's alert says it all: Alertmanager holds back what it has, labelwatch what comes after.
    say(verdict(3, of=VENDOR), labeler(4, "cem"))
    until(lambda: told(hook).get("acme") == ["firing"], "the vendor's alert")
    until(lambda: all(manager.alerts()[one]["status"]["inhibitedBy"] for one in ("ana", "ben")), "inhibition")
    assert "cem" not in manager.alerts()

    assert first.stop() == 0, first.text()[-3_000:]
    messages = len(hook.taken)
    second = worker_on.start_worker(name, app_id, **more)
    second.wait_for("partition.restored", 2)
    say(verdict(5, "recovered", T0 + HOUR, VENDOR, level=0.93))
    until(lambda: told(hook).get("acme") == ["firing", "resolved"], "the end of the vendor's alert")
    say(labeler(6, "cem", at=T0 + 3 * HOUR, seen_since=T0 + 2 * HOUR))
    until(lambda: told(hook).get("cem") == ["firing"], "the labeler that was held back, and is no better since")
    say(*(labeler(n, one, kind="recovered", at=T0 + 4 * HOUR) for n, one in enumerate(("ana", "ben", "cem"), start=7)))
    ended = {one: ["firing", "resolved"] for one in ("acme", "ana", "ben", "cem")}
    until(lambda: told(hook) == ended, "all to be over")
    assert second.stop() == 0
    of_vendor = [message for message in hook.taken if message["groupLabels"] == {"family": "quality"}]
    assert [message["status"] for message in of_vendor] == ["firing", "resolved"], "nothing twice"
    assert messages < len(hook.taken)
