"""A changed file is taken, a bad one never: what is in force, and what is said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.thresholds import load, shipped
from streams.thresholds_watch import Accepted, Refused, ThresholdsWatch, as_stored, change_row

NOW = datetime(2026, 1, 5, tzinfo=UTC)
GOLD = "- name: gold\n  metric: gold_accuracy\n"
ONE = "version: 1\nrules:\n" + GOLD
TWO = ONE + "- name: agreement\n  metric: consensus_agreement\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "thresholds.yaml").write_text(TWO)
    return tmp_path / "thresholds.yaml"


@pytest.fixture
def watch(path: Path) -> ThresholdsWatch:
    return ThresholdsWatch(path, load(path))


def settle(watch: ThresholdsWatch) -> Accepted | Refused | None:
    first, second = watch.poll(), watch.poll()
    assert first is None
    assert watch.poll() is None, "nothing is said twice"
    return second


def test_what_did_not_change_is_no_change(watch: ThresholdsWatch, path: Path) -> None:
    assert settle(watch) is None
    path.write_text(TWO)  # another modification time
    assert settle(watch) is None


def test_a_change_is_taken_once_and_recorded(watch: ThresholdsWatch, path: Path) -> None:
    before = watch.in_force
    path.write_text("changed_by: eve\n" + ONE.replace(GOLD, GOLD + "  for: 5m\n") + "- name: v\n  metric: late_share\n")
    taken = settle(watch)
    assert isinstance(taken, Accepted)
    assert watch.in_force == taken.thresholds
    row = change_row(before, watch.in_force, app_id="app", worker_id="w1", accepted_at=NOW)
    assert (row.rules_added, row.rules_changed, row.rules_removed) == (["v"], ["gold"], ["agreement"])
    assert (row.changed_by, row.previous_sha256, row.sha256) == ("eve", before.sha256, watch.in_force.sha256)
    assert "\n+  for: 5m\n" in row.diff
    assert row.content == path.read_text()
    assert as_stored(row).rules == watch.in_force.rules


def test_what_is_being_written_is_waited_for(watch: ThresholdsWatch, path: Path) -> None:
    for number in range(5):
        path.write_text(TWO + f"# {number}\n")
        assert watch.poll() is None
    assert isinstance(watch.poll(), Accepted)


@pytest.mark.parametrize("bad", [b"", b"version: 1\nrules:", b"\xff\xfe", b"\0" * 50, b"#" * 300_000, b"a: *b\n"])
def test_a_bad_file_changes_nothing_and_is_said_once(watch: ThresholdsWatch, path: Path, bad: bytes) -> None:
    before = watch.in_force
    path.write_bytes(bad)
    refused = settle(watch)
    assert isinstance(refused, Refused)
    assert str(path) in refused.reason
    assert watch.refused == refused
    assert watch.in_force == before
    path.write_text(TWO)
    assert settle(watch) is None
    assert watch.refused is None


def test_a_missing_file_changes_nothing(watch: ThresholdsWatch, path: Path) -> None:
    path.unlink()
    refused = settle(watch)
    assert isinstance(refused, Refused)
    assert "does not exist" in refused.reason
    path.write_text(ONE + "# back\n...\n")
    assert isinstance(settle(watch), Accepted)


def test_every_first_part_of_the_file_in_force_is_refused(watch: ThresholdsWatch, path: Path) -> None:
    before = watch.in_force
    for length in range(len(TWO)):
        path.write_text(TWO[:length])
        watch.poll()
        assert not isinstance(watch.poll(), Accepted), TWO[:length]
    assert watch.in_force == before
    path.write_text(ONE)
    assert watch.refused is not None
    path.write_text(ONE + "...\n")  # said to be whole
    assert isinstance(settle(watch), Accepted)


@pytest.mark.parametrize("text", [TWO, TWO + "...\n"])
def test_under_another_path_half_of_the_rules_in_force_is_refused_too(path: Path, text: str) -> None:
    before = path.with_name("before.yaml")
    before.write_text(text)
    path.write_text(ONE)
    watch = ThresholdsWatch(path, load(before))
    assert isinstance(watch.start(), Refused)
    assert watch.in_force == load(before)
    path.write_text(ONE + "...\n")
    assert isinstance(settle(watch), Accepted)


def test_a_first_file_of_ones_own_needs_no_end(path: Path) -> None:
    watch = ThresholdsWatch(path, shipped())
    assert watch.in_force.is_ended
    assert isinstance(watch.start(), Accepted)


def test_once_ended_no_first_part_of_another_file_is_taken(path: Path) -> None:
    path.write_text(TWO + "...\n")
    watch = ThresholdsWatch(path, load(path))
    new = "# new\n" + TWO.replace("gold_accuracy", "gold_accuracy\n  false_alarms_per_week: 12") + "...\n"
    for length in range(len(new) - len("...\n")):
        path.write_text(new[:length])
        watch.poll()
        assert not isinstance(watch.poll(), Accepted), new[:length]
    path.write_text(new)
    assert isinstance(settle(watch), Accepted)


def test_at_the_start_the_file_is_taken_at_once(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(ONE)
    watch = ThresholdsWatch(path, load(other))
    assert isinstance(watch.start(), Accepted)
    path.write_text("")
    assert isinstance(watch.start(), Refused)
    assert len(watch.in_force.rules) == 2


def test_the_first_rules_have_nothing_before_them(path: Path) -> None:
    row = change_row(None, load(path), app_id="app", worker_id="w1", accepted_at=NOW)
    assert (row.diff, row.previous_sha256, row.rules_added) == ("", "", ["agreement", "gold"])
