"""Which columns of a Figure Eight export are the answer, its gold, and features of the task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from schemas.events import MAX_FEATURES
from streams.sources.answers import LabelKind, infer_kind
from streams.sources.source import SourceError
from streams.sources.text_files import Table, parse_number

#: Verdicts on the answer. In an event they would tell the detectors what they are there to find out.
VERDICTS = frozenset({"_tainted", "_trust", "_golden", "_missed", "_canary"})
MAX_FEATURE_NAME_CHARS = 64

#: Written by the job's page rather than by the labeler: media events, browser, hidden fields.
_INSTRUMENTS = re.compile(r"e_[a-z]+|contributors?_browser|user_?agent|hidden_?input", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(?:.*_)?(?:id|key|uuid|index)|.*unitid", re.IGNORECASE)
#: An integer column with a different value in this share of the units is an identifier, not a measurement.
IDENTIFIER_SHARE = 0.9
#: A column that differs in fewer units than this share of the most varied one's is damaged, not answered.
DAMAGED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """Positions of the columns that matter, and the kind of the answers."""

    label: int
    kind: LabelKind
    gold: int | None
    features: tuple[tuple[str, int], ...]


def assign_roles(
    table: Table,
    *,
    label_column: str | None,
    label_kind: LabelKind | None,
    features: Sequence[str],
    exclude: Collection[str],
) -> ColumnRoles:
    """Roles of the table's columns, named or found.

    Raises:
        SourceError: a named column is missing or a verdict, or the answer column is not plain to see.
    """
    varying = _varying_within_units(table)
    label = label_column or _find_label(table, varying, exclude)
    at = table.index(label)
    gold_name = f"{label}_gold"
    gold = table.header.index(gold_name) if gold_name in table.header else None
    named = features or _find_features(table, varying, {label, *exclude})
    for name in features:
        if name in VERDICTS or name.endswith("_gold"):
            raise SourceError(f"{table.file}: column {name!r} is a verdict on the answer and cannot be a feature")
        if len(name) > MAX_FEATURE_NAME_CHARS:
            raise SourceError(f"{table.file}: column {name!r} is too long a name for a feature (64 characters)")
    kind = label_kind or infer_kind([row.cells[at] for row in table.rows])
    return ColumnRoles(at, kind, gold, tuple((name, table.index(name)) for name in named[:MAX_FEATURES]))


def _varying_within_units(table: Table) -> dict[str, int]:
    """Columns that differ between the answers to one unit, and in how many units they do."""
    unit_at = table.index("_unit_id")
    units: dict[str, tuple[list[str], set[int]]] = {}
    for row in table.rows:
        reference, same = units.setdefault(row.cells[unit_at], (row.cells, set(range(len(table.header)))))
        if reference is not row.cells:
            same -= {at for at in same if row.cells[at] != reference[at]}
    varying: Counter[str] = Counter()
    for _, same in units.values():
        varying.update(name for at, name in enumerate(table.header) if at not in same)
    return varying


def _find_label(table: Table, varying: dict[str, int], exclude: Collection[str]) -> str:
    candidates = [
        name
        for name in table.header
        if name in varying
        and not name.startswith("_")
        and not name.endswith("_gold")
        and not _INSTRUMENTS.fullmatch(name)
        and name not in exclude
    ]
    if len(candidates) > 1:
        # A question of the job has a column for its gold; what was written beside it later has none.
        asked = [name for name in candidates if f"{name}_gold" in table.header]
        candidates = asked or candidates
        most = max(varying[name] for name in candidates)
        candidates = [name for name in candidates if varying[name] > DAMAGED_SHARE * most]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise SourceError(f"{table.file}: no column differs between the answers to one unit; name it by --label COLUMN")
    names = ", ".join(candidates)
    raise SourceError(f"{table.file}: several columns may be the answer ({names}); choose by --label COLUMN")


def _find_features(table: Table, varying: dict[str, int], taken: Collection[str]) -> list[str]:
    unit_at = table.index("_unit_id")
    first = {row.cells[unit_at]: row.cells for row in reversed(table.rows)}
    if len(first) == len(table.rows):
        return []  # one answer a unit: nothing tells what was asked from what was answered
    found = []
    for at, name in enumerate(table.header):
        if name in varying or name in taken or name.startswith("_") or name.endswith("_gold"):
            continue
        if f"{name}_gold" in table.header or _INSTRUMENTS.fullmatch(name) or _IDENTIFIER.fullmatch(name):
            continue
        values = [cells[at] for cells in first.values() if cells[at].strip()]
        numbers = {parse_number(value) for value in values}
        if None in numbers or len(numbers) < 2 or len(name) > MAX_FEATURE_NAME_CHARS:
            continue
        whole = all(isinstance(number, int) for number in numbers)
        if whole and len(values) >= 10 and len(numbers) >= IDENTIFIER_SHARE * len(values):
            continue
        found.append(name)
    return found
