"""A test message, to see whether it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from detectors.alerts.alert import Alert, AlertKey, alert_id
from schemas.thresholds import Rule
from schemas.verdicts import VerdictScope
from streams.delivery.target import Outgoing, Sent, Target
from streams.delivery.text import Text, page_of


def trial(page_url: str | None, now_ms: int, by: str) -> Outgoing:
    """The message. In Alertmanager it is an alert that is over by itself within minutes."""
    key = AlertKey("labelwatch-test", "change", ("all",))
    alert = Alert(
        alert_id("test", key, now_ms), key, Rule(name="labelwatch-test", metric="lag_seconds", severity="info"),
        VerdictScope(kind="all", text="all"), "firing", now_ms, None, fired_ms=now_ms, told=1,
    )  # fmt: skip
    body = f"{by} tries out whether labelwatch reaches you. It does; there is nothing to do."
    page = page_of(page_url, alert)
    return Outgoing(alert, "firing", Text("[TEST] labelwatch", f"{body}\nPage: {page}" if page else body), page)


async def try_all(targets: Sequence[Target], page_url: str | None, now_ms: int, by: str) -> list[tuple[str, Sent]]:
    """Send it once to each; what each said, by name."""
    message = trial(page_url, now_ms, by)
    try:
        sent = await asyncio.gather(*(target.send(message) for target in targets))
    finally:
        for target in targets:
            await target.close()
    return [(target.name, one) for target, one in zip(targets, sent, strict=True)]
