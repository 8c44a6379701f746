"""Forecasts of handling times while a project becomes 40 % slower: how soon they are as good as before.

    python -m benchmarks.handling_time_drift [--seeds N]

Three simulated projects share 24 labelers; after 2,400 annotations of all, each takes 1.4 times as long in one of the
projects. Errors are those of the logarithm, so that slower work is no larger error by itself. The other projects are
held against the same run without the change.
"""

from __future__ import annotations

import statistics
from typing import Final

import click

from detectors.expected_time import ExpectedTimes
from tests.timed_labelers import Slowdown, simulated

SLOW: Final = "project-0"
FACTOR: Final = 1.4
EVENTS: Final = 4_500
CHANGE_AT: Final = 2_400
WARM: Final = 600
#: The slower project's annotations by which its error is told, and for how many.
PART: Final = 50
TOLD: Final = 600


def errors(seed: int, slowdown: Slowdown | None) -> list[tuple[str, float]]:
    """Project and size of the error of each annotation."""
    model = ExpectedTimes()
    works = simulated(seed, EVENTS, slowdown=slowdown)
    return [(work.project_id, abs(model.observe(work).pace or 0.0)) for work in works]


def after_change(seed: int) -> tuple[list[float], float]:
    """The slower project's errors after the change, over their mean before; those of the others, over none's."""
    drifted, calm = errors(seed, Slowdown(SLOW, CHANGE_AT, FACTOR)), errors(seed, None)
    before = statistics.fmean(error for project, error in drifted[WARM:CHANGE_AT] if project == SLOW)
    after = [error / before for project, error in drifted[CHANGE_AT:] if project == SLOW]
    with_change, without = (
        statistics.fmean(error for project, error in run[CHANGE_AT:] if project != SLOW) for run in (drifted, calm)
    )
    return after, with_change / without


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--seeds", type=click.IntRange(1), default=12, show_default=True, help="Simulated runs.")
def main(seeds: int) -> None:
    runs = [after_change(seed) for seed in range(seeds)]
    click.echo("annotations of the slower project after the change: error over that before")
    for start in range(0, TOLD, PART):
        ratio = statistics.fmean(error for after, _ in runs for error in after[start : start + PART])
        click.echo(f"  {start + 1:3d} to {start + PART:3d}: {ratio:.3f}")
    rises = [others - 1.0 for _, others in runs]
    click.echo(f"error of the other projects: {statistics.fmean(rises):+.1%} (worst run {max(rises):+.1%})")


if __name__ == "__main__":
    main()
