"""One alert: a rule's scope that is not well, from the first word of it to its end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from detectors.alerts.family import FAMILIES, Family
from schemas.scope import KEY_FIELDS
from schemas.thresholds import Rule
from schemas.verdicts import Figures, Verdict, VerdictScope

About = Literal["change", "no_data"]
"""What is wrong: the metric changed, or no values come."""
State = Literal["pending", "firing", "resolved"]
Held = Literal["", "quiet", "inhibited", "unconfirmed"]
"""Why nobody was told yet: quiet hours; an alert of a broader scope says it; or it said so until it was over, and WATCH
has not said since that this one lasts."""
Ended = Literal["", "recovered", "withdrawn", "silent", "speaking", "new_level", "dropped"]

_ID_BYTES: Final = 8


class AlertKey(NamedTuple):
    """What tells a rule's alerts apart: of each there is one at a time."""

    rule: str
    about: About
    scope: tuple[str, ...]
    """Kind, and the fields that tell its scopes apart (`schemas.scope.KEY_FIELDS`)."""

    @classmethod
    def of(cls, verdict: Verdict, about: About) -> AlertKey:
        """The key of what a verdict is on. A labeler that changes vendors stays the same."""
        scope = verdict.scope
        return cls(verdict.rule.name, about, (scope.kind, *(getattr(scope, name) for name in KEY_FIELDS[scope.kind])))


def alert_id(app_id: str, key: AlertKey, began_ms: int) -> str:
    """The same for the same alert, whoever works it out and how often.

    >>> alert_id("labelwatch", AlertKey("gold", "change", ("vendor", "acme")), 1_767_600_000_000)
    '1c4b048c409a9ecf'
    """
    parts = [app_id, key.rule, key.about, *key.scope, str(began_ms)]
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is at one moment; a change makes another value. Times are event times."""

    alert_id: str
    key: AlertKey
    rule: Rule
    """As it was when the alert began, or last got worse."""
    scope: VerdictScope
    state: State
    began_ms: int
    """When it was found."""
    figures: Figures | None
    """Of the latest breach; None where no values come."""
    back: Figures | None = None
    """Of what ended it, where that has any."""
    fired_ms: int | None = None
    resolved_ms: int | None = None
    ended: Ended = ""
    """The verdict that ended it."""
    held: Held = ""
    inhibited_by: str = ""
    """Id of the broader alert, while held for it."""
    released_ms: int | None = None
    """When that was over, while unconfirmed."""
    quiet_until_ms: int | None = None
    """While held for quiet hours; None with it: they never end."""
    told: int = 0
    """How often people were told that it fires."""
    repeat_ms: int | None = None
    """When people are told again."""
    look_ms: int | None = None
    """When it is looked for its cause again, in case none could be named by now."""
    is_flapping: bool = False
    well_ms: int | None = None
    """While flapping: since when all has been well."""
    revision: int = 0
    """Grows with every change."""

    @property
    def about(self) -> About:
        return self.key.about

    @property
    def is_of_few(self) -> bool:
        """Whether it is on a few labelers of its scope, not on all of it."""
        return self.figures is not None and self.figures.labelers is not None

    @property
    def family(self) -> Family:
        """What else the same cause moves."""
        return "silence" if self.about == "no_data" else FAMILIES[self.rule.metric]

    def to_plain(self) -> dict[str, Any]:
        """As values that JSON knows."""
        return {
            "alert_id": self.alert_id,
            "key": [self.key.rule, self.key.about, list(self.key.scope)],
            "rule": self.rule.model_dump(mode="json", by_alias=True),
            "scope": self.scope.model_dump(mode="json"),
            "figures": _figures_plain(self.figures),
            "back": _figures_plain(self.back),
            "look_ms": self.look_ms,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Alert:
        """The inverse of `to_plain`."""
        rule, about, scope = plain["key"]
        return cls(
            alert_id=plain["alert_id"],
            key=AlertKey(rule, about, tuple(scope)),
            rule=Rule.model_validate(plain["rule"]),
            scope=VerdictScope.model_validate(plain["scope"]),
            figures=_figures(plain["figures"]),
            back=_figures(plain["back"]),
            look_ms=plain.get("look_ms"),  # not in what was stored before alerts were looked at again
            **{name: plain[name] for name in _PLAIN},
        )


def _figures_plain(figures: Figures | None) -> dict[str, Any] | None:
    return None if figures is None else figures.model_dump(mode="json")


def _figures(plain: dict[str, Any] | None) -> Figures | None:
    return None if plain is None else Figures.model_validate(plain)


_PLAIN: Final = (
    "state", "began_ms", "fired_ms", "resolved_ms", "ended", "held", "inhibited_by", "released_ms", "quiet_until_ms",
    "told", "repeat_ms", "is_flapping", "well_ms", "revision",
)  # fmt: skip


Change = Literal[
    "pending", "calmed", "fired", "held", "released", "updated", "flapping", "repeated", "looked", "resolved"
]
"""pending: found, not yet for long enough. calmed: over before it was. fired: for long enough now. held: nobody is told
yet. released: now they are. updated: got worse, or as bad again. flapping: comes and goes, and so stays. repeated: told
again. looked: told again if its cause can be named now, and could not before. resolved: over."""
Notice = Literal["firing", "apart", "repeat", "update", "resolved"]
"""apart: that it fires, though another inhibits it; only if labelers are to be named, of whom that one does not speak.
update: that it fires, by whom; only if the message before could not say."""


class Transition(NamedTuple):
    """One change in the life of an alert, and what people are to be told of it."""

    at_ms: int
    change: Change
    alert: Alert
    """As it is after the change."""
    notice: Notice | None
