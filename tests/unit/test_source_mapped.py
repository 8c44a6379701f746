"""Delimited files and JSON Lines by a mapping: every field, and every refused row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.events import AnnotationEvent, LabelerKind, ReviewEvent
from schemas.labels import ClassLabel, MulticlassLabel
from streams.sources.delimited import Delimited
from streams.sources.json_lines import JsonLines
from streams.sources.mapping import Mapping
from streams.sources.source import Item, Rejected, SourceError

FIELDS = {"task_id": "item", "labeler_id": "who", "label": "verdict", "submitted_at": "done", "seconds": "took"}
HEADER = "who,item,verdict,done,took,words"
DEFAULTS = {"project_id": "p", "task_type": "t", "vendor_id": "v"}


def mapped(**changes: Any) -> Mapping:
    return Mapping.model_validate({"fields": FIELDS, "label": {"kind": "class"}, **changes})


def read(tmp_path: Path, text: str, mapping: Mapping, **defaults: str) -> list[Item]:
    path = tmp_path / "answers.csv"
    path.write_text(text, encoding="utf-8")
    return list(Delimited([path], mapping, **{**DEFAULTS, **defaults}))


def test_a_row_becomes_an_annotation(tmp_path: Path) -> None:
    mapping = mapped(
        features={"length": "words"},
        constants={"labeler_kind": "model", "vendor_id": "own"},
        event_id="{who}/{item}/{row}",
    )
    (event,) = read(tmp_path, f"{HEADER}\nanna,doc-1,yes,2026-03-01T10:00:42Z,42,312\n", mapping)
    assert event == AnnotationEvent(
        event_id="anna/doc-1/1",
        task_id="doc-1",
        labeler_id="anna",
        labeler_kind=LabelerKind.MODEL,
        project_id="p",
        vendor_id="own",
        task_type="t",
        label=ClassLabel(value="yes"),
        started_at=datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC),
        submitted_at=datetime(2026, 3, 1, 10, 0, 42, tzinfo=UTC),
        active_seconds=42.0,
        features={"length": 312},
    )


ROW = "anna,doc-1,yes,2026-03-01T10:00:42Z,42,312"


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (ROW.replace("anna", ""), "who", "no value"),
        (ROW.replace("doc-1", "x" * 201), "item", "at most 200"),
        (ROW.replace("yes", " "), "verdict", "no answer"),
        (ROW.replace("yes", "x" * 300), "verdict", "at most 256"),
        (ROW.replace("Z", ""), "done", "has no zone"),
        (ROW.replace("2026-03-01T10:00:42Z", ""), "done", "no time"),
        (ROW.replace("42,312", ",312"), "took", "no value"),
        (ROW.replace("42,312", "-1,312"), "took", "'-1' is not a number of seconds"),
        (ROW.replace("42,312", "nan,312"), "took", "'nan' is not a number of seconds"),
        (ROW.replace("42,312", "2678401,312"), "took", "active_seconds"),
        ("anna,doc-1", None, "row has 2 values, the header has 6"),
    ],
)
def test_refused_rows_say_where_and_why(tmp_path: Path, row: str, column: str | None, reason: str) -> None:
    (one,) = read(tmp_path, f"{HEADER}\n{row}\n", mapped())
    assert isinstance(one, Rejected)
    assert (one.file, one.row, one.column) == (str(tmp_path / "answers.csv"), 1, column)
    assert reason in one.reason


def test_a_start_column_wins_over_the_seconds_for_the_start(tmp_path: Path) -> None:
    mapping = mapped(fields={**FIELDS, "started_at": "begun"})
    text = "who,item,verdict,done,took,begun\nanna,d,yes,2026-03-01T10:05:00Z,42,2026-03-01T10:00:00Z\n"
    (event,) = read(tmp_path, text, mapping)
    assert isinstance(event, AnnotationEvent)
    assert (event.started_at.minute, event.handling_seconds) == (0, 42.0)
    (one,) = read(tmp_path, text.replace("10:00:00Z", "11:00:00Z"), mapping)
    assert isinstance(one, Rejected)
    assert "is before started_at" in one.reason


def test_pages_share_their_time(tmp_path: Path) -> None:
    mapping = mapped(page=["who", "done"])
    text = f"{HEADER}\n{ROW}\n{ROW.replace('doc-1', 'doc-2')}\n{ROW.replace('anna', 'bo')}\n"
    events = [event for event in read(tmp_path, text, mapping) if isinstance(event, AnnotationEvent)]
    assert [event.handling_seconds for event in events] == [21.0, 21.0, 42.0]
    assert {event.started_at.second for event in events} == {0}

    fields = {key: value for key, value in FIELDS.items() if key != "seconds"} | {"started_at": "took"}
    text = text.replace(",42,", ",2026-03-01T10:00:00Z,")
    events = [
        event
        for event in read(tmp_path, text, mapped(fields=fields, page=["who", "done"]))
        if isinstance(event, AnnotationEvent)
    ]
    assert [event.handling_seconds for event in events] == [21.0, 21.0, 42.0]


def test_the_label_kind_is_told_from_all_rows(tmp_path: Path) -> None:
    text = f"{HEADER}\n" + "".join(ROW.replace("doc-1", f"doc-{n}") + "\n" for n in range(4))
    kinds = {e.label.kind for e in read(tmp_path, text, mapped(label={})) if isinstance(e, AnnotationEvent)}
    assert kinds == {"class"}


def test_the_command_line_fills_what_the_mapping_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    for missing, option in (("project_id", "--project"), ("task_type", "--task-type"), ("vendor_id", "--vendor")):
        given = {key: value for key, value in DEFAULTS.items() if key != missing}
        with pytest.raises(SourceError, match=f"names no {missing}: .* or pass {option}"):
            list(Delimited([path], mapped(), **given))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"fields": {**FIELDS, "label": "colour"}}, "fields.label"),
        ({"features": ["colour"]}, "features.colour"),
        ({"page": ["colour"]}, "page"),
        ({"event_id": "{colour}"}, "event_id"),
    ],
)
def test_a_column_that_the_file_lacks(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    with pytest.raises(SourceError, match=rf"answers\.csv, header: no column 'colour' \(the mapping's {key}\)"):
        read(tmp_path, f"{HEADER}\n{ROW}\n", mapped(**change))


def test_rows_that_say_the_same_at_the_same_time_are_one_event(tmp_path: Path) -> None:
    first, second = read(tmp_path, f"{HEADER}\n{ROW}\n{ROW}\n", mapped())
    assert isinstance(first, Rejected)
    assert first.reason == f"the same row was read already ({tmp_path / 'answers.csv'}, row 1)"
    assert isinstance(second, AnnotationEvent)


def test_an_event_id_must_tell_rows_apart(tmp_path: Path) -> None:
    text = f"{HEADER}\n{ROW}\n{ROW.replace('yes', 'no')}\n"
    first, _ = read(tmp_path, text, mapped(event_id="{who}:{item}"))
    assert isinstance(first, Rejected)
    assert first.reason.startswith("the same event_id was read already")
    assert all(isinstance(item, AnnotationEvent) for item in read(tmp_path, text, mapped(event_id="{row}")))


def test_event_ids_by_hash_differ_by_project_and_stay_the_same(tmp_path: Path) -> None:
    text = f"{HEADER}\n{ROW}\n"
    ids = [
        item.event_id
        for project in ("a", "a", "b")
        for item in read(tmp_path, text, mapped(), project_id=project)
        if isinstance(item, AnnotationEvent)
    ]
    assert ids[0] == ids[1] != ids[2]
    (item,) = read(tmp_path, text, mapped(event_id="{who}" * 60))
    assert isinstance(item, AnnotationEvent)
    assert len(item.event_id) == 40


def test_a_clock_counts_rows_of_all_files_and_keeps_repeats_apart(tmp_path: Path) -> None:
    mapping = Mapping.model_validate(
        {
            "columns": ["who", "item", "verdict", "took"],
            "fields": {key: value for key, value in FIELDS.items() if key != "submitted_at"},
            "label": {"kind": "class"},
            "clock": {"start": "2026-01-01T00:00:00Z", "step_seconds": 10},
        }
    )
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    paths[0].write_text("anna,1,yes,5\nbroken\nanna,1,yes,5\n", encoding="utf-8")
    paths[1].write_text("anna,1,yes,5\n", encoding="utf-8")
    source = Delimited(paths, mapping, **DEFAULTS)
    events = [item for item in source if isinstance(item, AnnotationEvent)]
    assert [event.submitted_at.second for event in events] == [0, 20, 30]
    assert len({event.event_id for event in events}) == 3
    assert [type(item) for item in source].count(Rejected) == 1


def review_mapping(**changes: Any) -> Mapping:
    fields = {
        "task_id": "task",
        "labeler_id": "author",
        "accepted": "ok",
        "true_label": "should_be",
        "reviewer_id": "by.name",
        "reviewed_at": "at",
    }
    content = {"event": "review", "fields": fields, "label": {"kind": "class"}, "time": {"format": "epoch_seconds"}}
    return Mapping.model_validate({**content, **changes})


def lines(tmp_path: Path, *content: object, mapping: Mapping | None = None, **defaults: str) -> list[Item]:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(c if isinstance(c, str) else json.dumps(c) for c in content), encoding="utf-8")
    return list(JsonLines([path], mapping, **defaults))


VERDICT = {"task": "doc-3", "author": "anna", "ok": False, "should_be": "no", "by": {"name": "bo"}, "at": 1772355642}


def test_reviews_from_json_lines(tmp_path: Path) -> None:
    (review,) = lines(tmp_path, VERDICT, mapping=review_mapping(), project_id="p")
    assert review == ReviewEvent(
        project_id="p",
        task_id="doc-3",
        labeler_id="anna",
        accepted=False,
        true_label=ClassLabel(value="no"),
        reviewer_id="bo",
        reviewed_at=datetime(2026, 3, 1, 9, 0, 42, tzinfo=UTC),
    )
    (review,) = lines(tmp_path, {**VERDICT, "should_be": None}, mapping=review_mapping(), project_id="p")
    assert isinstance(review, ReviewEvent)
    assert review.true_label is None


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"ok": "perhaps"}, "ok", "'perhaps' is neither true nor false"),
        ({"ok": None, "should_be": None}, None, "a review needs true_label"),
        ({"author": None}, None, "labeler_id is missing"),
        ({"by": {}}, "by.name", "no value"),
        ({"by": "bo"}, "by.name", "no value"),
        ({"at": "then"}, "at", "is not a number of seconds"),
    ],
)
def test_refused_reviews(tmp_path: Path, change: dict[str, Any], column: str | None, reason: str) -> None:
    (one,) = lines(tmp_path, {**VERDICT, **change}, mapping=review_mapping(), project_id="p")
    assert isinstance(one, Rejected)
    assert one.column == column
    assert reason in one.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ("[" * 9_999, "not JSON"),
    ],
    ids=["cut", "list", "nan", "deep"],
)
def test_lines_that_are_no_record(tmp_path: Path, line: str, reason: str) -> None:
    one, review = lines(tmp_path, VERDICT, "", line, mapping=review_mapping(), project_id="p")
    assert isinstance(one, Rejected)
    assert one.row == 3
    assert reason in one.reason
    assert isinstance(review, ReviewEvent)


def test_lists_in_json_are_many_of_several(tmp_path: Path) -> None:
    record = {"who": "a", "item": "1", "verdict": ["x", "y"], "done": "2026-01-01T00:00:00Z", "took": 3}
    (event,) = lines(tmp_path, record, mapping=mapped(label={}), **DEFAULTS)
    assert isinstance(event, AnnotationEvent)
    assert event.label == MulticlassLabel(values=["x", "y"])


def test_our_own_events_pass_through_json_lines(tmp_path: Path) -> None:
    (event,) = lines(
        tmp_path,
        {"who": "a", "item": "1", "verdict": "x", "done": "2026-01-01T00:00:00Z", "took": 3},
        mapping=mapped(),
        **DEFAULTS,
    )
    (review,) = lines(tmp_path, VERDICT, mapping=review_mapping(), project_id="p")
    assert isinstance(event, AnnotationEvent)
    assert isinstance(review, ReviewEvent)
    broken = {**event.model_dump(mode="json"), "started_at": "2026-01-01T00:00:00"}
    unknown = {**event.model_dump(mode="json"), "colour": "red"}
    items = lines(tmp_path, review.model_dump_json(), broken, unknown, event.model_dump_json())
    assert items[2:] == [event, review]
    assert [(item.row, item.column) for item in items[:2] if isinstance(item, Rejected)] == [
        (2, "started_at"),
        (3, "colour"),
    ]
