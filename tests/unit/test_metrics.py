"""Metrics: each is declared once, and the page about them is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from streams.metrics import METRICS, Metrics, MetricSpec, metric_specs, set_build_info, to_markdown

ROOT = Path(__file__).parents[2]


def test_page_is_current() -> None:
    committed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert committed == to_markdown(), "run: python -m streams.metrics > docs/metrics.md"


@pytest.mark.parametrize(("kind", "spec"), metric_specs(), ids=lambda value: getattr(value, "name", value))
def test_declaration_keeps_the_conventions(kind: str, spec: MetricSpec) -> None:
    assert re.fullmatch(r"labelwatch_[a-z][a-z_]*", spec.name)
    assert (kind == "counter") == spec.name.endswith("_total")
    assert spec.meaning.endswith(".")
    assert spec.when_bad.endswith(".")
    assert "|" not in spec.meaning + spec.when_bad, "would break the table"
    if kind == "histogram":
        assert list(spec.buckets) == sorted(set(spec.buckets))
    if spec.runbook:
        assert (ROOT / "docs" / "runbooks" / f"{spec.runbook}.md").is_file()


def test_names_are_unique_and_every_declaration_is_served() -> None:
    names = [spec.name for _, spec in metric_specs()]
    assert len(names) == len(set(names))
    served = generate_latest(METRICS.registry).decode()
    for kind, spec in metric_specs():
        assert f"# HELP {spec.name} " in served
        assert f"# TYPE {spec.name} {kind}" in served


def test_handles_count_in_their_own_registry() -> None:
    mine, other = Metrics(), Metrics()
    mine.messages.labels("annotations", "accepted").inc(500)
    mine.checkpoint_seconds.observe(0.02)
    set_build_info(mine)
    text = generate_latest(mine.registry).decode()
    assert 'labelwatch_messages_total{outcome="accepted",topic="annotations"} 500.0' in text
    assert "labelwatch_checkpoint_seconds_count 1.0" in text
    assert 'labelwatch_build_info{python="' in text
    assert 'outcome="accepted"' not in generate_latest(other.registry).decode()


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="Incorrect label count"):
        Metrics().messages.labels("annotations")
