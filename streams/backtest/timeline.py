"""A picture of a backtest: alerts as bars, a line a rule, with incidents shaded behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from schemas.incident import Incident
from schemas.times import to_ms
from streams.backtest.backtest import Backtest, Ran
from streams.backtest.fired import Fired

_COLOURS: Final = {"info": "#4c78a8", "warning": "#e8a33d", "critical": "#d1383d"}
_HELD: Final = "#bbbbbb"
_INCIDENT: Final = "#9ecae9"
_OTHER: Final = "#555555"
#: Of a line: its bars, and below them those of the other rules.
_TRIED_PLACE: Final = (-0.32, 0.38)
_OTHER_PLACE: Final = (0.1, 0.22)
_INCHES_WIDE: Final = 14.0
_INCHES_A_RULE: Final = 0.34
_MOST_INCHES: Final = 60.0


def draw(result: Backtest, incidents: Sequence[Incident], path: Path) -> None:
    """Write the picture as PNG. matplotlib must be there.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    names = list(result.by_week(result.tried))
    if result.other is not None:
        names += [name for name in result.by_week(result.other) if name not in names]
    height = min(2.0 + _INCHES_A_RULE * max(len(names), 3), _MOST_INCHES)
    figure = Figure(figsize=(_INCHES_WIDE, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    for incident in incidents:
        if to_ms(incident.end) > result.span.since_ms and to_ms(incident.start) < result.end_ms:
            axes.axvspan(incident.start, incident.end, color=_INCIDENT, alpha=0.5, linewidth=0, zorder=0)
    _bars(axes, result.tried, names, result.end_ms, _TRIED_PLACE, _colour)
    if result.other is not None:
        _bars(axes, result.other, names, result.end_ms, _OTHER_PLACE, lambda fired: _OTHER)
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(_time(result.span.since_ms), _time(max(result.end_ms, result.span.since_ms + 1)))
    locator = AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.set_title(_plain(f"Alerts that {result.tried.name} would have fired (event time, UTC)"), loc="left")
    _legend(figure, result, with_incidents=bool(incidents))
    figure.savefig(path, format="png", dpi=110)


def _bars(axes: Any, ran: Ran, names: list[str], end_ms: int, place: tuple[float, float], colour: Any) -> None:
    lines: dict[tuple[str, str], list[tuple[datetime, Any]]] = {}
    for fired in ran.fired:
        lasted = _time(fired.fired_ms + max(fired.lasted_ms(end_ms), 1)) - _time(fired.fired_ms)
        lines.setdefault((fired.key.rule, colour(fired)), []).append((_time(fired.fired_ms), lasted))
    for (name, shade), bars in lines.items():
        # An edge, so that an alert of a minute is seen in a month.
        axes.broken_barh(
            bars, (names.index(name) + place[0], place[1]), facecolor=shade, edgecolor=shade, linewidth=1.2, zorder=3
        )


def _colour(fired: Fired) -> str:
    return _HELD if fired.told_ms is None else _COLOURS[fired.alert.rule.severity]


def _legend(figure: Any, result: Backtest, *, with_incidents: bool) -> None:
    from matplotlib.patches import Patch

    severities = {rule.severity for rule in result.tried.rules}
    shown = [Patch(color=colour, label=name) for name, colour in _COLOURS.items() if name in severities]
    shown.append(Patch(color=_HELD, label="nobody told"))
    if result.other is not None:
        shown.append(Patch(color=_OTHER, label=_plain(f"against {result.other.name}")))
    if with_incidents:
        shown.append(Patch(color=_INCIDENT, alpha=0.5, label="incident"))
    figure.legend(handles=shown, loc="outside lower left", ncols=len(shown), frameon=False)


def _plain(text: str) -> str:
    """Not taken for a formula, and short."""
    return text.replace("$", r"\$") if len(text) <= 90 else text[:44].replace("$", r"\$") + "..." + text[-43:]


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
