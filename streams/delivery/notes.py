"""What people noted on alerts: that they know, and that they want to hear no more for a while."""

from __future__ import annotations

from collections.abc import Iterable

from detectors.alerts.alert import Alert
from schemas.alert_rows import AlertNoteRow


class Notes:
    """Acknowledgements and silences in force. Times are of the wall clock."""

    def __init__(self, rows: Iterable[AlertNoteRow] = ()) -> None:
        self._acked: set[str] = set()
        self._silences: list[AlertNoteRow] = []
        for row in rows:
            if row.kind == "ack":
                self._acked.add(row.alert_id)
            elif row.kind == "silence":
                self._silences.append(row)

    def is_acked(self, alert: Alert) -> bool:
        """Whether somebody said that they know."""
        return alert.alert_id in self._acked

    def silent_until_ms(self, alert: Alert, now_ms: int) -> int | None:
        """When people want to hear of it again; None if they do now."""
        ends = (
            row.until
            for row in self._silences
            if row.noted_at <= now_ms < row.until and (row.alert_id == alert.alert_id or row.rule == alert.rule.name)
        )
        return max(ends, default=None)
