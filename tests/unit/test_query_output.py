"""How ``labelwatch query`` prints values that came from labelers."""

from __future__ import annotations

import csv
import io
import json

import pytest

from streams.cli.query_output import _write_blocks, write_csv, write_json, write_table

NASTY = "red \x1b[31m\x9b2J\x07 tab\t line\n漢 naïve"
ESCAPED = r"red \x1b[31m\x9b2J\x07 tab\t line\n漢 naïve"


def test_a_table_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(["label", "na\x1bme", "histogram"], [(NASTY, "x", {"\x9bcat": 1})], 0)
    shown = capsys.readouterr().out
    assert ESCAPED in shown
    assert r"na\x1bme" in shown
    assert r"\x9bcat" in shown
    assert all(char.isprintable() for char in shown.replace("\n", ""))


def test_blocks_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _write_blocks(["la\x1bbel"], [(NASTY,)])
    assert capsys.readouterr().out.splitlines()[1] == rf"la\x1bbel  {ESCAPED}"


def test_json_and_csv_keep_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    write_json(["label"], [(NASTY,)], 0)
    assert json.loads(capsys.readouterr().out) == {"label": NASTY}
    write_csv(["label"], [(NASTY,)], 0)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [["label"], [NASTY]]
