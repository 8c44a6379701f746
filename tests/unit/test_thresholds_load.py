"""Every refusal of a file of rules, with its line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams import thresholds
from streams.thresholds import LoadedThresholds, ThresholdsError, load, parse_thresholds, shipped

T0 = datetime(2026, 1, 5, tzinfo=UTC)
HEAD = "version: 1\nrules:\n- name: gold\n  metric: gold_accuracy\n"


def read(text: str | bytes) -> LoadedThresholds:
    data = text.encode() if isinstance(text, str) else text
    return parse_thresholds(data, "t.yaml", changed_at=T0, owner="ana")


def test_what_was_read() -> None:
    loaded = read(HEAD + "  for: 5m\n- name: volume\n  metric: volume\n  method: seasonal\n  scope: vendor\n...\n")
    assert [rule.name for rule in loaded.rules] == ["gold", "volume"]
    assert (loaded.lines, loaded.scope_lines) == ((3, 6), (3, 9))
    assert loaded.is_ended
    assert loaded.changed_by == "ana"
    assert read("changed_by: eve\n" + HEAD).changed_by == "eve"
    assert not read(HEAD).is_ended
    for end in ("...", "... # end", "...\r\n", "...\n# end\n\n", "...   #"):
        assert read(HEAD + end).is_ended, end
    for end in ("# ...\n", "  runbook: https://a/...\n", "  labels: {a: ...}\n"):
        assert not read(HEAD + end).is_ended, end
    assert read(b"\xef\xbb\xbf" + HEAD.encode()).rules == read(HEAD).rules


VOLUME = "- name: v\n  metric: volume\n"
SHIFT = "- name: s\n  metric: label_distance_own\n"
LAG = "- name: l\n  metric: lag_seconds\n  scope: all\n  method: fixed\n  limit: 60\n  min_count: 1\n"


def test_defaults_need_not_suit_every_rule() -> None:
    defaults = "level: 0.8, limit: 0.5, min_count: 5, no_data: alert, smallest_drop: 0.1"
    defaults += ", schedule: {seasonality: hour_of_week}"
    rules = HEAD + VOLUME + "  method: kswin\n" + SHIFT + "  method: seasonal\n" + LAG
    loaded = read(rules.replace("rules:", f"defaults: {{{defaults}}}\nrules:"))
    assert [rule.name for rule in loaded.rules] == ["gold", "v", "s", "l"]
    no_season = HEAD + VOLUME + "  method: seasonal\n"
    read(no_season.replace("rules:", "defaults: {schedule: {seasonality: none}}\nrules:"))
    with pytest.raises(ThresholdsError, match="must be above 0 and below 1"):  # which it would have to go by
        read(HEAD.replace("rules:", "defaults: {level: 8}\nrules:"))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "is empty"),
        ("# nothing\n", 1, "is empty"),
        ("- a\n", 1, "must hold `version` and `rules`, not a list"),
        ("version: 1\n", 1, "rules: is missing"),
        ("version: 1\nrules: []\n", 2, "rules: is empty"),
        ("version: 1\nrules: 5\n", 2, "rules: must be a list"),
        (HEAD.replace("1", "2", 1), 1, "version: must be 1"),
        (HEAD.replace("1", "true", 1), 1, "version: must be 1"),
        (HEAD + "  metrc: x\n", 5, "no such field (did you mean metric?)"),
        (HEAD + "- metric: volume\n", 5, "rules[1].name: is missing"),
        (HEAD + "- name: gold\n  metric: gold_accuracy\n", 5, "names must differ"),
        (HEAD.replace("gold_accuracy", "gold_acuracy"), 4, "did you mean gold_accuracy?"),
        (HEAD + "  method: e_sir\n", 5, "did you mean e_sr?"),
        (HEAD + "  method: e_sparse\n  scope: labeler\n", 6, "e_sparse looks for a few of many labelers"),
        (
            HEAD + "- name: f\n  metric: too_fast_share\n  method: e_sparse\n",
            7,
            "e_sparse does not suit too_fast_share",
        ),
        (HEAD + "- name: i\n  metric: invalid_share\n  method: e_sparse\n", 7, "e_sparse does not suit invalid_share"),
        (HEAD + "  scope: team\n", 5, "not a scope"),
        (HEAD + "  scope: project_id = x\n", 5, "'x' at character 14"),
        (HEAD + "  for: soon\n", 5, "not a duration: 'soon'"),
        (HEAD + "  min_count: 1.5\n", 5, "must be a whole number, not 1.5"),
        (HEAD + "  min_count: yes\n", 5, "must be a whole number, not 'yes'"),
        (HEAD + "  min_count: true\n", 5, "must be a whole number, not true"),
        (HEAD + "  smallest_drop: 0\n", 5, "greater than 0"),
        (HEAD + "  smallest_drop: 0.95\n", 5, "is not between 0 and 1"),
        (HEAD + "  smallest_drop: .inf\n", 5, "must be number"),
        (HEAD + "  false_alarms_per_week: -1\n", 5, "greater than 0"),
        (HEAD + "  level: 1.0\n", 5, "must be above 0 and below 1"),
        (HEAD + "  limit: 0.8\n", 5, "is for method fixed, not e_sr"),
        (HEAD + "  method: cusum\n", 5 - 2, "must be told the level"),
        (HEAD + "  method: kswin\n", 5, "kswin does not suit gold_accuracy; take e_sr"),
        (HEAD + "  method: fixed\n", 3, "state how many"),
        (HEAD + "  method: fixed\n  min_count: 5\n  limit: 3\n", 7, "must be from 0 to 1"),
        (HEAD + "  method: fixed\n  min_count: 5\n  smallest_drop: 0.1\n", 7, "leave it out"),
        (HEAD + "  method: fixed\n  min_count: 5\n  limit: 0.5\n  direction: both\n", 8, "write down or up"),
        (HEAD + "  schedule: {seasonality: hour_of_week}\n", 5, "seasonality is for method seasonal"),
        (HEAD + VOLUME + "  method: kswin\n  min_count: 5\n", 8, "window is full"),
        (HEAD + VOLUME + "  method: seasonal\n  level: 5\n", 8, "seasonal on volume learns the level; leave it out"),
        (HEAD + SHIFT + "  method: seasonal\n  level: 0.2\n", 8, "learns the level; leave it out"),
        (HEAD + SHIFT + "  method: fixed\n  limit: 0.5\n  min_count: 1\n  level: 0.2\n", 10, "at its limit only"),
        (HEAD + LAG + "  no_data: alert\n", 11, "lag_seconds has a value every minute, also while nothing comes in"),
        (HEAD + LAG.replace("lag", "stall") + "  no_data: ok\n", 11, "stall_seconds has a value every minute"),
        (HEAD + "- name: c\n  metric: mean_confidence\n  method: seasonal\n", 7, "take e_sr_guaranteed or fixed"),
        (HEAD + "  schedule:\n    time_zone: Mars\n", 6, "no time zone 'Mars'"),
        (HEAD + "  schedule:\n    quiet_hours:\n    - from: 22:00\n      to: 22:00\n", 7, "end when they begin"),
        (HEAD + "  labels:\n    team: a\n    shift: 1\n", 7, "write it in quotes, '1'"),
        (HEAD + "  labels:\n    team: a\n    se-verity: b\n", 7, "is not of the form"),
        (HEAD + "  labels: {severity: b}\n", 5, "set by labelwatch itself"),
        (HEAD + "  labels: {few: b}\n", 5, "set by labelwatch itself"),
        (HEAD + "  runbook: javascript:alert(1)\n", 5, "is not of the form"),
        (HEAD + "- name: v\n  metric: volume\n", 5, "method: e_sr does not suit volume"),
        (HEAD + "- name: v\n  metric: aht_seconds\n  method: fixed\n  min_count: 1\n", 5, "needs a limit, in seconds"),
        (
            HEAD + "- name: v\n  metric: krippendorff_alpha\n  method: seasonal\n  scope: labeler\n",
            8,
            "not measured of",
        ),
        (HEAD + "  name: other\n", 5, "'name' is here twice; first in line 3"),
        (HEAD + "  labels: {a: b, a: c}\n", 5, "'a' is here twice"),
        (HEAD + "  labels: &x {a: b}\n- *x\n", 6, "aliases (*x) are not allowed"),
        (HEAD + "  labels: !!python/object/apply:os.system [ls]\n", 5, "are not allowed"),
        (HEAD + "  labels: {a: [\n", 6, "not YAML"),
        (HEAD + "\tfor: 5m\n", 5, "not YAML"),
        (HEAD + "  for: \x01\n", 5, "U+0001 is not allowed"),
        (HEAD + '  for: "\\U7fffffff"\n', 5, "not YAML"),
        (HEAD + "  1: 5\n", 5, "a key must be a word"),
        (HEAD + "  labels: " + "[" * 50 + "\n", 5, "nested deeper than 20"),
        (HEAD + "---\n" + HEAD, 5, "not YAML"),
        (HEAD.encode() + b"  # caf\xe9\n", 5, "not text in UTF-8"),
        (bytes(range(256)), 2, "not text in UTF-8"),
    ],
)
def test_a_refusal_says_line_and_reason(text: str | bytes, line: int, reason: str) -> None:
    with pytest.raises(ThresholdsError) as refused:
        read(text)
    assert reason in str(refused.value)
    assert line in {
        problem.line for problem in refused.value.problems if reason in f"{problem.field}: {problem.reason}"
    }
    assert str(refused.value).startswith("t.yaml:")


def test_all_problems_are_said_at_once_in_order() -> None:
    with pytest.raises(ThresholdsError) as refused:
        read(HEAD + "  level: a\n  limit: b\n  severity: page\n")
    assert [problem.line for problem in refused.value.problems] == [5, 6, 7]


def test_an_alias_bomb_does_not_go_off() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"{c}: &{c} [{','.join([f'*{b}'] * 9)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(ThresholdsError, match="aliases"):
        read(bomb)


class TestFile:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ThresholdsError, match="does not exist"):
            load(tmp_path / "no.yaml")

    def test_a_folder_and_a_pipe_are_no_files(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(ThresholdsError, match=r"plain file|cannot be read"):
                load(path)

    def test_no_file_name(self) -> None:
        with pytest.raises(ThresholdsError, match="is no file name"):
            load(Path("a\0b"))

    def test_huge(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.yaml"
        with path.open("wb") as file:
            file.truncate(50_000_000_000)  # sparse
        with pytest.raises(ThresholdsError, match="larger than 256 KiB"):
            load(path)
        with pytest.raises(ThresholdsError, match="larger than 256 KiB"):
            read(b"#" * (thresholds.MAX_BYTES + 1))
        assert read(HEAD + "#" * (thresholds.MAX_BYTES - len(HEAD))).rules

    def test_shipped_rules_can_be_used(self) -> None:
        loaded = shipped()
        assert loaded.is_ended
        assert sum(rule.false_alarms_per_week for rule in loaded.rules) <= 1.0 + 1e-9
