"""What ``labelwatch evaluate`` shows: a bar while it runs, then figures for people or for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from detectors.confidence import BINS, Calibration
from streams.evaluate.baselines import TITLES, crowd_kit_is_here
from streams.evaluate.dataset import Dataset
from streams.evaluate.forecast import calibration_error, outcomes
from streams.evaluate.truth import Evaluation, Passes

GET_BASELINES = "crowd-kit is not installed, so there is only majority vote beside: pip install 'labelwatch[bench]'"


#: Cells of a bar from 0 to 1.
_BAR = 40
_MARK = "┃"


@dataclass
class Display:
    """The bar: labels passed, and then the method that is running."""

    bar: Progress
    task: TaskID

    def passed(self, labels: int) -> None:
        """So many labels more."""
        self.bar.advance(self.task, labels)

    def started(self, method: str) -> None:
        """A method of unknown duration runs now."""
        self.bar.remove_task(self.task)
        self.task = self.bar.add_task(TITLES[method], total=None)


@contextmanager
def progress_display(labels: int, *, shown: bool) -> Iterator[Display]:
    """A bar on stderr that leaves nothing behind; none where it is not to be ``shown``."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        yield Display(bar, bar.add_task("labelwatch", total=labels))


def as_object(result: Evaluation) -> dict[str, Any]:
    """The figures under their names, as JSON has them."""
    return {name: _rounded(value) for name, value in asdict(result).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def as_tables(result: Evaluation, passes: Passes, data: Dataset, repeated: int) -> None:
    """The figures on stdout, with what they were made from."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"{result.labels:,} labels by {result.labelers:,} labelers on {result.items:,} items, {result.classes} classes;"
        f" {len(data.truth):,} items with truth, {len(passes.golds):,} of them revealed for calibration",
        highlight=False,
    )
    if repeated:
        console.print(f"{repeated:,} later labels of the same worker on the same item left out", highlight=False)
    console.print(_methods(result, passes, data))
    if passes.rest:
        console.print(_reliability_diagram(passes, data))
    console.print(
        f"worst fifth of the labelers recognised: AUC {number(result.auc_worst_fifth)}; "
        f"{result.us_per_label:.1f} us of CPU a label",
        highlight=False,
    )
    if not crowd_kit_is_here():
        click.echo(GET_BASELINES, err=True)


def _methods(result: Evaluation, passes: Passes, data: Dataset) -> Table:
    table = Table(
        caption=f"ECE: over the {len(passes.rest):,} items whose truth was not revealed; ranking: Spearman correlation "
        "of estimated and true accuracy of labelers; streaming: as each item got its last label",
        caption_justify="left",
    )
    for heading in ("method", "accuracy", "ECE", "ECE, calibrated", "ranking"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, score in result.baselines.items():
        table.add_row(TITLES[name], number(score.accuracy), number(score.ece), "", number(score.spearman))
    table.add_section()
    early = passes.informed.streaming
    ece = [calibration_error(forecasts, data.truth, passes.rest) for forecasts in (early.raw, early.calibrated)]
    table.add_row("labelwatch, streaming", number(result.accuracy_streaming), *map(number, ece), "")
    table.add_row(
        "labelwatch, final",
        *map(number, (result.accuracy_final, result.ece_raw, result.ece_calibrated, result.spearman)),
    )
    return table


def _reliability_diagram(passes: Passes, data: Dataset) -> Table:
    """Calibrated confidence by tenths: how many items, and how many of them were right."""
    known = Calibration()
    for confidence, is_right in zip(*outcomes(passes.informed.final.calibrated, data.truth, passes.rest), strict=True):
        known.count(confidence, is_right)
    table = Table(
        title="Confidence and what came of it: labelwatch, final, calibrated",
        title_justify="left",
        caption=f"bar: share right; {_MARK} mean confidence, where the bar of perfect forecasts ends",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("confidence", no_wrap=True)
    table.add_column("items", justify="right", no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    table.add_column("0" + "1".rjust(_BAR), no_wrap=True)
    for at, items in enumerate(known.outcomes):
        if items:
            right, confidence = known.right[at] / items, known.confidence[at] / items
            bounds = f"{at / BINS:.1f} to {(at + 1) / BINS:.1f}"
            table.add_row(bounds, f"{items:,}", f"{right:.1%}", _bar(right, confidence))
    return table


def _bar(share: float, mark: float) -> Text:
    """A bar from 0 to 1, and a mark on it.

    >>> _bar(0.5, 0.75).plain.rstrip()
    '████████████████████          ┃'
    """
    cells = ["█"] * round(share * _BAR)
    cells += [" "] * (_BAR + 1 - len(cells))
    at = round(mark * _BAR)
    bar = Text("".join(cells[:at]), style="cyan")
    bar.append(_MARK, style="bold")
    return bar.append("".join(cells[at + 1 :]), style="cyan")


def number(value: float | None) -> str:
    """Three digits, or a dash where there is nothing to measure by.

    >>> number(0.90325), number(None)
    ('0.903', '-')
    """
    return "-" if value is None else f"{value:.3f}"
