"""The registry is whole, its page is current, and editors are told what the loader knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from detectors.metrics_registry import METRICS, to_markdown
from detectors.rule_check import problems
from schemas import json_schema
from schemas.thresholds import MetricName, Thresholds
from streams.thresholds import SHIPPED
from streams.volumes import SegmentVolume

ROOT = Path(__file__).parents[2]


def test_every_metric_is_declared_once() -> None:
    assert tuple(METRICS) == get_args(MetricName)


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "quality-metrics.md").read_text("utf-8")
    assert page == to_markdown(), "run: python -m detectors.metrics_registry > docs/quality-metrics.md"


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_makes_sense(name: MetricName) -> None:
    metric = METRICS[name]
    assert metric.low < metric.high
    assert metric.suits
    assert metric.scopes
    assert metric.meaning.endswith(".")
    assert set(metric.columns or ()) <= {*SegmentVolume.model_fields, "messages", "refused"}
    if metric.law == "answers":
        assert metric.level is not None
        assert metric.smallest_drop is not None


@pytest.mark.parametrize("name", METRICS)
def test_the_first_method_suits_and_the_least_rule_may_run(name: MetricName) -> None:
    metric = METRICS[name]
    rule: dict[str, object] = {"name": "a", "metric": name, "method": metric.suits[0], "scope": metric.scopes[-1]}
    if metric.suits[0] == "fixed":
        rule |= {"limit": 60, "min_count": 1}
    if metric.law == "scores":
        rule["level"] = metric.level
    assert list(problems(Thresholds.model_validate({"version": 1, "rules": [rule]}))) == []


def test_editors_are_told_the_same() -> None:
    schema = json.loads((json_schema.DIRECTORY / json_schema.THRESHOLDS).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    editor = jsonschema.Draft202012Validator(schema)
    shipped = yaml.safe_load(SHIPPED.read_text("utf-8"))
    editor.validate(shipped)
    for field, wrong in (("metric", "x"), ("for", "soon"), ("severity", "page"), ("colour", "red"), ("scope", 1)):
        changed = {**shipped, "rules": [{**shipped["rules"][0], field: wrong}]}
        assert not editor.is_valid(changed), field
