"""Does every shipped rule keep to its budget while nothing changes? Average run lengths (ARL), declared and measured.

    python -m benchmarks.rule_budgets [--data DIR] [--runs 4000] [--seed 0] [--jobs N] [--json]

A shipped rule may be wrong once in up to millions of values: too seldom to be counted. So it is planned by the same
code for volumes that make its ARL 2,000, 20,000 and 200,000 values, and false alarms are counted over many short
streams: their number is Poisson's, and the ARL all values through all alarms. Streams are short (2,000 values, as
labelers have them), since what a level is learned from is least at their beginning. The streams:

- *level*: right with the metric's usual level. *fleet*: each stream has a level of its own, from the learned prior.
- sets of real answers, each labeler's in random order, or for pooled scopes all of a set's.
- *hours*: counts and averages with a weekly rhythm and heavy tails, for seasonal rules.

A rule is said to miss its budget where the measured ARL is three standard errors below the declared one. What is
counted does not depend on how many processes count.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.truth import DATA_VARIABLE, SETS
from detectors.change.finding import Method
from detectors.change.fleet import Flags, fleet_of
from detectors.change.seasonal import HOUR_MS, HOURS, Seasonal, hour_of_week
from detectors.metrics_registry import METRICS
from detectors.rule_method import LEARNING, Detecting, detecting, level_of
from schemas.thresholds import Rule
from streams.evaluate.dataset import Dataset
from streams.sources.source import SourceError
from streams.thresholds import SHIPPED, load
from streams.volumes import assumed_volumes, rule_volume

REPO = Path(__file__).parents[1]
ARLS: Final = (2_000.0, 20_000.0, 200_000.0)
HOURLY_ARL: Final = 700.0
LIFE: Final = 2_000
#: Weeks of an hourly stream, the first of which is only learned from; and how many streams of answers are one of hours.
WEEKS: Final = 10
PER_HOURLY: Final = 50
#: Values of a real set at each ARL: a hundred false alarms.
ALARMS_OF_SET: Final = 100
#: Columns of answers held at once.
COLUMNS: Final = 4_000
#: Share of the answers that are taken for too fast: a labeler's fastest.
FASTEST: Final = 0.025
_ERRORS: Final = 3.0


@dataclass(frozen=True)
class Row:
    """What one rule did on one kind of streams."""

    rule: str
    direction: str
    streams: str
    arl: float
    """Values from one false alarm to the next, that it was planned for."""
    values: int
    alarms: int

    @property
    def measured(self) -> float:
        """The ARL; infinity without any alarm."""
        return self.values / self.alarms if self.alarms else math.inf

    @property
    def kept(self) -> bool:
        """Whether it is at least what was declared, within three standard errors of the number of alarms."""
        expected = self.values / self.arl
        return self.alarms <= expected + _ERRORS * math.sqrt(max(expected, 1.0))

    def as_object(self) -> dict[str, object]:
        """For JSON: no alarm is an ARL of null."""
        return asdict(self) | {"measured": self.measured if self.alarms else None, "kept": self.kept}


def planned(rule: Rule, arl: float, measured: float | None = None) -> tuple[Detecting, ...]:
    """The detectors of a rule at the volume that makes its ARL this."""
    alone = rule.model_copy(update={"false_alarms_per_week": 1.0})
    ways = 2 if len(detecting(alone, arl, np.random.default_rng(0), measured)) > 1 else 1
    return detecting(alone, arl / ways, np.random.default_rng(0), measured)


def alarms_of(method: Method, streams: list[Flags]) -> int:
    """How often a method fires on streams of answers, each with a detector of its own."""
    ordered = sorted(streams, key=len, reverse=True)
    alarms = 0
    for start in range(0, len(ordered), COLUMNS):
        some = ordered[start : start + COLUMNS]
        lengths = np.array([len(one) for one in some])
        answers = np.zeros((int(lengths[0]), len(some)), dtype=np.bool_)
        for column, one in enumerate(some):
            answers[: len(one), column] = one
        fleet, alive = fleet_of(method, len(some)), len(some)
        for step, row in enumerate(answers):
            going = int((lengths > step).sum())
            if going < alive:
                fleet.keep(np.arange(alive) < going)
                alive = going
            alarms += int(fleet.step(row[:alive]).sum())
    return alarms


def binary_rows(rule: Rule, runs: int, seed: int, arls: tuple[float, ...] = ARLS) -> Iterator[Row]:
    """Streams of independent answers at the level, and at levels around it."""
    level = level_of(rule)
    assert level is not None, "metrics of answers have a level"
    prior = LEARNING.prior * level.value, LEARNING.prior * (1.0 - level.value)
    for arl in arls:
        for found in planned(rule, arl):
            generator = np.random.default_rng([seed, int(arl)])
            kinds = {"level": np.full(runs, level.value)}
            if not level.is_known:
                kinds["fleet"] = generator.beta(*prior, runs)
            for name, levels in kinds.items():
                streams = [generator.random(LIFE) < one for one in levels]
                yield Row(rule.name, found.direction, name, arl, LIFE * runs, alarms_of(found.method, streams))


def real_rows(
    rule: Rule, name: str, sequences: list[Flags], seed: int, arls: tuple[float, ...] = ARLS[:2]
) -> Iterator[Row]:
    """Streams of real answers, each permuted in time."""
    count = sum(len(one) for one in sequences)
    measured = float(sum(one.sum() for one in sequences)) / count
    for arl in arls:
        for found in planned(rule, arl, measured):
            generator = np.random.default_rng([seed, int(arl)])
            times = math.ceil(ALARMS_OF_SET * arl / count)
            alarms = 0
            for begin in range(0, times, 20):
                permuted = [generator.permutation(one) for one in sequences for _ in range(min(times - begin, 20))]
                alarms += alarms_of(found.method, permuted)
            yield Row(rule.name, found.direction, name, arl, count * times, alarms)


def hourly_rows(rule: Rule, runs: int, seed: int) -> Iterator[Row]:
    """Hourly numbers in which only chance and the hour of the week are at work."""
    for name, series in HOURLY.items():
        for number, found in enumerate(planned(rule, HOURLY_ARL)):
            assert isinstance(found.method, Seasonal)
            alarms = values = 0
            for stream in range(max(runs // PER_HOURLY, 1)):
                detector = found.method.build()
                for hour, value in enumerate(series(np.random.default_rng([seed, number, stream])).tolist()):
                    alarms += detector.update(value, hour * HOUR_MS) is not None
                    values += hour >= found.method.min_count
            yield Row(rule.name, found.direction, name, HOURLY_ARL, values, alarms)


def _answers_an_hour(generator: np.random.Generator) -> NDArray[np.float64]:
    """Poisson counts around a busy day, a quiet night and a quieter weekend; an hour's mean varies by a fifth, too."""
    hours = np.array([hour_of_week(hour * HOUR_MS) for hour in range(WEEKS * HOURS)])
    rhythm = np.where(hours >= 120, 15.0, 60.0) * (0.05 + np.sin(np.pi * (hours % 24) / 24.0) ** 2)
    return generator.poisson(rhythm * generator.gamma(25.0, 1.0 / 25.0, len(hours))).astype(np.float64)


