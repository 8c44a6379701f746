"""What ``labelwatch evaluate handling-time`` shows: figures for people or for programs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from streams.evaluate.handling_time import BEGINNING, BLOCK, Evaluation, Report
from streams.evaluate.time_baselines import ENOUGH

TITLES: Final = {
    "global_median": "median of all so far",
    "own_mean": "labeler's own mean",
    "own_median": "labeler's own median",
    "shrunk_log_ewma": "shrunk log-EWMA",
}


def as_object(result: Evaluation) -> dict[str, Any]:
    """The figures under their names, as JSON has them."""
    return {name: _rounded(value) for name, value in asdict(result).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def as_tables(report: Report) -> None:
    """The figures on stdout, with what they were made from."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    result = report.evaluation
    untrusted = f"; {report.untrusted:,} with an impossible time left out" if report.untrusted else ""
    console.print(f"{result.events:,} annotations{untrusted}", highlight=False)
    console.print(_methods(result))
    console.print(_intervals(report))
    console.print(
        f"first {BEGINNING} annotations of a labeler: mean absolute error {report.beginnings.ours:.2f} s, "
        f"of the median of all {report.beginnings.global_median:.2f} s",
        highlight=False,
    )
    console.print(f"{result.us_per_event:.1f} us of CPU an event", highlight=False)


def _methods(result: Evaluation) -> Table:
    table = Table(caption="absolute errors in seconds; ratio: mean beside ours", caption_justify="left")
    for heading in ("method", "mean error", "median error", "ours / its"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, one in result.baselines.items():
        ratio = f"{result.mae / one.mae:.3f}" if one.mae else "-"
        table.add_row(TITLES[name], f"{one.mae:.2f}", f"{one.median_absolute_error:.2f}", ratio)
    table.add_section()
    table.add_row("labelwatch", f"{result.mae:.2f}", f"{result.median_absolute_error:.2f}", "")
    return table


def _intervals(report: Report) -> Table:
    result, widths = report.evaluation, report.widths
    table = Table(
        caption=f"width in log-seconds; own quantiles: 5 % to 95 % of a labeler's annotations once there are {ENOUGH}",
        caption_justify="left",
    )
    for heading in ("interval", "coverage", f"of {BLOCK} in a row", "width"):
        table.add_column(heading, justify="left" if heading == "interval" else "right")
    table.add_row("labelwatch, 50 %", f"{result.coverage_50:.3f}", "", "")
    blocks = f"{result.coverage_90_block_min:.3f} to {result.coverage_90_block_max:.3f}"
    table.add_row("labelwatch, 90 %", f"{result.coverage_90:.3f}", blocks, f"{result.width_90_log:.3f}")
    if widths is not None:
        table.add_section()
        title = f"where there are own quantiles ({widths.events:,})"
        table.add_row(title, "", "", "")
        table.add_row("labelwatch, 90 %", f"{widths.coverage_ours:.3f}", "", f"{widths.ours:.3f}")
        table.add_row("own quantiles", f"{widths.coverage_own_quantiles:.3f}", "", f"{widths.own_quantiles:.3f}")
    return table
