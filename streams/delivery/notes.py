"""What people noted on alerts: that they know, and that they want to hear no more for a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from detectors.alerts.alert import Alert
from schemas.alert_rows import AlertNoteRow

#: A silence may be ended early: it is looked again so often.
LOOK_MS: Final = 60_000


class Notes:
    """Acknowledgements and silences in force. Times are of the wall clock.

    Of all silences of a rule, or of an alert, the newest holds: so it can be shortened, and ended.
    """

    def __init__(self, rows: Iterable[AlertNoteRow] = ()) -> None:
        self._acked: set[str] = set()
        self._silences: dict[tuple[str, str], AlertNoteRow] = {}
        for row in sorted(rows, key=lambda row: (row.noted_at, row.note_id)):
            if row.kind == "ack":
                self._acked.add(row.alert_id)
            elif row.kind == "silence":
                self._silences[row.alert_id, row.rule] = row

    def is_acked(self, alert: Alert) -> bool:
        """Whether somebody said that they know."""
        return alert.alert_id in self._acked

    def silent_until_ms(self, alert: Alert, now_ms: int) -> int | None:
        """When to look again whether people want to hear of it; None if they do now."""
        rows = (self._silences.get(on) for on in ((alert.alert_id, ""), ("", alert.rule.name)))
        ends = [row.until for row in rows if row is not None and now_ms < row.until]
        return min(max(ends), now_ms + LOOK_MS) if ends else None
