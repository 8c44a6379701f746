"""The alerts that ``labelwatch demo`` shows: what people would have been told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SHOWN: Final = 12
_STYLES: Final = {"critical": "red", "warning": "yellow"}
_ALERTS_SQL: Final = """
SELECT fired_at, severity, metric, project_id, task_type, vendor_id, labeler_id, baseline, level, unit, firing_seconds
FROM alert_history
WHERE told > 0
ORDER BY fired_at
"""


def alerts_table(client: Client) -> Table | str:
    """Alerts that were told, the first ones, in order of time."""
    rows = client.query(_ALERTS_SQL).result_rows
    if not rows:
        return "Nobody was alerted"
    table = Table(
        title="Alerts" if len(rows) <= _SHOWN else f"Alerts, the first {_SHOWN} of {len(rows)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("told at (UTC)", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    for name in ("what", "of whom"):
        table.add_column(name, overflow="fold")
    for name in ("from", "to", "lasted"):
        table.add_column(name, justify="right", no_wrap=True)
    for fired_at, severity, metric, project, task_type, vendor, labeler, baseline, level, unit, seconds in rows[
        :_SHOWN
    ]:
        scope = ([labeler] if labeler else [vendor]) + [project, task_type]
        table.add_row(
            f"{fired_at:%d %b %H:%M}",
            Text(severity, style=_STYLES.get(severity, "")),
            Text(metric.replace("_", " ")),
            Text(", ".join(one for one in scope if one) or "everybody"),
            _figure(baseline, unit),
            _figure(level, unit),
            "to the end" if seconds is None else f"{seconds / 3_600:.1f} h",
        )
    return table


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if unit == "share" else f"{value:,.4g}"
