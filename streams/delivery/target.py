"""Where alerts are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from detectors.alerts.alert import Alert, Notice
from streams.delivery.text import Text

#: The message cannot be read, is too long, or says what cannot be.
_FINAL: Final = (400, 413, 422)
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

    Only what is wrong with the message itself is final. A token that has expired, an address that is gone, a proxy that
    redirects: somebody mends that, and the alert still fires.

    >>> [by_status(status, "").verdict for status in (200, 302, 400, 401, 404, 413, 422, 429, 503)]
    ['delivered', 'later', 'refused', 'later', 'later', 'refused', 'refused', 'later', 'later']
    """
    if 200 <= status < 300:
        return DELIVERED
    return Sent("refused" if status in _FINAL else "later", f"HTTP {status} {reason}".strip())
