"""What it costs to say of every answer what rules may look at, and to read it.

    python -m benchmarks.measurements [--answers 20000] [--json]

Microseconds of CPU an answer: scoring it, what is collected of it included; writing the messages; reading and checking
them in WATCH. And the bytes that one answer takes on the topic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

import click

from benchmarks.messages import annotation_messages
from detectors.beliefs import Beliefs
from detectors.forgetting import HalfLives
from schemas.topics import ANNOTATIONS
from streams.measured import Measured, Sender, measurement_messages
from streams.outbox import Message
from streams.pipeline import PartitionPipeline
from streams.settings import PipelineSettings
from streams.state.partition_state import PartitionState
from streams.watch import decode_measurement

T = TypeVar("T")

BATCH: Final = 1_000
#: Answers of one checkpoint of a busy partition.
CHECKPOINT: Final = 5_000
_ARRIVED_MS: Final = 1_900_000_000_000


class Record(NamedTuple):
    """A message as Kafka gives it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Cost(NamedTuple):
    """Of one answer."""

    score_us: float
    write_us: float
    read_us: float
    bytes: float


def measure(answers: int, clock_ns: Callable[[], int] = time.process_time_ns) -> Cost:
    """Score so many answers of the benchmark's stream, write what is said of them, and read it."""
    records = [Record(n, _ARRIVED_MS, *one) for n, one in enumerate(annotation_messages(answers))]
    state = PartitionState("benchmark", 0, PipelineSettings(), Beliefs(HalfLives(annotations=1_000, days=90)))
    pipeline = PartitionPipeline(state, {})

    def timed(work: Callable[[], T]) -> tuple[float, T]:
        began = clock_ns()
        done = work()
        return (clock_ns() - began) / 1_000 / answers, done

    def score() -> list[Measured]:
        parts = range(0, answers, BATCH)
        return [pipeline.process(ANNOTATIONS.name, records[at : at + BATCH]).measured for at in parts]

    def write() -> list[Message]:
        return [message for one in _checkpoints(outcomes) for message in measurement_messages(sender, one)]

    sender = Sender("benchmark", 0, _ARRIVED_MS, is_at_end=True, is_idle=False, watermark_ms=0)
    score_us, outcomes = timed(score)
    write_us, messages = timed(write)
    read_us, _ = timed(lambda: [decode_measurement(message.value) for message in messages])
    return Cost(score_us, write_us, read_us, sum(len(message.value or b"") for message in messages) / answers)


def _checkpoints(outcomes: list[Measured]) -> Iterator[Measured]:
    for start in range(0, len(outcomes), CHECKPOINT // BATCH):
        together = Measured()
        for one in outcomes[start : start + CHECKPOINT // BATCH]:
            together.take(one)
        yield together


@click.command(help=__doc__)
@click.option("--answers", default=20_000, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def main(answers: int, as_json: bool) -> None:
    """Print the figures."""
    cost = measure(answers)
    if as_json:
        click.echo(json.dumps({name: round(value, 2) for name, value in cost._asdict().items()}))
        return
    click.echo(
        f"an answer: scored in {cost.score_us:.0f} us, written in {cost.write_us:.1f} us ({cost.bytes:.0f} bytes), "
        f"read in {cost.read_us:.1f} us"
    )


if __name__ == "__main__":
    main()