def _averages(generator: np.random.Generator) -> NDArray[np.float64]:
    """Averages of as many values: at night they vary more; with heavy tails (Student's t with 4 degrees)."""
    counts = _answers_an_hour(generator) + 2.0
    return 0.7 + 0.3 * generator.standard_t(4.0, len(counts)) / np.sqrt(counts)


HOURLY: Final[dict[str, Callable[[np.random.Generator], NDArray[np.float64]]]] = {
    "hours: counts": _answers_an_hour,
    "hours: averages": _averages,
}


def _by_labeler(pairs: Iterator[tuple[str, bool]]) -> list[Flags]:
    found: dict[str, list[bool]] = {}
    for labeler, value in pairs:
        found.setdefault(labeler, []).append(value)
    return [np.array(values, dtype=np.bool_) for values in found.values()]


def right_answers(data: Dataset) -> list[Flags]:
    """Each labeler's answers to tasks with truth."""
    known = (given for given in data.labels if given.task_id in data.truth)
    return _by_labeler((given.labeler_id, given.label == data.truth[given.task_id]) for given in known)


def agreeing_answers(data: Dataset) -> list[Flags]:
    """Whether each answer is what most before it had said of its task."""
    votes: dict[str, dict[str, int]] = {}

    def seen() -> Iterator[tuple[str, bool]]:
        for given in data.labels:
            before = votes.setdefault(given.task_id, {})
            if before:
                yield given.labeler_id, given.label == max(before, key=before.__getitem__)
            before[given.label] = before.get(given.label, 0) + 1

    return _by_labeler(seen())


