"""Rows of what a source partition holds: nothing is left out, nothing changes places."""

from __future__ import annotations

from dataclasses import fields

from detectors.windows import Partial, WindowKey
from schemas.rows import WindowPartialRow
from streams.state.result_rows import partial_row


def test_every_sum_of_a_partial_is_in_the_column_of_its_name() -> None:
    names = [one.name for one in fields(Partial) if one.type == "int" and one.name != "touched_ms"]
    assert len(names) == 2 + 19
    sums = {name: number for number, name in enumerate(names, 1)}
    row = partial_row(WindowKey(60_000, "p", "t", "v"), Partial(touched_ms=0, **sums), 3)  # type: ignore[arg-type]
    assert {name: getattr(row, name) for name in sums} == sums
    assert row[:5] == (60_000, "p", "t", "v", 3)


def test_a_partial_fills_every_column() -> None:
    """A column that the row gives a default is one that may be forgotten here."""
    partial = Partial(1, 2, 0)
    sums = [one.name for one in fields(Partial) if one.type == "int" and one.name != "touched_ms"]
    held_elsewhere = {"handling_sketch", "task_hashes", "labeler_hashes", "label_histogram"}
    agreement = {name for name in WindowPartialRow._fields if name.startswith("agreement_")}
    assert len(agreement) == len(partial.agreement.to_plain())
    assert set(WindowPartialRow._fields[5:]) == {*sums, *held_elsewhere, *agreement}
