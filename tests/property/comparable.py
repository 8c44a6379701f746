"""What of the tables must come out the same, whatever happened on the way."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from schemas.rows import Row, StateRow, WindowPartialRow
from streams.sinks.sink import MemorySink
from tests.builders import tables

TABLES = (
    "annotation_scores", "task_confidence", "window_partials", "reviews", "dead_letters", "source_progress", "state",
)  # fmt: skip
#: State that is stored when it changed, under the number of the checkpoint's last message, wherever that falls.
BY_CHECKPOINT = frozenset({"labeler", "label_space", "confidence", "speed", "task_time"})
#: What is believed of an answer or a task, which depends on when a review came among the annotations.
BELIEFS = {
    "annotation_scores": ("agrees_with_consensus", "probability_right"),
    # A task that comes back after it was closed is a new one, of which the truth may be told or not.
    "task_confidence": (
        "consensus_label", "confidence", "raw_confidence", "entropy", "posterior", "truth", "truth_source", "version",
    ),
}  # fmt: skip
#: Sums of a window over all its partials that count messages, and do not depend on what was believed.
SUMS = (
    "annotations", "revisions", "duplicates", "late", "gold_seen", "gold_right", "handling_microseconds",
    "forecast_seen", "forecast_microseconds", "agreement_units", "agreement_values",
)  # fmt: skip


def stored(sink: MemorySink) -> dict[str, list[Row]]:
    """Every row, but for the numbers that say where a checkpoint fell."""
    found = tables(sink, *TABLES)
    state = [row for row in cast(list[StateRow], found["state"]) if row.kind not in ("intent", "review")]
    found["state"] = [row._replace(version=0) if row.kind in BY_CHECKPOINT else row for row in state]
    return found


def counted(sink: MemorySink) -> dict[str, Any]:
    """What does not depend on when a review came: every row without beliefs, and the sums of every window."""
    found: dict[str, Any] = {**tables(sink, "reviews", "dead_letters", "source_progress")}
    for table, beliefs in BELIEFS.items():
        found[table] = [
            {name: value for name, value in row._asdict().items() if name not in beliefs} for row in sink.rows(table)
        ]
    windows: dict[tuple[Any, ...], Counter[str]] = {}
    for row in sink.rows("window_partials"):
        assert isinstance(row, WindowPartialRow)
        sums = windows.setdefault(row[:5], Counter())
        sums.update({name: getattr(row, name) for name in SUMS})
        for first, second, weight in zip(row.agreement_first, row.agreement_second, row.agreement_weight, strict=True):
            sums[f"{first} {second}"] += weight
    found["windows"] = {
        key: {name: n for name, n in sums.items() if n} for key, sums in windows.items() if any(sums.values())
    }
    return found
