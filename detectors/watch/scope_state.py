"""What a rule knows of one of its scopes, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from detectors.change.finding import Detector
from detectors.watch.breach import Breach
from detectors.watch.together import ScopeKey
from schemas.verdicts import Figures, VerdictKind


class Said(NamedTuple):
    """What a rule says of a scope."""

    kind: VerdictKind
    scope: ScopeState
    figures: Figures | None


@dataclass(slots=True)
class ScopeState:
    """One scope of a rule."""

    key: ScopeKey
    fields: dict[str, str]
    """Of the segment, and the labeler, as far as the rule tells them apart; of a labeler the vendor, too."""
    detectors: list[Detector]
    level: float | None
    """That the detectors were planned for."""
    heard_ms: int
    """The clock at the latest value."""
    breach: Breach | None = None
    is_silent: bool = False


def in_order(said: Iterable[Said]) -> list[Said]:
    """Of many scopes at once, in the order of their keys: that of memory is another one after a restart."""
    return sorted(said, key=lambda one: one.scope.key)
