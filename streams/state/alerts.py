"""What one partition of NOTIFY knows: alerts that are not over, the words for them, messages not yet delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from detectors.alerts.alert import Alert, Notice, Transition
from detectors.alerts.book import AlertBook
from schemas.rows import StateRow
from schemas.topics import ALERTS
from schemas.verdicts import Verdicts
from streams.delivery.queue import DeliveryQueue
from streams.delivery.text import Text
from streams.state import codecs
from streams.state.alert_rows import alert_row
from streams.state.partition_state import Changes
from streams.state.position import Position

CODEC_VERSIONS: Final = {"position": 1, "book": 1, "alert": 1, "ends": 1, "hushed": 1, "text": 1, "delivery": 1}
_BOOK: Final = frozenset({"book", "alert", "ends", "hushed"})


class AlertsState:
    """State of one partition of NOTIFY.

    Args:
        app_id: the application whose alerts these are.
        name: under which the state is kept.
        partition: of `alerts`.
        targets: names of where alerts are sent.
        keep_alive: those of them that are told again what fires, and repeat by themselves.
    """

    def __init__(
        self, app_id: str, name: str, partition: int, targets: Collection[str] = (), keep_alive: Collection[str] = ()
    ) -> None:
        self.app_id = app_id
        self.partition = partition
        self.book = AlertBook(app_id)
        self.queue = DeliveryQueue(app_id, targets, keep_alive)
        self._name = name
        self._position = Position()
        self._latest: dict[str, Alert] = {}
        """By id, as it is now: of alerts that are not over, and of those of which a message waits."""
        self._texts: dict[str, Text] = {}
        self._unwritten: dict[str, None] = {}
        self._changed_texts: dict[str, None] = {}
        self._moved = False

    @property
    def is_changed(self) -> bool:
        """Whether there is something to store though no message was read."""
        return self.queue.is_changed or bool(self._changed_texts)

    @property
    def firing(self) -> Sequence[Alert]:
        """Alerts that fire now."""
        return [alert for alert in self.book.open if alert.state == "firing"]

    def position(self, topic: str) -> Position:
        """The position in `alerts`."""
        if topic != ALERTS.name:
            raise ValueError(f"NOTIFY does not read {topic!r}")
        return self._position

    def moved(self) -> None:
        """Note that the position changed."""
        self._moved = True

    def take(self, batch: Verdicts, now_ms: int) -> list[Transition]:
        """Let the alerts live on, and note what people are to be told.

        Args:
            batch: the next message.
            now_ms: the wall clock.
        """
        found = [one._replace(notice=self._notice(one)) for one in self.book.take(batch)]
        transitions = [one for one in found if one.notice is not None or one.change != "looked"]
        for transition in transitions:
            alert = transition.alert
            self._latest[alert.alert_id] = alert
            self._unwritten[alert.alert_id] = None
            self.queue.add(transition, now_ms)
        return transitions

    def text(self, alert_id: str) -> Text | None:
        """The words that were found for an alert, the last time that somebody was named, or else the first time."""
        return self._texts.get(alert_id)

    def keep_text(self, alert: Alert, text: Text) -> None:
        """Remember the words, so that people read the same everywhere and always."""
        self._texts[alert.alert_id] = text
        self._latest.setdefault(alert.alert_id, alert)
        self._changed_texts[alert.alert_id] = self._unwritten[alert.alert_id] = None

    def is_told(self, alert: Alert) -> bool:
        """Whether words were found to tell people that it fires."""
        return bool(alert.told) or alert.alert_id in self._texts

    def _notice(self, transition: Transition) -> Notice | None:
        """What is to be told after what was told by now, and to be told already."""
        notice, alert = transition.notice, transition.alert
        text = self._texts.get(alert.alert_id)
        if transition.change == "resolved":
            return "resolved" if self.is_told(alert) or self.queue.is_waiting(alert.alert_id) else None
        if notice == "update":
            return notice if text is not None and text.is_open else None
        return notice if notice == "repeat" or text is None else None

    def changes(self, now_ms: int) -> Changes:
        """Rows and state for what changed since the last call."""
        found = Changes()
        deliveries, delivery_rows = self.queue.take_changed()
        found.results["alert_deliveries"] = list(delivery_rows)
        found.results["alerts"] = [
            alert_row(self.app_id, self._latest[alert_id], self._texts.get(alert_id)) for alert_id in self._unwritten
        ]
        self._forget()
        found.state = [self._row(kind, key, payload) for kind, key, payload in self.book.take_changed()]
        found.state += [self._row("delivery", key, payload) for key, payload in deliveries]
        for alert_id in self._changed_texts:
            text = self._texts.get(alert_id)
            found.state.append(self._row("text", alert_id, None if text is None else codecs.encode_plain(list(text))))
        if self._moved:
            found.state.append(self._row("position", ALERTS.name, codecs.encode_position(self._position)))
        self._unwritten, self._changed_texts, self._moved = {}, {}, False
        return found

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Continue from stored rows, whatever their order.

        Raises:
            UnknownCodecError: a row was written by a version of labelwatch that this one cannot read.
        """
        book: list[tuple[str, str, str]] = []
        deliveries: list[tuple[str, str]] = []
        for row in rows:
            codecs.check_version(row.kind, row.codec_version, CODEC_VERSIONS, "NOTIFY")
            if row.kind in _BOOK:
                book.append((row.kind, row.key, row.payload))
            elif row.kind == "delivery":
                deliveries.append((row.key, row.payload))
            elif row.kind == "text":
                self._texts[row.key] = Text(*codecs.decode_plain(row.payload))
            else:
                self._position = codecs.decode_position(row.payload)
        self.book.load(book)
        self.queue.load(deliveries)
        for alert in (*(intent.alert for intent in self.queue.waiting), *self.book.open):
            known = self._latest.get(alert.alert_id)
            if known is None or known.revision < alert.revision:
                self._latest[alert.alert_id] = alert

    def _forget(self) -> None:
        """Drop alerts that are over, once nothing waits that is about them."""
        kept = {alert.alert_id for alert in self.book.open} | {i.alert.alert_id for i in self.queue.waiting}
        for alert_id in self._latest.keys() - kept:
            del self._latest[alert_id]
        for alert_id in self._texts.keys() - kept:
            del self._texts[alert_id]
            self._changed_texts[alert_id] = None

    def _row(self, kind: str, key: str, payload: str | None) -> StateRow:
        version, codec = max(self._position.offset, 0), CODEC_VERSIONS[kind]
        return StateRow(self._name, self.partition, kind, key, version, codec, payload or "", payload is None)
