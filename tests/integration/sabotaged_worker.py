"""A worker with one guard taken out, to prove that the tests see it: ``python sabotaged_worker.py GUARD``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def main() -> None:
    guard = sys.argv.pop(1)
    if guard != "offset_check":
        raise SystemExit(f"no guard {guard!r}")
    import detectors.consensus
    import detectors.windows
    import streams.pipeline

    streams.pipeline.unread = lambda records, last_offset: records
    detectors.consensus.Task.is_duplicate = _seen_at_all
    detectors.windows.Partial.add = _add_always(detectors.windows.Partial.add)

    from streams.cli import main as labelwatch

    sys.argv = ["labelwatch", "worker"]
    labelwatch()


def _seen_at_all(task, event_hash, offset):  # type: ignore[no-untyped-def]
    before = len(task.event_offsets)
    task.event_offsets.setdefault(event_hash, offset)
    return len(task.event_offsets) == before


def _add_always(add):  # type: ignore[no-untyped-def]
    def wrapper(partial, seen, *, offset, late):  # type: ignore[no-untyped-def]
        partial.last_offset = min(partial.last_offset, offset - 1)
        add(partial, seen, offset=offset, late=late)

    return wrapper


main()
