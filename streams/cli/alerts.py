"""``labelwatch alerts``: what is wrong, who knows, and who is to be left alone."""

from __future__ import annotations

import asyncio
import getpass
import re
import time
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.since import Since

if TYPE_CHECKING:
    from streams.cli.alerts_table import AlertsTable

_STATES: Final = ("open", "pending", "firing", "resolved", "all")
_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
#: Nobody means to be deaf for longer.
MAX_SILENCE_SECONDS: Final = 90 * 86_400


class _Length(click.ParamType):
    """Option type: a time to last; gives seconds."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhdw])", str(value).strip().lower())
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if found is None or seconds > MAX_SILENCE_SECONDS:
            self.fail(f"{value!r} is not a length: write 30m, 2h, 1d or 1w, 90d at most, or 0m for none", param, ctx)
        return seconds


_by = click.option("--by", metavar="NAME", help="Who says so.  [default: you, by your login]")


@click.group(
    epilog="""\b
Examples:
  labelwatch alerts list                                 what is wrong now, the worst first
  labelwatch alerts list --state all --since 7d --json
  labelwatch alerts show 1c4b048c                        all that is known of one (ids may be cut short)
  labelwatch alerts ack 1c4b048c --note "guideline changed, fixing"
  labelwatch alerts silence labeler-too-fast --for 2h --comment "load test"
  labelwatch alerts test                                 send a test message everywhere
\b
Exit codes: 0 done, 1 no such alert, or a target or ClickHouse away, 2 wrong usage or settings.
How alerts live and are delivered: docs/alerts.md.
"""
)
def alerts() -> None:
    """Alerts: list and explain them, acknowledge and silence them, test where they go."""


@alerts.command(
    "list",
    epilog="""\b
Examples:
  labelwatch alerts list
  labelwatch alerts list --state resolved --since 2026-01-05T00:00:00Z
  labelwatch alerts list --json | jq -r 'select(.severity == "critical") | .alert_id'
""",
)
@click.option("--state", type=click.Choice(_STATES), default="open", show_default=True, help="open: pending or firing.")
@click.option("--since", type=Since(), metavar="WHEN", help="Began since: 30m, 24h, 7d, or 2026-01-05T09:00:00Z.")
@click.option("--rule", metavar="NAME", help="Only of this rule.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with all that is known.")
def list_(state: str, since: int | None, rule: str | None, limit: int, as_json: bool) -> None:
    """List alerts: critical ones first, then broad ones, then the latest."""
    from streams.cli import alerts_output

    with _table() as table:
        states = {"open": ("pending", "firing"), "all": ("pending", "firing", "resolved")}.get(state, (state,))
        found, total = table.select(states, since_ms=since, rule=rule, limit=limit)
        table.mark_silenced(found, _now_ms())
    if as_json:
        alerts_output.print_lines(found)
        return
    alerts_output.print_table(found)
    more = f", {total - len(found):,} more: raise --limit" if total > len(found) else ""
    what = "open alert" if state == "open" else "alert"
    click.echo(f"{total:,} {what}{'' if total == 1 else 's'}{more}", err=True)


@alerts.command(
    epilog="""\b
Examples:
  labelwatch alerts show 1c4b048c409a9ecf
  labelwatch alerts show 1c4b --json | jq .explanation
"""
)
@click.argument("alert_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(alert_id: str, as_json: bool) -> None:
    """Show one alert: what people were told, why it fired, to whom it was sent, and what they noted.

    An alert that was sent to nobody is explained now.
    """
    from streams.cli import alerts_output
    from streams.cli.alerts_words import find_words, has_words
    from streams.settings import load_settings

    with _table() as table:
        one = table.one(alert_id)
        table.mark_silenced([one], _now_ms())
        deliveries, notes = table.deliveries(one["alert_id"]), table.notes(one["alert_id"], one["rule"])
        evidence = None if has_words(one) else table.evidence(one["alert_id"])
    if evidence is not None:
        one |= asyncio.run(find_words(one | evidence, load_settings()))
    if as_json:
        alerts_output.print_object(one, deliveries, notes)
    else:
        alerts_output.print_one(one, deliveries, notes)


@alerts.command(
    epilog="""\b
Examples:
  labelwatch alerts ack 1c4b048c409a9ecf
  labelwatch alerts ack 1c4b048c --by ana --note "vendor is informed"
"""
)
@click.argument("alert_id", metavar="ID")
@_by
@click.option("--note", default="", metavar="TEXT", help="What others should know.")
def ack(alert_id: str, by: str | None, note: str) -> None:
    """Say that you know: people are not told again that it fires, only when it is over.

    Alertmanager repeats by itself: silence the alert to hear no more of it from there.
    """
    with _table() as table:
        one = table.one(alert_id)
        if one["state"] == "resolved":
            raise click.ClickException(f"alert {one['alert_id']} is over; there is nothing to acknowledge")
        now_ms = _now_ms()
        table.note("ack", alert_id=one["alert_id"], rule="", by=_name(by), note=note, now_ms=now_ms, until_ms=now_ms)
    click.echo(f"acknowledged {one['alert_id']} ({one['rule']}) as {_name(by)}")


@alerts.command(
    epilog="""\b
