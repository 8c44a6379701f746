"""Where alerts are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from detectors.alerts.alert import Alert, Notice
from streams.delivery.text import Text

Verdict = Literal["delivered", "later", "refused"]
"""refused: it will never be taken as it is."""


class Sent(NamedTuple):
    """What became of one attempt."""

    verdict: Verdict
    reason: str = ""


DELIVERED = Sent("delivered")


class Outgoing(NamedTuple):
    """One message, ready to be sent."""

    alert: Alert
    notice: Notice
    text: Text
    page: str
    """Address of the alert's page; '' if there is none."""


class Target(Protocol):
    """One place, with its own pace: others do not wait for it."""

    name: str
    """Tells it from the others, also after a restart. No secret is in it."""
    keeps_alive: bool
    """Whether it forgets what it is not told again: then `keep_alive` is called about once a minute, and it alone
    decides how often people hear of it, and who has silenced what."""

    async def send(self, message: Outgoing) -> Sent:
        """Try once. Never raises for anything that the other side does, or that lies in between."""
        ...

    async def keep_alive(self, messages: Sequence[Outgoing]) -> Sent:
        """Say again all that fires."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


def by_status(status: int, reason: str) -> Sent:
    """What an HTTP status says.

    >>> [by_status(status, "").verdict for status in (200, 302, 400, 404, 408, 429, 500, 503)]
    ['delivered', 'refused', 'refused', 'refused', 'later', 'later', 'later', 'later']
    """
    if 200 <= status < 300:
        return DELIVERED
    return Sent("later" if status in (408, 425, 429) or status >= 500 else "refused", f"HTTP {status} {reason}".strip())
