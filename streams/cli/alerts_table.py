"""Alerts in ClickHouse, as the command line reads them and notes on them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import click

from schemas.alert_rows import AlertNoteRow
from schemas.scope import parse_scope
from streams.cli.clickhouse import clickhouse_client, read_only

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.settings import Settings

_MOST_NAMED: Final = 5
_MOST_DELIVERIES: Final = 100
_ORDER: Final = """
    indexOf(['critical', 'warning', 'info'], severity),
    indexOf(['all', 'project', 'vendor', 'task_type', 'segment', 'labeler'], scope_kind),
    started_at DESC, alert_id
"""


class AlertsTable:
    """A context in which alerts can be read. ClickHouse's errors end the command with exit code 1."""

    def __init__(self, settings: Settings) -> None:
        self._app_id = settings.worker.app_id
        self._connecting: AbstractContextManager[Client] = clickhouse_client(settings.clickhouse, use_database=True)
        self._client: Client

    def __enter__(self) -> AlertsTable:
        self._client = self._connecting.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._connecting.__exit__(kind, error, trace)

    def select(
        self, states: Sequence[str], *, since_ms: int | None, rule: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        """The alerts that fit, the worst first, and how many fit altogether."""
        where = "app_id = {app:String} AND state IN {states:Array(String)}"
        given: dict[str, Any] = {"app": self._app_id, "states": list(states)}
        if since_ms is not None:
            where += " AND started_at >= fromUnixTimestamp64Milli({since:Int64})"
            given["since"] = since_ms
        if rule is not None:
            where += " AND rule = {rule:String}"
            given["rule"] = rule
        total = self._rows(f"SELECT count() AS n FROM alert_history WHERE {where}", given)[0]["n"]  # noqa: S608  (ours)
        found = self._rows(
            f"SELECT * FROM alert_history WHERE {where} ORDER BY {_ORDER} LIMIT {int(limit)}",  # noqa: S608  (ours)
            given,
        )
        return found, int(total)

    def find(self, alert_id: str) -> dict[str, Any] | None:
        """The alert whose id begins so; None if there is none.

        Raises:
            ClickException: several ids do.
        """
        if not alert_id:
            return None
        found = self._rows(
            "SELECT * FROM alert_history WHERE app_id = {app:String} AND startsWith(alert_id, {id:String})"
            " ORDER BY started_at DESC LIMIT 20",
            {"app": self._app_id, "id": alert_id},
        )
        if len(found) > 1:
            named = ", ".join(one["alert_id"] for one in found[:_MOST_NAMED])
            raise click.ClickException(f"ids of several alerts begin with {alert_id!r}: {named}; write more of it")
        return found[0] if found else None

    def one(self, alert_id: str) -> dict[str, Any]:
        """The alert whose id begins so.

        Raises:
            ClickException: there is none, or several.
        """
        found = self.find(alert_id)
        if found is None:
            raise click.ClickException(f"no alert {alert_id!r}; see `labelwatch alerts list --state all`")
        return found

    def evidence(self, alert_id: str) -> dict[str, Any]:
        """What reached the threshold of an alert, the threshold, and ``heard``: how far answers were heard by now."""
        (found,) = self._rows(
            "SELECT statistic, threshold,"
            " (SELECT max(watermark) FROM source_progress_current WHERE app_id = {app:String}) AS heard"
            " FROM alerts FINAL WHERE app_id = {app:String} AND alert_id = {id:String}",
            {"app": self._app_id, "id": alert_id},
        )
        return found

    def rules(self) -> set[str]:
        """Names of rules that were ever in force."""
        found = self._rows(
            "SELECT DISTINCT rule FROM alerts WHERE app_id = {app:String}"
            " UNION DISTINCT SELECT arrayJoin(rules_added) AS rule FROM threshold_changes WHERE app_id = {app:String}",
            {"app": self._app_id},
        )
        return {row["rule"] for row in found}

    def deliveries(self, alert_id: str) -> list[dict[str, Any]]:
        """What was sent of an alert, in order."""
        return self._rows(
            "SELECT * EXCEPT (app_id, alert_id, version) FROM alert_deliveries_current"
            " WHERE app_id = {app:String} AND alert_id = {id:String}"
            " ORDER BY queued_at, number, target LIMIT {most:UInt32}",
            {"app": self._app_id, "id": alert_id, "most": _MOST_DELIVERIES},
        )

    def notes(self, alert_id: str, rule: str) -> list[dict[str, Any]]:
        """What people noted on an alert or its rule, in order."""
        return self._rows(
            "SELECT kind, noted_at, noted_by, note, until, rule FROM alert_notes FINAL"
            " WHERE app_id = {app:String} AND (alert_id = {id:String} OR rule = {rule:String}) ORDER BY noted_at",
            {"app": self._app_id, "id": alert_id, "rule": rule},
        )

    def mark_silenced(self, found: Sequence[dict[str, Any]], now_ms: int) -> None:
        """Add to each alert that is not over until when it is silenced, by itself or by its rule; None if it is not.

        The newest note counts, as for workers (`streams.delivery.notes`).
        """
        rows = self._rows(
            "SELECT alert_id, rule, argMax(until, (noted_at, note_id)) AS ends FROM alert_notes FINAL"
            " WHERE app_id = {app:String} AND kind = 'silence' GROUP BY alert_id, rule",
            {"app": self._app_id},
        )
        ends = {(row["alert_id"], row["rule"]): row["ends"] for row in rows if row["ends"] > _moment(now_ms)}
        for one in found:
            on = ((one["alert_id"], ""), ("", one["rule"]))
            known = [ends[key] for key in on if key in ends] if one["state"] != "resolved" else []
            one["silenced_until"] = max(known, default=None)

    def note(self, kind: str, *, alert_id: str, rule: str, by: str, note: str, now_ms: int, until_ms: int) -> None:
        """Write a note; workers read it within seconds."""
        row = [self._app_id, uuid.uuid4().hex, kind, alert_id, rule, by, note, _moment(now_ms), _moment(until_ms)]
        self._client.insert("alert_notes", [row], column_names=list(AlertNoteRow._fields), settings={"async_insert": 0})

    def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._client.query(sql, parameters=parameters, settings=read_only(self._client), tz_mode="aware")
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def matchers_of(alert: dict[str, Any]) -> dict[str, str]:
    """Labels that this alert has in Alertmanager and no other of its rule."""
    matchers = {"alertname": alert["rule"], "about": alert["about"], "scope": alert["scope_kind"]}
    if parse_scope(alert["scope"]).where is not None:
        matchers["selection"] = "yes"
    fields = ("project_id", "task_type", "labeler_id") if alert["labeler_id"] else (
        "project_id", "task_type", "vendor_id",
    )  # fmt: skip
    return matchers | {name: alert[name] for name in fields if alert[name]}


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
