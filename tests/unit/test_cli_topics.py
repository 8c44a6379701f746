"""`labelwatch topics list` in terminals of all widths."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from schemas.topics import TOPICS
from streams import kafka_admin
from streams.cli import cli


@pytest.mark.parametrize("columns", [80, 100, 132, 200])
def test_topic_names_are_whole_at_any_width(no_settings: pytest.MonkeyPatch, columns: int) -> None:
    statuses = [
        kafka_admin.TopicStatus(topic, "exists", topic.partitions, topic.partitions, replication=1) for topic in TOPICS
    ]
    no_settings.setattr(kafka_admin, "describe", lambda settings: statuses)
    no_settings.setattr(kafka_admin, "group_lag", lambda *_: {(topic.name, 0): 1_234_567_890 for topic in TOPICS})
    no_settings.setenv("COLUMNS", str(columns))
    result = CliRunner().invoke(cli, ["topics", "list"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in result.output
    for topic in TOPICS:
        assert any(f" {topic.name} " in line for line in lines)
    assert "1,234,567,890" in result.output
    assert ("written by" in result.output) == (columns >= 110)
