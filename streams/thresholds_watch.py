"""Noticing that ``thresholds.yaml`` changed. What cannot be used changes nothing, and is said once."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.rows import ThresholdChangeRow
from schemas.times import to_ms
from streams.thresholds import LoadedThresholds, ThresholdsError, load, parse_thresholds


class Accepted(NamedTuple):
    """Other rules are in force now."""

    thresholds: LoadedThresholds


class Refused(NamedTuple):
    """The file cannot be used; the rules in force stay."""

    reason: str
    """With file, line and column; one line a problem."""


class ThresholdsWatch:
    """The rules in force, and the file that they come from.

    A changed file is taken when two polls in a row find it the same, so that one that is just being written is not
    read halfway; a writer who died halfway is found out by the end mark (`streams.thresholds.END_MARK`). Blocking: the
    agents poll in a thread.
    """

    def __init__(self, path: Path, in_force: LoadedThresholds) -> None:
        self._path = path
        self._in_force = in_force
        self._seen = ""
        """What the last poll found: a hash of the content, or the reason why there is none."""
        self._refused: Refused | None = None

    @property
    def in_force(self) -> LoadedThresholds:
        """The rules to go by."""
        return self._in_force

    @property
    def refused(self) -> Refused | None:
        """Why the file as it is now is not in force; None while it is."""
        return self._refused

    def start(self) -> Accepted | Refused | None:
        """Look at the file at once, without waiting for a second poll; as `poll` otherwise."""
        return self._look(settled=True)

    def poll(self) -> Accepted | Refused | None:
        """Look at the file. Never raises for anything that is in it, or in its place.

        Returns:
            `Accepted` when it has changed and its rules are in force now; `Refused`, once for each content, when it
            cannot be used; None when there is nothing new.
        """
        return self._look(settled=False)

    def _look(self, *, settled: bool) -> Accepted | Refused | None:
        loaded, reason = None, ""
        try:
            loaded = load(self._path)
        except ThresholdsError as error:
            reason = str(error)
        found = loaded.sha256 if loaded else hashlib.sha256(reason.encode("utf-8", "backslashreplace")).hexdigest()
        settled = settled or found == self._seen
        self._seen = found
        if not settled:
            return None
        if loaded and loaded.sha256 == self._in_force.sha256:
            self._refused = None
            return None
        if loaded:
            reason = self._cut_short(loaded)
        if loaded is None or reason:
            refused = Refused(reason)
            is_new, self._refused = refused != self._refused, refused
            return refused if is_new else None
        self._in_force, self._refused = loaded, None
        return Accepted(loaded)

    def _cut_short(self, loaded: LoadedThresholds) -> str:
        """Why the file looks like the first half of one; '' where it does not."""
        before = self._in_force
        if loaded.is_ended or before.is_shipped:  # whoever writes a first file may leave the mark out
            return ""
        if before.is_ended:
            return f"{loaded.source}: half-written? The rules in force end with a line `...`, and these do not; add it"
        if before.text.startswith(loaded.text):
            return (
                f"{loaded.source}: half-written? It is the beginning of the rules in force; "
                "if that is meant, say so with a last line `...`"
            )
        return ""


def change_row(
    before: LoadedThresholds | None,
    after: LoadedThresholds,
    *,
    app_id: str,
    worker_id: str,
    accepted_at: datetime,
) -> ThresholdChangeRow:
    """What is kept of a change, for the table ``threshold_changes``."""
    old = {rule.name: rule for rule in before.rules} if before else {}
    new = {rule.name: rule for rule in after.rules}
    diff = ""
    if before:
        names = f"{before.source} ({before.sha256[:12]})", f"{after.source} ({after.sha256[:12]})"
        lines = before.text.splitlines(keepends=True), after.text.splitlines(keepends=True)
        diff = "".join(line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(*lines, *names))
    return ThresholdChangeRow(
        app_id=app_id,
        changed_at=to_ms(after.changed_at),
        sha256=after.sha256,
        previous_sha256=before.sha256 if before else "",
        changed_by=after.changed_by,
        source=after.source,
        rules_added=sorted(new.keys() - old.keys()),
        rules_changed=sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        rules_removed=sorted(old.keys() - new.keys()),
        diff=diff,
        content=after.text,
        worker_id=worker_id,
        accepted_at=to_ms(accepted_at),
    )


def as_stored(row: ThresholdChangeRow) -> LoadedThresholds:
    """The rules of a stored change: for a worker that finds a broken file, or none, when it starts.

    Raises:
        ThresholdsError: a later version of labelwatch accepted what this one does not.
    """
    changed_at = datetime.fromtimestamp(row.changed_at / 1_000, UTC)
    stored = parse_thresholds(row.content.encode(), row.source, changed_at=changed_at, owner=row.changed_by)
    return replace(stored, sha256=row.sha256)  # of the file's bytes, which may have begun with a byte order mark
