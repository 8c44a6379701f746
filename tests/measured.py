"""Measurements for tests: short to write, and plain where nothing is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from detectors.change.e_process import EProcess, Learning
from detectors.change.seasonal import Seasonal
from detectors.metrics_registry import METRICS
from detectors.rule_check import directions, smallest_drop
from detectors.rule_method import Detecting, detecting
from detectors.watch.watch import Watch
from schemas.measurements import Answer, Measurements, Segment
from schemas.thresholds import Rule
from schemas.verdicts import Verdict

SEGMENT: Segment = ("p", "t", "v")
MINUTE_MS = 60_000
START_MS = 1_700_000_000_000 // 3_600_000 * 3_600_000
_PLAIN: dict[str, Any] = {
    "segment": 0,
    "labeler_id": "ann",
    "label": "cat",
    "is_free": False,
    "is_late": False,
    "is_revision": False,
    "gold_correct": None,
    "agrees": None,
    "is_covered": None,
    "is_too_fast": None,
    "is_too_slow": None,
    "seconds": None,
    "forecast_seconds": None,
    "confidence": None,
    "peers": 0,
    "peers_agreeing": 0,
}


def answer(sequence: int, *, minute: float | None = None, **fields: Any) -> Answer:
    """An answer, one a minute unless said otherwise."""
    at_ms = START_MS + int((sequence if minute is None else minute) * MINUTE_MS)
    return Answer(**{"sequence": sequence, "submitted_ms": at_ms, **_PLAIN, **fields})


def batch(answers: Iterable[Answer] = (), *, segments: Sequence[Segment] = (SEGMENT,), **fields: Any) -> Measurements:
    """A batch of one source partition whose watermark is at its latest answer."""
    answers = tuple(answers)
    latest = max((one.submitted_ms for one in answers), default=0)
    plain = {
        "kind": "measurements",
        "schema_version": 1,
        "app_id": "app",
        "source_partition": 0,
        "sent_ms": 0,
        "arrived_ms": 0,
        "is_at_end": True,
        "is_idle": False,
        "watermark_ms": latest,
        "truths": (),
        "reviews": (),
        "settled": (),
        "refused": (),
    }
    # Not validated: these are many, and schemas have tests of their own.
    return Measurements.model_construct(**{**plain, **fields, "segments": tuple(segments), "answers": answers})


def rule(metric: str = "gold_accuracy", **fields: Any) -> Rule:
    """A rule of the metric's own method, for each labeler."""
    plain = {"name": metric, "metric": metric, "scope": "labeler", "resolve_after": "10m"}
    return Rule.model_validate({**plain, **fields})


def quick_plan(rule: Rule, values_per_week: float, measured: float | None) -> tuple[Detecting, ...]:
    """Without simulation: e-processes with a threshold of 1,000 that learn from 50 answers, around the usual level."""
    if rule.method == "seasonal":
        return tuple(Detecting(Seasonal(4.0, direction=way), way, 1_000.0) for way in ("down", "up"))
    if rule.method != "e_sr":
        return detecting(rule, values_per_week, None, measured)  # type: ignore[arg-type]  # nothing is simulated
    level, drop = rule.level or METRICS[rule.metric].level, smallest_drop(rule)
    assert level is not None
    assert drop is not None
    learning = Learning(prior=25.0, answers=50, lag=60)
    return tuple(
        Detecting(EProcess(1_000.0, level, drop, way, rule.min_count, learning), way, 1_000.0)  # type: ignore[arg-type]
        for way in directions(rule)
    )


def watching(*rules: Rule) -> Watch:
    """A watch of these rules."""
    watch = Watch(quick_plan)
    assert watch.change_rules(rules) == []
    return watch


def told(watch: Watch, answers: Iterable[Answer], **fields: Any) -> list[Verdict]:
    """What a watch says when answers come one by one."""
    return [verdict for one in answers for verdict in watch.take(batch([one], **fields))]


def first_said(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts, without those that say of a breach that it lasts."""
    bad, found = set[tuple[str, str]](), list[Verdict]()
    for one in verdicts:
        key = (one.rule.name, one.scope.model_dump_json(exclude={"vendor_id"} if one.scope.labeler_id else None))
        if one.kind == "breach" and key in bad:
            continue
        if one.kind == "breach":
            bad.add(key)
        elif one.kind not in ("silent", "speaking"):
            bad.discard(key)
        found.append(one)
    return found


def kinds(verdicts: Iterable[Verdict]) -> list[str]:
    """Kinds of verdicts, without those that say of a breach that it lasts."""
    return [one.kind for one in first_said(verdicts)]
