"""Reviews between being read and being applied: a journal that fixes their place among the annotations.

Annotations and reviews are two topics, and a replay would mix them differently. So a review is first noted, and
applied right after a checkpoint has stored it, before any further annotation: what follows from a stored state is then
the same each time. A review that still has to wait, until its task has been looked up, is noted as not ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.events import ReviewEvent
from schemas.rows import Row, StateRow
from streams.state import codecs


@dataclass(slots=True)
class Noted:
    """A review that was read and is not applied yet."""

    offset: int
    review: ReviewEvent
    watermark_ms: int
    """The annotations' watermark when it was read."""
    is_ready: bool = False
    """Whether it is applied right after the checkpoint that says so."""
    is_looked_up: bool = False
    """Whether its task was looked for among the closed ones; what was found is stored by the same checkpoint."""


class Journal:
    """Noted reviews of one source partition, and how many have been applied."""

    def __init__(self, app_id: str, partition: int) -> None:
        self._app_id = app_id
        self._partition = partition
        self.noted: dict[int, Noted] = {}
        """By source offset, in order."""
        self.applied = 0
        self.not_before = -1
        """Annotations' offset up to which rows may have been written, without further reviews in between."""
        self._of_task: dict[tuple[str, str], set[int]] = {}
        """Offsets of noted reviews by project and task."""
        self._closed_since: set[int] = set()
        self._changed: dict[int, Noted | None] = {}
        self._is_applied_changed = False

    def note(self, offset: int, review: ReviewEvent, watermark_ms: int) -> None:
        """Take a review in; it waits for the next checkpoint."""
        self.noted[offset] = self._changed[offset] = Noted(offset, review, watermark_ms)
        self._of_task.setdefault((review.project_id, review.task_id), set()).add(offset)

    def task_closed(self, project_id: str, task_id: str) -> None:
        """Note that a task left memory: reviews that wait for it find it among the closed ones, once it is there."""
        self._closed_since |= self._of_task.get((project_id, task_id), set())

    def look_up_closed(self) -> None:
        """Let reviews of tasks that were closed before this checkpoint look for them at the next."""
        for offset in self._closed_since & self.noted.keys():
            self.noted[offset].is_looked_up = False
            self._changed[offset] = self.noted[offset]
        self._closed_since = set()

    def look_up(self, offset: int) -> None:
        """Note that a review's task was looked for."""
        self.noted[offset].is_looked_up = True
        self._changed[offset] = self.noted[offset]

    def make_ready(self, is_ready: Callable[[Noted], bool]) -> None:
        """Decide which reviews are applied after this checkpoint."""
        for noted in self.noted.values():
            if not noted.is_ready and is_ready(noted):
                noted.is_ready = True
                self._changed[noted.offset] = noted

    def take_ready(self) -> list[Noted]:
        """Reviews to apply now. From here on they count as applied."""
        ready = [noted for noted in self.noted.values() if noted.is_ready]
        for noted in ready:
            del self.noted[noted.offset]
            self._changed[noted.offset] = None
            task = (noted.review.project_id, noted.review.task_id)
            self._of_task[task].discard(noted.offset)
            if not self._of_task[task]:
                del self._of_task[task]
        return ready

    def count_applied(self) -> None:
        """Count one more review as applied."""
        self.applied += 1
        self._is_applied_changed = True

    def changes(self) -> list[Row]:
        """State rows for what changed since the last call."""
        rows: list[Row] = [self._row(offset, noted) for offset, noted in self._changed.items()]
        if self._is_applied_changed:
            payload = codecs.encode_plain(self.applied)
            version = codecs.CODEC_VERSIONS["reviews_applied"]
            app_id, partition = self._app_id, self._partition
            rows.append(StateRow(app_id, partition, "reviews_applied", "", self.applied, version, payload, False))
        self._changed, self._is_applied_changed = {}, False
        return rows

    def intent(self, annotation_offset: int) -> Row:
        """State row to store before any result of a checkpoint that goes up to here."""
        payload, version = codecs.encode_plain(annotation_offset), codecs.CODEC_VERSIONS["intent"]
        return StateRow(self._app_id, self._partition, "intent", "", annotation_offset, version, payload, False)

    def restore(self, row: StateRow) -> None:
        """Continue from a stored row."""
        if row.kind == "intent":
            self.not_before = codecs.decode_plain(row.payload)
            return
        if row.kind == "reviews_applied":
            self.applied = codecs.decode_plain(row.payload)
            return
        review, watermark_ms, is_ready, is_looked_up = codecs.decode_plain(row.payload)
        offset, noted = int(row.key), ReviewEvent.model_validate_json(review)
        self.noted[offset] = Noted(offset, noted, watermark_ms, is_ready, is_looked_up)
        self._of_task.setdefault((noted.project_id, noted.task_id), set()).add(offset)
        self.noted = dict(sorted(self.noted.items()))

    def _row(self, offset: int, noted: Noted | None) -> StateRow:
        """Noted, perhaps looked up and not, then ready, then gone: of equal stages the one written last counts."""
        stage = 2 if noted is None else int(noted.is_ready)
        payload = "" if noted is None else self._payload(noted)
        version = codecs.CODEC_VERSIONS["review"]
        return StateRow(self._app_id, self._partition, "review", str(offset), stage, version, payload, noted is None)

    def _payload(self, noted: Noted) -> str:
        return codecs.encode_plain(
            [noted.review.model_dump_json(), noted.watermark_ms, noted.is_ready, noted.is_looked_up]
        )
