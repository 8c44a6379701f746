"""How soon a segment's drop is found: messages through SCORE and WATCH in this process, in event time.

    python -m benchmarks.pooled_drop [--runs 20] [--thresholds FILE] [--gold-alone] [--json]

One project, task type and vendor: 20 labelers of the same accuracy, answers at a steady pace, one in five to a gold.
After an hour and a half all of them fall from 92 % to 80 % right. Minutes of event time from then to the first alert
that a rule begins; before it, any alert is a false one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, NamedTuple

import click
import orjson
from rich.progress import track

from detectors.watch.watch import Watch
from schemas.thresholds import Rule
from schemas.times import format_utc
from schemas.topics import ANNOTATIONS
from streams.measured import Sender, measurement_messages
from streams.pipeline import PartitionPipeline, new_beliefs
from streams.settings import PipelineSettings, ReliabilitySettings
from streams.state.partition_state import PartitionState
from streams.thresholds import SHIPPED, load
from streams.watch import decode_measurement

GOLDS_A_MINUTE: Final = 20
ANSWERS_A_GOLD: Final = 5
LABELERS: Final = 20
LABELS: Final = ("cat", "dog", "owl", "eel")
BEFORE: Final = 0.92
AFTER: Final = 0.80
DROP_MINUTE: Final = 90
MINUTES: Final = 120
MINUTE_MS: Final = 60_000
#: Answers to each task that has no gold.
OVERLAP: Final = 3


class Record(NamedTuple):
    """A message as Kafka gives it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Found(NamedTuple):
    """What one run came to."""

    false: int
    """Alerts before the drop."""
    minutes: float
    """From the drop to the first alert; infinity if there was none within half an hour."""
    rule: str


def minutes_of_events(seed: int, start_ms: int, *, gold_alone: bool = False) -> Iterator[list[dict[str, Any]]]:
    """The annotations of each minute in turn."""
    chance = Random(seed)
    share = 1 if gold_alone else ANSWERS_A_GOLD
    waiting: list[list[str]] = []
    number = 0
    for minute in range(MINUTES):
        accuracy = BEFORE if minute < DROP_MINUTE else AFTER
        events = []
        for step in range(GOLDS_A_MINUTE * share):
            labeler = f"l{chance.randrange(LABELERS)}"
            task, truth, is_gold = f"g{number}", chance.choice(LABELS), number % share == 0
            if not is_gold:
                task, truth = _task(waiting, number, truth)
            wrong = chance.choice([label for label in LABELS if label != truth])
            label = truth if chance.random() < accuracy else wrong
            at_ms = start_ms + minute * MINUTE_MS + step * MINUTE_MS // (GOLDS_A_MINUTE * share)
            events.append(_event(number, task, labeler, label, truth if is_gold else None, at_ms))
            number += 1
        yield events


def _task(waiting: list[list[str]], number: int, truth: str) -> tuple[str, str]:
    """A task without gold that still needs an answer, and what would be right."""
    if waiting:
        task, known, left = waiting[0]
        if left == "1":
            waiting.pop(0)
        else:
            waiting[0][2] = str(int(left) - 1)
        return task, known
    waiting.append([f"t{number}", truth, str(OVERLAP - 1)])
    return f"t{number}", truth


def _event(number: int, task: str, labeler: str, label: str, gold: str | None, at_ms: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "schema_version": 1,
        "event_id": f"e{number}",
        "task_id": task,
        "labeler_id": labeler,
        "labeler_kind": "human",
        "project_id": "p",
        "vendor_id": "v",
        "task_type": "t",
        "label": {"kind": "class", "value": label},
        "started_at": format_utc(_time(at_ms - 20_000)),
        "submitted_at": format_utc(_time(at_ms)),
        "active_seconds": 15.0 + number % 7,
    }
    if gold is not None:
        event["gold_label"] = {"kind": "class", "value": gold}
    return event


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)


def run(rules: tuple[Rule, ...], seed: int, *, gold_alone: bool) -> Found:
    """One run."""
    start_ms = 1_767_600_000_000
    state = PartitionState("benchmark", 0, PipelineSettings(), new_beliefs(ReliabilitySettings(), {}))
    pipeline, watch = PartitionPipeline(state, {}), Watch()
    watch.change_rules(rules)
    offset, false = 0, set[tuple[str, str]]()
    drop_ms = start_ms + DROP_MINUTE * MINUTE_MS
    for events in minutes_of_events(seed, start_ms, gold_alone=gold_alone):
        for event in events:
            value = orjson.dumps(event)
            arrived_ms = start_ms + MINUTES * MINUTE_MS
            outcome = pipeline.process(ANNOTATIONS.name, [Record(offset, arrived_ms, event["task_id"].encode(), value)])
            offset += 1
            sender = Sender("benchmark", 0, arrived_ms, True, False, state.windows.watermark_ms)
            for message in measurement_messages(sender, outcome.measured):
                batch = decode_measurement(message.value)
                found = [one for one in watch.take(batch) if one.kind == "breach"]  # type: ignore[arg-type]
                for one in found:
                    if one.at_ms >= drop_ms:
                        return Found(len(false), (one.at_ms - drop_ms) / MINUTE_MS, one.rule.name)
                    false.add((one.rule.name, one.scope.labeler_id))  # those that last are said again
    return Found(len(false), math.inf, "")


@click.command(help=__doc__)
@click.option("--runs", default=20, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--thresholds", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=SHIPPED, help="Rules to use."
)
@click.option("--gold-alone", is_flag=True, help="Golds only, at the same pace: nothing to agree with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def main(runs: int, thresholds: Path, gold_alone: bool, as_json: bool) -> None:
    """Print the figures."""
    rules = load(thresholds).rules
    found = [run(rules, seed, gold_alone=gold_alone) for seed in track(range(runs), "runs", disable=as_json)]
    minutes = sorted(one.minutes for one in found)
    figures = {
        "runs": runs,
        "minutes_median": round(median(minutes), 2),
        "minutes_p90": round(minutes[math.ceil(0.9 * runs) - 1], 2),
        "within_5_minutes": sum(one <= 5.0 for one in minutes),
        "false_before": sum(one.false for one in found),
        "first_by": {rule: sum(one.rule == rule for one in found) for rule in sorted({one.rule for one in found})},
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(
        f"found after {figures['minutes_median']} minutes (median), {figures['minutes_p90']} in nine of ten; "
        f"within 5 in {figures['within_5_minutes']} of {runs}; {figures['false_before']} false alerts before. "
        f"First by: {figures['first_by']}"
    )


if __name__ == "__main__":
    main()
