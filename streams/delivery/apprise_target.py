"""Everything that Apprise can send to: Slack, PagerDuty, e-mail, Teams, plain webhooks, and 100 more.

Apprise blocks, so each target has a thread of its own. What went wrong it says in words, of which only an HTTP status
is kept: addresses in them are secret. It sends text of any length unless it is told to cut it, and services refuse what
is too long for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from streams.delivery.target import DELIVERED, Outgoing, Sent, by_status

if TYPE_CHECKING:
    import apprise

_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_LOG: Final = logging.getLogger("apprise")
#: Slack's limit of one section, which Apprise does not know: it knows that of messages without blocks.
_SECTION_CHARS: Final = 3_000


class AddressError(ValueError):
    """Such an address cannot be used. It is not repeated: it may be secret."""


class AppriseTarget:
    """One address of Apprise; see `streams.delivery.target.Target`.

    Args:
        url: as in Apprise's documentation. ``{alert_id}`` in it becomes the alert's id, for services that tell
            messages on one thing from others by a key.
        timeout_seconds: how long an attempt is waited for. One that takes longer goes on, and its end counts.

    Raises:
        AddressError: no such service, something is missing in its address, or it has several recipients. One of these
            may fail, and Apprise does not say which, so that all would get the message again and again.
    """

    keeps_alive = False

    def __init__(self, url: str, timeout_seconds: float = 30.0) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="apprise")
        self._running: tuple[tuple[str, int], asyncio.Future[Sent]] | None = None
        schema = url.split(":", 1)[0].lower()
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        self.name = f"{re.sub('[^a-z0-9]', '', schema)[:30]}-{digest}"
        """The service, and a hash of its address."""
        _quieten()
        self._service("0" * 16)

    async def send(self, message: Outgoing) -> Sent:
        key = message.alert.alert_id, message.alert.revision
        if self._running is None or self._running[0] != key:
            if self._running is not None and not self._running[1].done():
                return Sent("later", "an attempt before it has not ended yet")
            loop = asyncio.get_running_loop()
            self._running = key, loop.run_in_executor(self._thread, self._notify, message)
        running = self._running[1]
        done, _ = await asyncio.wait({running}, timeout=self._timeout_seconds)
        if not done:
            return Sent("later", f"no answer within {self._timeout_seconds:g} s")
        self._running = None
        return running.result()

    async def keep_alive(self, messages: Sequence[Outgoing]) -> Sent:
        return DELIVERED

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _service(self, alert_id: str) -> apprise.Apprise:
        import apprise

        service = apprise.Apprise()
        schema = self._url.split(":", 1)[0][:30]
        if not service.add(self._url.replace("{alert_id}", alert_id)):
            raise AddressError(
                f"Apprise cannot use the address that begins with {schema!r}: no such service, or something is missing "
                "(https://github.com/caronc/apprise/wiki)"
            )
        if sum(len(one) for one in service) > 1:
            raise AddressError(
                f"the address that begins with {schema!r} has several recipients: write one address for each, so that "
                "those who took a message do not get it again when another did not (docs/alerts.md)"
            )
        for one in service:
            one.overflow_mode = apprise.OverflowMode.TRUNCATE
            if getattr(one, "use_blocks", False):
                one.body_maxlen = min(one.body_maxlen, _SECTION_CHARS)
        return service

    def _notify(self, message: Outgoing) -> Sent:
        import apprise

        try:
            result = self._service(message.alert.alert_id).notify(
                title=message.text.title,
                body=message.text.body,
                notify_type=_type(message, apprise.NotifyType),
                body_format=apprise.NotifyFormat.TEXT,
                log_level=logging.WARNING,
            )
        except Exception as error:  # a plugin's bug must not end the worker, nor show its address
            return Sent("later", f"Apprise failed: {type(error).__name__}")
        if result:
            return DELIVERED
        statuses = [int(found[1]) for entry in result.logs() if (found := _STATUS.search(entry.message))]
        if not statuses:
            return Sent("later", "not taken, or no connection")
        sent = by_status(statuses[-1], "")
        if sent == DELIVERED:  # Slack says what is wrong in the answer, with status 200
            return Sent("later", f"answered {statuses[-1]} but did not take it")
        return sent


def _type(message: Outgoing, kinds: type[apprise.NotifyType]) -> apprise.NotifyType:
    if message.notice == "resolved":
        return kinds.SUCCESS
    return {"critical": kinds.FAILURE, "warning": kinds.WARNING, "info": kinds.INFO}[message.alert.rule.severity]


def _quieten() -> None:
    """Keep what Apprise logs to ourselves."""
    _LOG.propagate = False
    if not any(isinstance(handler, logging.NullHandler) for handler in _LOG.handlers):
        _LOG.addHandler(logging.NullHandler())
    if _LOG.level == logging.NOTSET or _LOG.level < logging.WARNING:
        _LOG.setLevel(logging.WARNING)
