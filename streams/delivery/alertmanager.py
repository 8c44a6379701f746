"""Alertmanager, by its API v2. Grouping, silences, routing and repeats are its own.

It takes an alert for over when it hears no more of it. So what fires is sent again every minute, with an end ahead of
now; and what is over is sent once with its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from detectors.alerts.alert import Alert
from schemas.scope import parse_scope
from streams.delivery.target import DELIVERED, Outgoing, Sent, by_status

#: How far ahead of now the end of a firing alert lies: three of four tries to say it again may fail.
EXPIRES_MS: Final = 4 * 60_000
_PATH: Final = "/api/v2/alerts"
_SILENCES: Final = "/api/v2/silences"
_SILENCE: Final = "/api/v2/silence"
_ANSWER_CHARS: Final = 300


class Alertmanager:
    """One Alertmanager, or one of a cluster; see `streams.delivery.target.Target`.

    Args:
        url: its address, with any prefix of its paths and perhaps user and password. Never logged.
        now_ms: the wall clock.
        timeout_seconds: of one request.
        name: which of a cluster.
    """

    keeps_alive = True

    def __init__(
        self, url: str, now_ms: Callable[[], int], timeout_seconds: float = 10.0, name: str = "alertmanager"
    ) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._now_ms = now_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message: Outgoing) -> Sent:
        return await self.keep_alive([message])

    async def keep_alive(self, messages: Sequence[Outgoing]) -> Sent:
        if not messages:
            return DELIVERED
        return (await self._ask("POST", _PATH, [as_posted(message, self._now_ms()) for message in messages]))[0]

    async def silence(self, *, matchers: Mapping[str, str], until_ms: int, by: str, comment: str) -> tuple[Sent, str]:
        """Silence alerts with these labels; what came of it, and the silence's id."""
        content = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers.items()
            ],
            "startsAt": _time(self._now_ms()),
            "endsAt": _time(until_ms),
            "createdBy": by,
            "comment": comment,
        }
        sent, answer = await self._ask("POST", _SILENCES, content)
        return sent, str(answer.get("silenceID", "")) if isinstance(answer, dict) else ""

    async def end_silences(self, matchers: Mapping[str, str], but: str = "") -> tuple[Sent, list[str]]:
        """End all silences with these very matchers, but for one; what came of it, and the ids of those ended."""
        sent, found = await self._ask("GET", _SILENCES, most=-1)
        if sent != DELIVERED:
            return sent, []
        ended = [one["id"] for one in found or () if one["id"] != but and _is_silence_of(one, matchers)]
        for silence in ended:
            sent, _ = await self._ask("DELETE", f"{_SILENCE}/{silence}")
            if sent != DELIVERED:
                return sent, []
        return DELIVERED, ended

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, method: str, path: str, content: object = None, most: int = _ANSWER_CHARS) -> tuple[Sent, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.request(method, self._url + path, json=content, allow_redirects=False) as answer:
                text = (await answer.content.read(most)).decode("utf-8", "replace")
                sent = by_status(answer.status, " ".join(text.split()))
                is_json = sent.verdict == "delivered" and answer.content_type == "application/json"
                return sent, _parsed(text) if is_json else None
        except aiohttp.InvalidURL:
            return Sent("refused", "notify.alertmanager_url is not an address"), None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Sent("later", _reason(error)), None


def labels_of(alert: Alert) -> dict[str, str]:
    """What tells the alert from others, and what it is routed, grouped and inhibited by."""
    scope = alert.scope
    ours = {
        "alertname": alert.rule.name,
        "rule": alert.rule.name,
        "severity": alert.rule.severity,
        "metric": alert.rule.metric,
        "family": alert.family,
        "about": alert.about,
        "scope": scope.kind,
        "few": "yes" if alert.is_of_few else "",
        "selection": "" if parse_scope(scope.text).where is None else "yes",
        "project_id": scope.project_id,
        "task_type": scope.task_type,
        "labeler_id": scope.labeler_id,
        "vendor_id": scope.vendor_id,
    }
    return {**alert.rule.labels, **{name: value for name, value in ours.items() if value}}


def as_posted(message: Outgoing, now_ms: int) -> dict[str, Any]:
    """The alert as the API takes it."""
    alert, text = message.alert, message.text
    # A clock may be behind the events': an alert must not begin after it ends, nor be over in the future.
    began_ms = min(alert.began_ms, now_ms - 1)
    is_over = alert.state == "resolved"
    ends_ms = min(alert.resolved_ms or now_ms, now_ms) if is_over else now_ms + EXPIRES_MS
    annotations = {
        "summary": text.title,
        "description": text.body,
        "alert_id": alert.alert_id,
        "runbook_url": alert.rule.runbook or "",
    }
    return {
        "labels": labels_of(alert),
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": _time(began_ms),
        "endsAt": _time(max(ends_ms, began_ms + 1)),
        **({"generatorURL": message.page} if message.page else {}),
    }


def _is_silence_of(silence: Mapping[str, Any], matchers: Mapping[str, str]) -> bool:
    """Whether it is in force, or will be, for exactly these."""
    theirs = silence["matchers"]
    if silence["status"]["state"] == "expired" or any(one["isRegex"] or not one.get("isEqual", True) for one in theirs):
        return False
    return {one["name"]: one["value"] for one in theirs} == dict(matchers)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """What happened, without the address, which may hold a password."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return "no answer in time" if isinstance(error, TimeoutError) else f"connection failed: {type(error).__name__}"