Examples:
  labelwatch alerts silence 1c4b048c --for 2h            one alert
  labelwatch alerts silence labeler-too-fast --for 1d    all of a rule
  labelwatch alerts silence labeler-too-fast --for 0m    hear of it again
\b
The newest silence of an alert, or of a rule, takes the place of those before. With notify.alertmanager_url it is
made in Alertmanager, too, where it ends others for exactly the same.
"""
)
@click.argument("what", metavar="RULE|ID")
@click.option("--for", "seconds", type=_Length(), required=True, metavar="LENGTH", help="30m, 2h, 1d, 1w; 0m ends it.")
@_by
@click.option("--comment", default="", metavar="TEXT", help="Why, for the others.")
def silence(what: str, seconds: int, by: str | None, comment: str) -> None:
    """Let people hear nothing of one alert, or of all of a rule, for a while. Alerts are found and kept all the same.

    What still fires when the silence ends is delivered then.
    """
    from streams.cli import alerts_output
    from streams.cli.alerts_table import matchers_of
    from streams.settings import load_settings

    urls = load_settings().notify.alertmanagers()
    now_ms = _now_ms()
    until_ms = now_ms + 1_000 * seconds
    with _table() as table:
        one = None if (is_rule := what in table.rules()) else table.find(what)
        if one is None and not is_rule:
            raise click.ClickException(f"{what!r} is neither the id of an alert nor a rule that was ever in force")
        matchers = {"alertname": what} if one is None else matchers_of(one)
        if urls:  # first: where it fails, nothing was done here
            _silence_there(urls, matchers, until_ms if seconds else None, _name(by), comment or "labelwatch")
        on = {"alert_id": "", "rule": what} if one is None else {"alert_id": one["alert_id"], "rule": ""}
        table.note("silence", **on, by=_name(by), note=comment, now_ms=now_ms, until_ms=until_ms)
        if one is not None:
            table.mark_silenced([one], now_ms)
    named = f"rule {what}" if one is None else f"alert {one['alert_id']} ({one['rule']})"
    if seconds:
        click.echo(f"silenced {named} until {alerts_output.minute(until_ms)}")
    elif one is not None and one["silenced_until"] is not None:
        click.echo(f"{named} stays silenced by its rule: labelwatch alerts silence {one['rule']} --for 0m")
    else:
        click.echo(f"no longer silenced: {named}")


@alerts.command(
    epilog="""\b
Examples:
  labelwatch alerts test
  labelwatch alerts test --target alertmanager
  LABELWATCH_NOTIFY__APPRISE_URLS="json://127.0.0.1:8080/" labelwatch alerts test
"""
)
@click.option("--target", metavar="NAME", help="Only this one: a name as shown, or how it begins (slack, json).")
def test(target: str | None) -> None:
    """Send a test message to every target, and say which took it. Exit code 1 if one did not."""
    from streams.cli import alerts_output
    from streams.delivery.targets import targets_of
    from streams.delivery.trial import try_all
    from streams.settings import load_settings

    settings = load_settings().notify
    found = targets_of(settings, _now_ms)
    if not found:
        raise click.UsageError("no target is set: notify.alertmanager_url or notify.apprise_urls (docs/alerts.md)")
    chosen = [one for one in found if target is None or one.name.startswith(target)]
    if not chosen:
        raise click.BadParameter(f"no target {target!r}; known: {', '.join(one.name for one in found)}")
    results = asyncio.run(try_all(chosen, settings.page_url, _now_ms(), _name(None)))
    alerts_output.print_trials(results)
    if failed := [name for name, sent in results if sent.verdict != "delivered"]:
        raise click.ClickException(f"not taken by {', '.join(failed)}")


def _silence_there(urls: list[str], matchers: dict[str, str], until_ms: int | None, by: str, comment: str) -> None:
    """Make a silence in Alertmanager (None: only end those that there are), and say what was done.

    Of a cluster the first member that answers does it: members tell one another.
    """
    from streams.delivery.alertmanager import Alertmanager
    from streams.delivery.target import DELIVERED

    async def run(manager: Alertmanager, is_last: bool) -> bool:
        made = ""
        try:
            if until_ms is not None:
                sent, made = await manager.silence(matchers=matchers, until_ms=until_ms, by=by, comment=comment)
                if sent.verdict == "later" and not is_last:
                    return False
                if sent != DELIVERED:
                    raise click.ClickException(
                        "Alertmanager (notify.alertmanager_url) did not take the silence: "
                        f"{sent.reason}. Nothing was silenced"
                    )
                click.echo(f"Alertmanager: silence {made}")
            sent, ended = await manager.end_silences(matchers, but=made)
        finally:
            await manager.close()
        if sent.verdict == "later" and until_ms is None and not is_last:
            return False
        if sent != DELIVERED:
            raise click.ClickException(
                "Alertmanager (notify.alertmanager_url) did not end the silences before: "
                f"{sent.reason}. Nothing was noted here: run it again"
            )
        for silence in ended:
            click.echo(f"Alertmanager: ended silence {silence}")
        return True

    for url in urls:
        if asyncio.run(run(Alertmanager(url, _now_ms), url == urls[-1])):
            break


def _table() -> AlertsTable:
    from streams.cli.alerts_table import AlertsTable
    from streams.settings import load_settings

    return AlertsTable(load_settings())


def _name(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
