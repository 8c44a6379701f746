"""Whether who answers, and who else is at work, foretells agreement: log loss on public sets, in nats an answer.

    python -m benchmarks.crews [--data DIR] [--json]

Labels pass in the order of the file; each is compared with what most of the earlier ones to its item say. *One level*:
the share that agreed so far. *Crew*: that times what `detectors.watch.crew` expects of the labeler and the peers. Times
are not known, so that the peers of the moment, which are most of it at night, are whoever stands before in the file.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.truth import DATA_VARIABLE, REPO, SETS
from detectors.watch.crew import Crews
from schemas.measurements import Segment
from streams.sources.source import SourceError

SEGMENT: Segment = ("set", "label", "")
#: No answer is foretold with more certainty.
SUREST = 0.98


@dataclass(frozen=True)
class Row:
    """One set."""

    set: str
    answers: int
    agreed: float
    one_level: float
    crew: float


def losses(name: str, labels: Iterable[tuple[str, str, str]]) -> Row:
    """Of labels as (labeler, task, label), in order; of each labeler the first on a task.

    >>> night, day = [("cy", "no"), ("di", "yes")], [("ann", "yes"), ("bob", "yes")]
    >>> given = [(who, f"t{task}", label) for task in range(300) for who, label in (day if task % 3 else night)]
    >>> found = losses("small", given)
    >>> found.answers, round(found.agreed, 2), found.crew < found.one_level
    (300, 0.67, True)
    """
    crews, before = Crews(), defaultdict[str, dict[str, str]](dict)
    agreed, seen = 8.5, 10.0
    lost_level = lost_crew = 0.0
    for labeler, task, label in labels:
        others = before[task]
        if labeler in others:
            continue
        if others:
            agrees = Counter(others.values()).most_common(1)[0][0] == label
            level = agreed / seen
            expected = crews.expected(SEGMENT, labeler, len(others))
            lost_level += _loss(level, agrees)
            lost_crew += _loss(level * expected.of_all, agrees)
            crews.see(SEGMENT, labeler, agrees, expected)
            agreed, seen = agreed + agrees, seen + 1.0
        others[labeler] = label
    count = int(seen) - 10
    return Row(name, count, (agreed - 8.5) / count, lost_level / count, lost_crew / count)


def _loss(chance: float, agrees: bool) -> float:
    chance = min(max(chance, 1.0 - SUREST), SUREST)
    return -math.log(chance if agrees else 1.0 - chance)


@click.command(help=__doc__)
@click.option(
    "--data", type=click.Path(path_type=Path), help=f"Folder of the sets. Default: {DATA_VARIABLE}, else beside."
)
@click.option("--json", "as_json", is_flag=True, help="A list of rows.")
def main(data: Path | None, as_json: bool) -> None:
    """Print the figures."""
    folder = data or Path(os.environ.get(DATA_VARIABLE, REPO.parent / "shared" / "data"))
    try:
        made = [
            losses(name, ((one.labeler_id, one.task_id, one.label) for one in read(folder).labels))
            for name, read in SETS.items()
        ]
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([asdict(row) for row in made]))
        return
    table = Table("set", "answers", "agreed", "one level", "crew", title="Nats an answer")
    for row in made:
        table.add_row(row.set, f"{row.answers:,}", f"{row.agreed:.3f}", f"{row.one_level:.4f}", f"{row.crew:.4f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    main()
