"""Mapping files: what they say, and how a wrong one is refused; the times they describe."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.sources.mapped_times import parse_time
from streams.sources.mapping import Mapping, TimeFormat, fill_template, load_mapping
from streams.sources.source import SourceError

GOOD = """
    fields: {task_id: item, labeler_id: who, label: verdict, started_at: begun, submitted_at: done}
"""
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "mappings").glob("*.yaml"))


def load(tmp_path: Path, text: str) -> Mapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load_mapping(path)


def test_a_small_mapping(tmp_path: Path) -> None:
    mapping = load(tmp_path, GOOD)
    assert (mapping.event, mapping.delimiter, mapping.time.format) == ("annotation", ",", "iso")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_load(path: Path) -> None:
    assert load_mapping(path).fields["task_id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "must hold keys such as fields"),
        ("fields: [", "is not YAML"),
        ("fields: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("{}", "fields: Field required"),
        (GOOD + "    colour: red", "colour: Extra inputs"),
        (GOOD + "    delimiter: ';;'", "delimiter: "),
        ("fields: {worker: who}", "fields.worker is not one of an annotation's: event_id, task_id"),
        (GOOD + "    constants: {label: yes}", "constants.label is not one of"),
        (GOOD + "    constants: {task_id: x}", "constants.task_id is not one of"),
        (GOOD + "    constants: {labeler_id: x}", "labeler_id is given twice"),
        ("fields: {task_id: a, labeler_id: b, started_at: c, submitted_at: d}", "fields.label is missing"),
        ("fields: {task_id: a, labeler_id: b, label: c, seconds: d}", "either fields.submitted_at or clock"),
        (GOOD + "    clock: {start: '2020-01-01T00:00:00Z', step_seconds: 1}", "and not both"),
        ("fields: {task_id: a, labeler_id: b, label: c, submitted_at: d}", "how long did the answer take"),
        (
            "{fields: {task_id: a, labeler_id: b, label: c, started_at: d},"
            " clock: {start: '2020-01-01T00:00:00Z', step_seconds: 1}}",
            "map seconds instead",
        ),
        (
            "{fields: {task_id: a, labeler_id: b, label: c, seconds: d},"
            " clock: {start: '2020-01-01', step_seconds: 1}}",
            "clock.start: time",
        ),
        (
            "{fields: {task_id: a, labeler_id: b, label: c, seconds: d},"
            " clock: {start: '2020-01-01T00:00:00Z', step_seconds: 0}}",
            "clock.step_seconds: ",
        ),
        (GOOD + "    label: {kind: colour}", "label.kind: "),
        (GOOD + "    time: {zone: Mars/Olympus}", "time.zone: 'Mars/Olympus' is not a time zone"),
        (GOOD + "    time: {zone: ../../etc/passwd}", "is not a time zone"),
        (GOOD + "    time: {format: ISO-8601}", "time: format 'ISO-8601' is none of"),
        (GOOD + "    time: {format: '%d.%m.%Y'}", "has no zone: add zone"),
        (GOOD + "    time: {format: '%Y %Q', zone: UTC}", "cannot be read back"),
        ("{event: review, fields: {task_id: a, reviewer_id: b, reviewed_at: c}}", "a review needs fields.true_label"),
        ("{event: review, fields: {task_id: a, reviewed_at: c, accepted: d}}", "fields.reviewer_id is missing"),
        ("{event: review, fields: {task_id: a, label: c}}", "fields.label is not one of a review's"),
        ("{event: survey, fields: {task_id: a}}", "event: "),
        (
            "{fields: {event_id: e, task_id: a, labeler_id: b, label: c, started_at: d, submitted_at: f},"
            " event_id: '{row}'}",
            "event_id is given twice",
        ),
    ],
)
def test_wrong_mappings_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError) as error:
        load(tmp_path, text)
    assert "mapping.yaml" in str(error.value)
    assert message in str(error.value)


def test_too_many_features(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="features: 64 at most"):
        load(tmp_path, GOOD + f"    features: {[f'f{n}' for n in range(65)]}")


def test_a_value_in_a_template_is_not_a_template() -> None:
    assert fill_template("{a}-{b}", {"a": "{b}", "b": "{0.__class__}"}) == "{b}-{0.__class__}"


@pytest.mark.parametrize(
    ("cell", "written", "expected"),
    [
        ("2015-01-08T11:00:00Z", TimeFormat(), datetime(2015, 1, 8, 11, tzinfo=UTC)),
        ("2015-01-08T11:00:00+02:00", TimeFormat(), datetime(2015, 1, 8, 9, tzinfo=UTC)),
        ("2015-07-08 11:00", TimeFormat(zone="Europe/Amsterdam"), datetime(2015, 7, 8, 9, tzinfo=UTC)),
        ("1420714800", TimeFormat(format="epoch_seconds"), datetime(2015, 1, 8, 11, tzinfo=UTC)),
        ("1420714800.5", TimeFormat(format="epoch_seconds"), datetime(2015, 1, 8, 11, 0, 0, 500_000, tzinfo=UTC)),
        ("1420714800500", TimeFormat(format="epoch_ms"), datetime(2015, 1, 8, 11, 0, 0, 500_000, tzinfo=UTC)),
        (" 08.01.2015 11 ", TimeFormat(format="%d.%m.%Y %H", zone="UTC"), datetime(2015, 1, 8, 11, tzinfo=UTC)),
        ("08.01.2015 +0100", TimeFormat(format="%d.%m.%Y %z"), datetime(2015, 1, 7, 23, tzinfo=UTC)),
    ],
)
def test_times(cell: str, written: TimeFormat, expected: datetime) -> None:
    parsed = parse_time(cell, written)
    assert parsed == expected
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("cell", "written", "message"),
    [
        (" ", TimeFormat(), "no time"),
        ("yesterday", TimeFormat(), "'yesterday' is not a time of the format iso"),
        ("2015-01-08T11:00:00", TimeFormat(), "has no zone: add time.zone"),
        ("1.2.2015", TimeFormat(format="%d/%m/%Y", zone="UTC"), "is not a time of the format %d/%m/%Y"),
        ("2015-03-29 02:30", TimeFormat(zone="Europe/Amsterdam"), "was skipped when the clocks of Europe/Amsterdam"),
        ("2015-10-25 02:30", TimeFormat(zone="Europe/Amsterdam"), "came twice when the clocks of Europe/Amsterdam"),
        ("soon", TimeFormat(format="epoch_seconds"), "is not a number of seconds"),
        ("nan", TimeFormat(format="epoch_ms"), "is not a number of milliseconds"),
        ("1420714800", TimeFormat(format="epoch_ms"), "year 1970 is outside"),
        ("1420714800500", TimeFormat(format="epoch_seconds"), "out of range"),
        ("11:00", TimeFormat(format="%H:%M", zone="UTC"), "year 1900"),
    ],
)
def test_what_is_no_time(cell: str, written: TimeFormat, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_time(cell, written)
