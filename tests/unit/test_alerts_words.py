"""An alert that is put into words when somebody looks: of which time, and from which row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectors.alerts.alert import Alert
from streams.cli.alerts_words import alert_of, find_words, has_words
from streams.delivery.explained_text import ExplainedText
from streams.delivery.text import Text
from streams.settings import Settings

BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)
ROW: dict[str, Any] = {
    "alert_id": "1c4b048c409a9ecf",
    "rule": "vendor-gold",
    "metric": "gold_accuracy",
    "about": "change",
    "severity": "critical",
    "scope_kind": "vendor",
    "scope": "vendor",
    "project_id": "",
    "task_type": "",
    "vendor_id": "acme",
    "labeler_id": "",
    "started_at": BEGAN,
    "fired_at": BEGAN,
    "resolved_at": None,
    "heard": None,
    "is_flapping": False,
    "direction": "down",
    "unit": "share",
    "counted": "golds",
    "labelers": 6,
    "baseline": 0.92,
    "level": 0.8,
    "since": BEGAN - timedelta(minutes=20),
    "answers": 60,
    "statistic": 5_000.0,
    "threshold": 4_000.0,
    "runbook": "https://wiki.example/gold",
    "body": "",
}


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({}, BEGAN),
        ({"heard": BEGAN + timedelta(hours=5)}, BEGAN + timedelta(hours=5)),
        ({"heard": BEGAN - timedelta(hours=5)}, BEGAN),  # read again from the beginning
        ({"heard": BEGAN + timedelta(hours=5), "resolved_at": BEGAN + timedelta(hours=1)}, BEGAN + timedelta(hours=1)),
    ],
)
async def test_all_answers_count_until_it_was_over(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], until: datetime
) -> None:
    asked: list[int] = []

    async def text(self: ExplainedText, alert: Alert, notice: str, until_ms: int) -> Text:
        asked.append(until_ms)
        return Text("title", "body", "{}")

    monkeypatch.setattr(ExplainedText, "text", text)
    assert await find_words({**ROW, **more}, Settings()) == {"title": "title", "body": "body", "explanation": "{}"}
    assert asked == [until.timestamp() * 1_000]


def test_the_alert_is_that_of_the_row() -> None:
    alert = alert_of(ROW)
    assert (alert.alert_id, alert.rule.name, alert.rule.runbook) == (ROW["alert_id"], "vendor-gold", ROW["runbook"])
    assert (alert.scope.kind, alert.scope.vendor_id, alert.family) == ("vendor", "acme", "quality")
    assert alert.figures is not None
    assert (alert.figures.level, alert.figures.answers, alert.figures.threshold) == (0.8, 60, 4_000.0)
    assert alert.figures.labelers == 6
    silent = alert_of({**ROW, "about": "no_data", "level": None, "baseline": None, "since": None, "runbook": ""})
    assert (silent.figures, silent.family, silent.rule.runbook) == (None, "silence", None)


def test_what_people_were_told_stays() -> None:
    assert has_words({**ROW, "body": "Gold accuracy fell"})
    assert not has_words(ROW)
