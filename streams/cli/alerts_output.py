"""How ``labelwatch alerts`` shows things. Names come from the wire, and are made harmless for a terminal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.dlq_output import age, printable
from streams.cli.query_output import format_value

if TYPE_CHECKING:
    from streams.delivery.target import Sent, Verdict

#: Of a test message. Nothing tries it again, as it would an alert.
_OUTCOMES: Final[dict[Verdict, str]] = {
    "delivered": "delivered",
    "later": "not taken, may pass",
    "refused": "refused",
}
_COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def print_table(found: Sequence[dict[str, Any]]) -> None:
    """One line an alert."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        return
    now = datetime.now(UTC)
    table = Table("id", "severity", "state", "rule", "scope", "change", "since", "messages", "acked")
    for one in found:
        cells = (
            one["alert_id"],
            Text(one["severity"], style=_COLOURS.get(one["severity"], "")),
            _state(one),
            one["rule"],
            _scope(one),
            _change(one),
            age(one["started_at"], now),
            _told(one),
            one["acked_by"],
        )
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells))
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:  # a pipe has no width: nothing is folded or cut there
        Console(width=1_000).print(table)


def print_lines(found: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    for one in found:
        click.echo(json.dumps(_plain(one), ensure_ascii=False))


def print_object(one: dict[str, Any], deliveries: Sequence[dict[str, Any]], notes: Sequence[dict[str, Any]]) -> None:
    """One JSON object with everything."""
    whole = {**_plain(one), "deliveries": [_plain(d) for d in deliveries], "notes": [_plain(n) for n in notes]}
    click.echo(json.dumps(whole, ensure_ascii=False, indent=2))


def print_one(one: dict[str, Any], deliveries: Sequence[dict[str, Any]], notes: Sequence[dict[str, Any]]) -> None:
    """What people were told, then the facts, then deliveries and notes."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(printable(one["title"] or f"{one['rule']}: {_scope(one)}"), style="bold"), soft_wrap=True)
    for line in one["body"].splitlines():
        console.print(Text(printable(line)), soft_wrap=True)
    facts = Table(show_header=False, box=None)
    shown = {
        "id": one["alert_id"],
        "rule": f"{one['rule']} ({one['metric']}, {one['severity']})",
        "state": _state(one),
        "scope": _scope(one),
        "change": _change(one),
        "began": format_value(one["started_at"]),
        "fired": format_value(one["fired_at"]),
        "over": " ".join(filter(None, (format_value(one["resolved_at"]), one["ended"]))),
        "messages": _told(one),
        "acknowledged": " ".join(filter(None, (format_value(one["acked_at"]), one["acked_by"], one["ack_note"]))),
        "labels": " ".join(f"{name}={value}" for name, value in one["labels"].items()),
        "runbook": one["runbook"],
    }
    for name, value in shown.items():
        if value:
            facts.add_row(name, Text(printable(value)))
    console.print(facts)
    _print_rows("sent", ("target", "notice", "status", "attempts", "attempted_at", "reason"), deliveries)
    _print_rows("noted", ("kind", "noted_at", "noted_by", "until", "note"), notes)


def print_trials(results: Sequence[tuple[str, Sent]]) -> None:
    """Which targets took a test message."""
    rows = [{"target": name, "outcome": _OUTCOMES[sent.verdict], "reason": sent.reason} for name, sent in results]
    _print_rows("", ("target", "outcome", "reason"), rows)


def _print_rows(title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(Text(printable(format_value(row[column]))) for column in columns))
    Console().print(table)


def minute(at: datetime | int) -> str:
    """A time, perhaps in milliseconds, to the minute."""
    moment = datetime.fromtimestamp(at / 1_000, UTC) if isinstance(at, int) else at.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _state(one: dict[str, Any]) -> str:
    more = [one["held"], "flapping" if one["is_flapping"] and one["state"] == "firing" else ""]
    more += [f"silenced until {minute(one['silenced_until'])}" if one["silenced_until"] else ""]
    words = ", ".join(filter(None, more))
    return f"{one['state']} ({words})" if words else str(one["state"])


def _scope(one: dict[str, Any]) -> str:
    named = [
        f"{word} {one[column]}"
        for word, column in (
            ("labeler", "labeler_id"), ("vendor", "vendor_id"), ("project", "project_id"), ("type", "task_type"),
        )
        if one[column]
    ]  # fmt: skip
    return ", ".join(named) or str(one["scope"])


def _change(one: dict[str, Any]) -> str:
    if one["baseline"] is None or one["level"] is None:
        return f"no {one['metric']}"
    if one["unit"] == "share":
        return f"{100 * one['baseline']:.1f} % -> {100 * one['level']:.1f} %"
    return f"{one['baseline']:.4g} -> {one['level']:.4g} {one['unit']}"


def _told(one: dict[str, Any]) -> str:
    """Messages, by what became of them; '' where people were not to be told."""
    if not (one["told"] or one["delivered"]):
        return ""
    more = [f"{one[name]} {name.replace('_', ' ')}" for name in ("waiting", "given_up") if one[name]]
    return ", ".join([f"{one['delivered']} delivered", *more])


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row in JSON's own types; an explanation, which is JSON, as it is."""
    plain = {
        name: format_value(value).replace(" ", "T") if isinstance(value, datetime) else value
        for name, value in row.items()
    }
    if explanation := plain.get("explanation"):
        with contextlib.suppress(ValueError):
            plain["explanation"] = json.loads(explanation)
    return plain
