"""How alerts are listed: what was really sent, and until when nobody hears."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streams.cli.alerts_output import print_table, print_trials
from streams.delivery.target import DELIVERED, Sent


def row(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "alert_id": "1c4b048c409a9ecf", "severity": "critical", "state": "firing", "rule": "gold",
        "metric": "gold_accuracy", "scope": "vendor", "labeler_id": "", "vendor_id": "acme", "project_id": "",
        "task_type": "", "baseline": 0.92, "level": 0.8, "unit": "share", "held": "", "is_flapping": False,
        "started_at": datetime(2026, 1, 5, 8, tzinfo=UTC), "acked_by": "", "silenced_until": None,
        "told": 1, "delivered": 1, "waiting": 0, "given_up": 0,
    }  # fmt: skip
    return known | changes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "1 delivered"),
        ({"told": 2, "delivered": 4, "given_up": 1}, "4 delivered, 1 given up"),
        ({"delivered": 0, "waiting": 1}, "0 delivered, 1 waiting"),
        ({"delivered": 0}, "0 delivered"),
        ({"silenced_until": datetime(2026, 1, 6, 9, 30, tzinfo=UTC)}, "firing (silenced until 2026-01-06 09:30 UTC)"),
    ],
)
def test_list(changes: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table([row(**changes)])
    shown = capsys.readouterr().out
    assert says in shown
    assert " x" not in shown, "how often people were to be told says nothing of whether they were"


def test_nothing_is_said_of_messages_that_nobody_was_to_get(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([row(told=0, delivered=0, held="quiet")])
    assert "delivered" not in capsys.readouterr().out


def test_a_test_message_is_not_tried_later(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials([("a", DELIVERED), ("b", Sent("later", "HTTP 503")), ("c", Sent("refused", "HTTP 400"))])
    shown = capsys.readouterr().out
    assert [word in shown for word in ("delivered", "not taken, may pass", "refused", "HTTP 503")] == [True] * 4
    assert "later" not in shown
