"""Any bytes are refused in one way or taken; what is taken is read again as the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.scope import parse_scope
from schemas.thresholds import Thresholds
from streams.thresholds import SHIPPED, ThresholdsError, parse_thresholds

T0 = datetime(2026, 1, 5, tzinfo=UTC)
WHOLE = SHIPPED.read_bytes()
SMALL = b"version: 1\nrules:\n- name: a\n  metric: gold_accuracy\n  scope: 'vendor_id = \"x\"'\n  labels: {a: b}\n"


def survives(data: bytes) -> None:
    refused = None
    try:
        parse_thresholds(data, "t.yaml", changed_at=T0)
    except ThresholdsError as error:
        refused = error
    assert refused is None or (refused.problems and all(problem.reason for problem in refused.problems))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    survives(data)


@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"%@`#?\n\t \\uUxN0189.~"), max_size=60))
def test_any_text_of_what_yaml_is_made_of(text: str) -> None:
    survives(text.encode())
    survives(SMALL + b"  runbook: " + text.encode())


@given(st.integers(0, len(SMALL)), st.integers(0, 6), st.binary(max_size=6))
def test_any_damage(at: int, cut: int, put: bytes) -> None:
    survives(SMALL[:at] + put + SMALL[at + cut :])


@settings(max_examples=15)
@given(st.integers(0, len(WHOLE)))
def test_any_first_part(length: int) -> None:
    survives(WHOLE[:length])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [*Thresholds.model_json_schema()["$defs"]["Rule"]["properties"], "colour"]


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(FIELDS), plain, max_size=4), plain)
def test_any_values(rule: dict[str, Any], defaults: object) -> None:
    document = {"version": 1, "defaults": defaults, "rules": [{"name": "a", "metric": "volume", **rule}]}
    survives(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


ids = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@settings(max_examples=40)
@given(st.data())
def test_a_valid_file_is_read_as_it_was_written(data: st.DataObject) -> None:
    def some(of: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
        return data.draw(st.fixed_dictionaries({}, optional=of))

    name = data.draw(ids).replace("\\", "\\\\").replace('"', '\\"')
    optional = {
        "scope": st.sampled_from(
            ["segment", "labeler", f'project_id = "{name}"', f'vendor where vendor_id != "{name}"']
        ),
        "false_alarms_per_week": st.floats(1e-6, 1_000),
        "smallest_drop": st.floats(1e-3, 0.5),
        "for": st.integers(0, 86_400),
        "resolve_after": st.sampled_from(["5m", "1h", "90s"]),
        "severity": st.sampled_from(["info", "warning", "critical"]),
        "no_data": st.sampled_from(["ok", "keep", "alert"]),
        "labels": st.dictionaries(st.from_regex(r"\A[b-z]{1,8}\Z"), ids, max_size=3),
        "schedule": st.builds(
            lambda: {"time_zone": "Asia/Kathmandu", "quiet_hours": [{"from": "22:00", "to": "06:00"}]}
        ),
    }
    rules = [{"name": "r1", "metric": "gold_accuracy", **some(optional)}, {"name": "r2", "metric": "too_fast_share"}]
    written = {"version": 1, "defaults": some(optional), "rules": rules}
    text = yaml.safe_dump(written, allow_unicode=True)
    first = parse_thresholds(text.encode(), "t.yaml", changed_at=T0)
    dumped = Thresholds.model_validate(written).model_dump(by_alias=True, exclude_unset=True, mode="json")
    again = parse_thresholds(yaml.safe_dump(dumped).encode(), "t.yaml", changed_at=T0)
    assert again.rules == first.rules == Thresholds.model_validate(written).rules


@given(st.text(max_size=60) | st.text(st.sampled_from("project_id= in()not and or\"'x,!"), max_size=60))
def test_any_text_is_a_scope_or_refused(text: str) -> None:
    try:
        scope = parse_scope(text)
    except ValueError:
        return
    assert parse_scope(scope.text) == scope
    scope.matches({"project_id": "x", "task_type": "y", "vendor_id": "z"})