def equal_answers(data: Dataset, generator: np.random.Generator) -> list[Flags]:
    """Whether the two of each pair of answers of a labeler are equal, the answers in random order."""
    labels: dict[str, list[str]] = {}
    for given in data.labels:
        labels.setdefault(given.labeler_id, []).append(given.label)
    found = []
    for said in labels.values():
        order = generator.permutation(np.unique(said, return_inverse=True)[1])
        whole = order[: len(order) // 2 * 2]
        found.append(whole[::2] == whole[1::2])
    return [one for one in found if len(one)]


def fast_answers(data: Dataset) -> list[Flags]:
    """Whether each answer is among the labeler's fastest fortieth."""
    times: dict[str, list[float]] = {}
    for given in data.labels:
        if given.seconds is not None:
            times.setdefault(given.labeler_id, []).append(given.seconds)
    return [np.array(one) < np.quantile(one, FASTEST) for one in times.values()]


def sequences_of(rule: Rule, data: Dataset, seed: int) -> list[Flags]:
    """What a rule would look at in a set; nothing where the set does not tell."""
    match rule.metric:
        case "gold_accuracy":
            found = right_answers(data)
        case "reviewer_reject_rate":
            found = [~one for one in right_answers(data)]
        case "consensus_agreement":
            found = agreeing_answers(data)
        case "constant_answer_share":
            found = equal_answers(data, np.random.default_rng(seed))
        case "too_fast_share":
            found = fast_answers(data)
        case _:
            return []
    return found if rule.scope.kind == "labeler" or not found else [np.concatenate(found)]


Part = Callable[[], Iterator[Row]]


def parts(rule: Rule, sets: dict[str, Dataset], runs: int, seed: int) -> Iterator[Part]:
    """What makes all rows of a rule, in pieces that do not need each other; none of a rule that has no budget."""
    if rule.method == "seasonal":
        yield partial(hourly_rows, rule, runs, seed)
    elif METRICS[rule.metric].law == "answers" and rule.limit is None:
        for arl in ARLS:
            yield partial(binary_rows, rule, runs, seed, (arl,))
        for name, data in sets.items():
            if sequences := sequences_of(rule, data, seed):
                for arl in ARLS[:2]:
                    yield partial(real_rows, rule, name, sequences, seed, (arl,))


def measure(todo: list[Part], jobs: int, done: Callable[[], object]) -> list[Row]:
    """Rows of all parts, in their order; `done` is called after each, in whatever order they end."""
    rows: list[list[Row]] = []
    if jobs == 1:
        for part in todo:
            rows.append(list(part()))
            done()
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            counting = [pool.submit(_rows, part) for part in todo]
            try:
                for ended in as_completed(counting):
                    ended.result()
                    done()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            rows = [one.result() for one in counting]
    return [row for some in rows for row in some]


def _rows(part: Part) -> list[Row]:
    return list(part())


def table(rules: tuple[Rule, ...], rows: list[Row]) -> Table:
    """A line for each rule, ARL and kind of streams; of real sets the one with the lowest ARL."""
    shown = Table(title="Average run lengths while nothing changes, in values (declared: at assumed volumes)")
    for name in ("rule", "declared", "planned", "streams", "values", "alarms", "measured", "kept"):
        shown.add_column(name, justify="left" if name in ("rule", "streams", "kept") else "right")
    for rule in rules:
        volume = rule_volume(rule, assumed_volumes())
        assert volume is not None, "assumed volumes have every segment"
        arl = detecting(rule, volume.values_per_week, np.random.default_rng(0), volume.measured)[0].arl
        declared = f"{arl:,.0f}" if arl else "none"
        own = [row for row in rows if row.rule == rule.name]
        if not own:
            shown.add_row(rule.name, declared, "-", "a plain limit: no budget", "-", "-", "-", "-")
        for row in _worst_of_sets(own):
            which = f"{row.streams}, {row.direction}"
            figures = f"{row.arl:,.0f}", which, f"{row.values:,}", f"{row.alarms:,}", f"{row.measured:,.0f}"
            shown.add_row(rule.name, declared, *figures, "yes" if row.kept else "NO")
    return shown


def _worst_of_sets(rows: list[Row]) -> Iterator[Row]:
    kinds: dict[tuple[float, str, str], Row] = {}
    for row in rows:
        kind = row.arl, row.direction, "set" if row.streams in SETS else row.streams
        if kind not in kinds or row.measured < kinds[kind].measured:
            kinds[kind] = row
    yield from kinds.values()


@click.command()
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help=f"Real data; else {DATA_VARIABLE}.")
@click.option("--runs", type=click.IntRange(min=1), default=4_000, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes (default: one a core).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of rows and nothing else.")
def main(data: Path | None, runs: int, seed: int, jobs: int | None, as_json: bool) -> None:
    """Measure every shipped rule; exit code 1 if one misses its budget."""
    folder = data or Path(os.environ.get(DATA_VARIABLE, REPO.parent / "shared" / "data"))
    try:
        sets = {name: read(folder) for name, read in SETS.items()}
    except SourceError as error:
        if data:
            raise click.BadParameter(str(error), param_hint="--data") from None
        click.echo(f"Without real answers: {error}", err=True)
        sets = {}
    rules = load(SHIPPED).rules
    todo = [part for rule in rules for part in parts(rule, sets, runs, seed)]
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("counting false alarms", total=len(todo))
        rows = measure(todo, jobs or os.cpu_count() or 1, lambda: bar.advance(task))
    if as_json:
        click.echo(json.dumps([row.as_object() for row in rows]))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(rules, rows))
    if not all(row.kept for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
