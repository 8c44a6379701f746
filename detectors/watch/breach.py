"""What follows a finding: until the metric is back, its detector rests, and what it has learned stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from detectors.change.finding import Finding

#: Evidence, in nats, that all is well: twenty to one for the level before against the smallest drop from it.
SURE: Final = math.log(20.0)
#: Evidence is not kept beyond this, so that a relapse is noticed.
MOST: Final = 2.0 * SURE
#: A breach that lasts for so long is the level now.
LONGEST_MS: Final = 14 * 86_400_000
#: Late data may take back what was found within so long.
REVISED_MS: Final = 86_400_000
#: That it lasts is not said again before.
AGAIN_MS: Final = 3_600_000
#: Who was not at work for so long is not what is wrong with it now.
AWAY_MS: Final = 86_400_000
#: Values say nothing before they weigh as much: an hour at night, of which little was expected.
_LEAST_WEIGHT: Final = 0.5
_NEAREST: Final = 0.01

End = Literal["recovered", "withdrawn", "new_level"]


@dataclass(slots=True)
class Breach:
    """A change that was found in one scope, and what has been seen since.

    Shares are watched by the likelihood ratio of the level before against the one that was found, or one between them
    (`_lasting`; A. Wald, *Sequential tests of statistical hypotheses*, 1945): when it speaks for the drop, the breach
    lasts, and the watch begins anew. Other numbers are back when their mean is nearer to the level before than to the
    one that was found.

    >>> finding = Finding(0, "down", 4_300.0, 4_270.0, 0.92, 0.70, since_ms=-60_000, answers=40)
    >>> breach = Breach.of(finding, drop=0.1, resolve_after_ms=1_800_000)
    >>> ends = [breach.see(minute % 12 != 0, 60_000 * minute) for minute in range(1, 120)]
    >>> ends.index("recovered")
    29
    """

    direction: Literal["down", "up"]
    at_ms: int
    baseline: float
    level: float
    since_ms: int
    answers: int
    statistic: float
    threshold: float
    drop: float | None
    """Smallest drop of a share; None for other numbers."""
    resolve_after_ms: int
    well_since_ms: int
    said_ms: int
    """When it was last said that it is bad."""
    bad_since_ms: int = 0
    """Since when the values came that said that it lasts."""
    evidence: float = 0.0
    """That all is well, in nats; of numbers their sum."""
    seen: float = 0.0
    """Weights of the values since the watch began anew."""
    total: float = 0.0
    """Sum of all values since the finding."""
    taken: int = 0
    """Their number."""
    weighed: float = 0.0
    """Their weights."""
    lowest: float = 0.0
    """Of the evidence, since the watch began anew: all has been well since then, if it is."""
    well_total: float = 0.0
    """Sum of the values since then."""
    well: int = 0
    """Their number."""
    late_sum: float = 0.0
    late_seen: int = 0
    is_limit: bool = False
    """The level before is a limit: whatever is within it is well."""
    labelers: tuple[str, ...] = ()
    """Whom it is about, of many; () for everybody."""
    heard_ms: int = 0
    """When they were last at work."""

    @classmethod
    def of(cls, finding: Finding, *, drop: float | None, resolve_after_ms: int, is_limit: bool = False) -> Breach:
        """What begins with a finding."""
        return cls(
            direction=finding.direction,
            at_ms=finding.at_ms,
            baseline=finding.baseline,
            level=finding.level,
            since_ms=finding.since_ms,
            answers=finding.answers,
            statistic=finding.statistic,
            threshold=finding.threshold,
            drop=drop,
            resolve_after_ms=resolve_after_ms,
            well_since_ms=finding.at_ms,
            said_ms=finding.at_ms,
            is_limit=is_limit,
            labelers=finding.labelers,
            heard_ms=finding.at_ms,
        )

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Breach:
        """The inverse of `dump`, of JSON too."""
        since = {"labelers": tuple(state.get("labelers", ())), "weighed": state.get("weighed", state["taken"])}
        return cls(**{**state, **since})

    def is_about(self, labeler_id: str) -> bool:
        """Whether a labeler's values say whether it lasts."""
        return not self.labelers or labeler_id in self.labelers

    def miss(self, now_ms: int) -> End | None:
        """Others are at work: after a day without those whom it is about, the scope is well."""
        if now_ms - self.heard_ms < AWAY_MS:
            return None
        self.well_total, self.well = 0.0, 0  # what they gave before they left is not why
        return "recovered"

    def see(self, value: float, now_ms: int, weight: float = 1.0) -> End | Literal["lasts"] | None:
        """Take a value that came after the finding: how the breach ends, or that it lasts, where that is known by now.

        That it lasts is said once an hour at most.

        Args:
            value: what came.
            now_ms: its time.
            weight: how much it counts in means; of a sum over several (`kinds.as_when_found`), how many.
        """
        if now_ms - self.at_ms >= LONGEST_MS:
            return "new_level"
        self.heard_ms = now_ms
        self.total += value
        self.taken += 1
        self.weighed += weight
        self.seen += weight
        is_well = self._see_share(value, now_ms) if self.drop is not None else self._see_number(value, now_ms)
        if is_well is None:
            return None
        if is_well:
            return "recovered"
        self.evidence, self.seen, self.bad_since_ms, self.well_since_ms = 0.0, 0.0, self.well_since_ms, now_ms
        self.lowest, self.well_total, self.well = 0.0, 0.0, 0
        if now_ms - self.said_ms < AGAIN_MS:
            return None
        self.said_ms = now_ms
        return "lasts"

    def so_far(self) -> tuple[float, int]:
        """Mean and number of all values since the change."""
        weight = self.answers + self.late_seen + self.weighed
        level = (self.level * self.answers + self.late_sum + self.total) / weight if weight else self.level
        return level, self.answers + self.late_seen + self.taken

    def since_well(self) -> tuple[float, int]:
        """Mean and number of the values that say that all is well; none where nobody was at work."""
        if self.drop is None:
            return self.evidence / self.seen if self.seen else self.baseline, self.well
        return self.well_total / self.well if self.well else self.baseline, self.well

    def revise(self, change: float, more: int, now_ms: int) -> End | None:
        """Take late news of the values that made the finding: their sum changes, and perhaps their number."""
        if now_ms - self.at_ms > REVISED_MS:
            return None
        self.late_sum += change
        self.late_seen += more
        seen = self.answers + self.late_seen
        mean = (self.level * self.answers + self.late_sum) / max(seen, 1)
        return "withdrawn" if self._is_nearer_before(mean) else None

    def concerns(self, submitted_ms: int) -> bool:
        """Whether a late value is of the time that the finding is about."""
        return self.since_ms <= submitted_ms <= self.at_ms

    def _see_share(self, value: float, now_ms: int) -> bool | None:
        """Whether all is well; None while it is not known."""
        before, after = _inside(self.baseline), _inside(self._lasting())
        self.evidence += value * math.log(before / after) + (1.0 - value) * math.log((1.0 - before) / (1.0 - after))
        if self.evidence <= self.lowest:
            self.lowest, self.well_total, self.well = self.evidence, 0.0, 0
        else:
            self.well_total += value
            self.well += 1
        if self.evidence <= -SURE:
            return False
        self.evidence = min(self.evidence, MOST)
        return True if self.evidence >= SURE and now_ms - self.well_since_ms >= self.resolve_after_ms else None

    def _lasting(self) -> float:
        """The level that values are held against while they may be well.

        The smallest drop itself takes three times as many values to rule out as twice of it, in which time the next
        thing goes wrong. So what was found to be deeper is held against twice the smallest drop: half way to there,
        where a level seems neither well nor bad, is nearly the smallest drop.
        """
        assert self.drop is not None
        drop = max(self.drop, min(abs(self.baseline - self.level), 2.0 * self.drop))
        return self.baseline - drop if self.direction == "down" else self.baseline + drop

    def _see_number(self, value: float, now_ms: int) -> bool | None:
        self.evidence += value
        self.well += 1
        if now_ms - self.well_since_ms < self.resolve_after_ms or self.seen < _LEAST_WEIGHT:
            return None
        return self._is_nearer_before(self.evidence / self.seen)

    def _is_nearer_before(self, mean: float) -> bool:
        edge = self.baseline if self.is_limit else (self.baseline + self.level) / 2.0
        if self.drop is not None:
            fallen = self.baseline - self.drop if self.direction == "down" else self.baseline + self.drop
            edge = (self.baseline + (max if self.direction == "down" else min)(fallen, self.level)) / 2.0
        return mean >= edge if self.direction == "down" else mean <= edge

    def dump(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def _inside(share: float) -> float:
    return min(max(share, _NEAREST), 1.0 - _NEAREST)
