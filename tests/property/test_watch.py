"""The stream of measurements alone decides: not how it is packed, nor what comes again, nor where it is resumed."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.watch.watch import Watch
from schemas.measurements import LateTruth, Measurements, Refused, ReviewMeasured, Settled
from schemas.thresholds import Rule
from schemas.verdicts import Verdict
from tests.measured import START_MS, answer, batch, quick_plan, rule

RULES = (
    rule(name="gold"),
    rule(name="segment", scope="segment", no_data="alert"),
    rule("constant_answer_share", smallest_drop=0.3),
    rule("consensus_agreement", scope="segment"),
    rule("consensus_agreement", name="few", scope="segment", method="e_sparse", false_alarms_per_week=1_000.0),
    rule("volume", scope="segment", method="fixed", limit=20, min_count=1, direction="down"),
    rule("label_distance_peers", method="fixed", limit=0.2, min_count=1),
    rule("label_distance_own", scope="project", method="fixed", limit=0.1, min_count=1),
    rule("aht_seconds", scope="vendor", method="seasonal"),
    rule("stall_seconds", scope="segment", method="fixed", limit=1_800, min_count=1),
    rule("reviewer_reject_rate", scope="all"),
    rule("calibration_error", scope="project", method="fixed", limit=0.2, min_count=1),
    rule("invalid_share", scope="all"),
    rule("mean_confidence", scope="segment", method="fixed", limit=0.8, min_count=10),
)
SEGMENTS = (("p", "t", "v"), ("q", "t", "w"))


def story(seed: int, count: int = 900) -> list[Measurements]:
    """One item a batch, of two sources, with falls of gold accuracy and pauses."""
    chance = random.Random(seed)
    falls = chance.randrange(200, count)
    numbers, minute, found = [0, 0], 0.0, list[Measurements]()
    for number in range(count):
        minute += chance.expovariate(3.0) + (120.0 if chance.random() < 0.005 else 0.0)
        source = number % 2
        numbers[source] += 1
        sequence, segment, labeler = numbers[source], chance.randrange(2), f"l{chance.randrange(4)}"
        right = chance.random() < (0.5 if number > falls else 0.92)
        at_ms = START_MS + int(minute * 60_000)
        items: dict[str, Any] = {
            "source_partition": source,
            "watermark_ms": at_ms - 120_000,
            "sent_ms": START_MS + 3_000 * number,
            "is_at_end": chance.random() < 0.3,
        }
        match chance.randrange(12):
            case 0:
                items["reviews"] = (ReviewMeasured(sequence, segment, labeler, at_ms, not right),)
            case 1:
                items["truths"] = (LateTruth(sequence, segment, labeler, at_ms - 600_000, None, right),)
            case 2:
                items["settled"] = (Settled(sequence, segment, at_ms, chance.random(), right),)
            case 3:
                items["refused"] = (Refused(sequence, at_ms),)
            case 4:
                pass  # a heartbeat
            case _:
                label = "cat" if number > falls and labeler == "l0" else chance.choice(["cat", "dog", "owl"])
                one = answer(
                    sequence,
                    minute=minute,
                    segment=segment,
                    labeler_id=labeler,
                    label=label,
                    is_free=False,
                    agrees=right if number % 3 else None,
                    peers=number % 3,
                    gold_correct=right if chance.random() < 0.7 else None,
                    is_late=chance.random() < 0.05,
                    seconds=chance.random() * 20,
                    confidence=chance.random(),
                )
                items["answers"] = (one,)
        found.append(batch(segments=SEGMENTS, **items))
    return found


def watch_of(
    rows: list[tuple[str, str, str]] = [],  # noqa: B006  (never changed)
    rules: tuple[Rule, ...] = RULES,
) -> Watch:
    watch = Watch(quick_plan)
    watch.change_rules(rules)
    watch.load(rows)
    return watch


def run(watch: Watch, batches: list[Measurements], first: int = 0) -> list[Verdict]:
    """Take messages, of which the first has this number."""
    return [verdict for number, one in enumerate(batches, first) for verdict in watch.take(one, number)]


def store(changes: list[tuple[str, str, str | None]], before: dict[tuple[str, str], str]) -> None:
    for kind, key, payload in changes:
        if payload is None:
            before.pop((kind, key), None)
        else:
            before[kind, key] = payload


def rows_of(stored: dict[tuple[str, str], str]) -> list[tuple[str, str, str]]:
    return [(kind, key, payload) for (kind, key), payload in stored.items()]


def test_stories_have_something_to_tell() -> None:
    """Else the properties below would hold of nothing."""
    found = {(one.kind, one.rule.name) for seed in range(3) for one in run(watch_of(), story(seed))}
    assert {kind for kind, _ in found} >= {"breach", "recovered", "silent", "speaking"}
    assert {name for _, name in found} >= {
        "gold",
        "segment",
        "consensus_agreement",
        "volume",
        "stall_seconds",
        "label_distance_peers",
    }


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_a_restart_anywhere_changes_nothing(seed: int, data: st.DataObject) -> None:
    batches = story(seed, 500)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batches)), min_size=1, max_size=4), label="restarts"))
    expected, told, watch, stored = run(watch_of(), batches), list[Verdict](), watch_of(), dict[tuple[str, str], str]()
    for start, end in zip([0, *cuts], [*cuts, len(batches)], strict=True):
        told += run(watch, batches[start:end], start)
        store(watch.take_changed(), stored)
        oldest, watch = watch.oldest, watch_of(rows_of(stored))
        if oldest is not None:
            assert run(watch, batches[oldest:end], oldest) == [], "what waited goes on waiting"
    assert told == expected


#: The first begins anew; others go on, and are told otherwise.
CHANGED = (
    RULES[0].model_copy(update={"smallest_drop": 0.2}),
    *(one.model_copy(update={"severity": "critical", "resolve_after_seconds": 1_200}) for one in RULES[1:]),
)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 500), st.integers(0, 500))
def test_a_restart_changes_nothing_whether_rules_changed_before_or_after(seed: int, change: int, cut: int) -> None:
    batches = story(seed, 500)

    def played(restart: int | None) -> list[Verdict]:
        watch, rules, told, stored = watch_of(), RULES, list[Verdict](), dict[tuple[str, str], str]()
        for number, one in enumerate(batches):
            if number == change:
                rules = CHANGED
                told += watch.change_rules(rules)
            if number == restart:
                store(watch.take_changed(), stored)
                oldest, watch = watch.oldest, watch_of(rows_of(stored), rules)
                assert run(watch, batches[number if oldest is None else oldest : number], oldest or 0) == []
            told += watch.take(one, number)
        return told

    assert played(cut) == played(None)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_what_comes_again_changes_nothing(seed: int, data: st.DataObject) -> None:
    batches = story(seed, 300)
    again = data.draw(st.lists(st.integers(0, 280), min_size=1, max_size=6), label="sent again")
    watch, told = watch_of(), list[Verdict]()
    expected = run(watch_of(), batches)
    for number, one in enumerate(batches):
        told += watch.take(one)
        for start in again:
            if number == start + 10:
                header = {"sent_ms": one.sent_ms, "is_at_end": one.is_at_end, "watermark_ms": 0}
                old = [old for old in batches[start:number] if old.source_partition == one.source_partition]
                told += [verdict for two in old for verdict in watch.take(two.model_copy(update=header))]
    assert told == expected


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_packing_does_not_matter(seed: int, size: int) -> None:
    """Of one source; what headers say is another matter: they are as old as their batch."""
    single = [one for one in story(seed, 600) if one.source_partition == 0 and one.answers]
    answers = [item for one in single for item in one.answers]
    last = single[-1].watermark_ms

    def packed(size: int) -> list[Verdict]:
        parts = [answers[at : at + size] for at in range(0, len(answers), size)]
        batches = [batch(part, segments=SEGMENTS, watermark_ms=START_MS) for part in parts]
        batches.append(batch(segments=SEGMENTS, watermark_ms=last, is_at_end=False))
        return run(watch_of(), batches)

    assert packed(size) == packed(1)
