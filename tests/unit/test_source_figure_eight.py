"""Figure Eight exports: every rule, and every way in which a row or a file is refused."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.events import AnnotationEvent
from schemas.labels import ClassLabel, canonical
from streams.sources.figure_eight import FigureEight
from streams.sources.source import Rejected, SourceError

BASE = {
    "_unit_id": "u1",
    "_created_at": "9/7/2016 10:01:00",
    "_id": "100",
    "_started_at": "9/7/2016 10:00:00",
    "_tainted": "FALSE",
    "_channel": "clixsense",
    "_trust": "1",
    "_worker_id": "w1",
    "answer": "yes",
    "answer_gold": "",
    "length": "10.5",
}


def rows(*changes: dict[str, str]) -> list[dict[str, str]]:
    return [{**BASE, "_id": str(100 + n), **change} for n, change in enumerate(changes)]


def export(path: Path, content: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    return path


def read(path: Path, content: list[dict[str, str]], **options: Any) -> tuple[list[AnnotationEvent], list[Rejected]]:
    options = {"label_column": "answer", "label_kind": "class", **options}
    items = list(FigureEight([export(path, content)], "p", "t", **options))
    return (
        [item for item in items if isinstance(item, AnnotationEvent)],
        [item for item in items if isinstance(item, Rejected)],
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def test_a_row_becomes_an_annotation(path: Path) -> None:
    (event,), rejected = read(path, rows({}))
    assert rejected == []
    assert event == AnnotationEvent(
        event_id="p:100",
        task_id="u1",
        labeler_id="w1",
        project_id="p",
        vendor_id="clixsense",
        task_type="t",
        label=ClassLabel(value="yes"),
        started_at=datetime(2016, 9, 7, 10, 0, tzinfo=UTC),
        submitted_at=datetime(2016, 9, 7, 10, 1, tzinfo=UTC),
        active_seconds=60.0,
    )


def test_a_page_shares_its_time_among_its_rows(path: Path) -> None:
    other_page = {"_started_at": "9/7/2016 10:00:30"}
    events, _ = read(path, rows({}, {"_unit_id": "u2"}, {"_unit_id": "u3"}, other_page, {"_worker_id": "w2"}))
    assert [event.handling_seconds for event in events] == [20.0, 20.0, 20.0, 30.0, 60.0]


def test_rejected_rows_of_a_page_still_took_their_share(path: Path) -> None:
    events, rejected = read(path, rows({}, {"answer": ""}))
    assert [event.handling_seconds for event in events] == [30.0]
    assert len(rejected) == 1


def test_several_files_merge_by_submit_time(tmp_path: Path) -> None:
    late = export(tmp_path / "late.csv", rows({"_created_at": "9/7/2016 12:00:00", "_id": "7"}))
    early = export(tmp_path / "early.csv", rows({"_id": "8"}, {"_created_at": "9/7/2016 13:00:00", "_id": "9"}))
    source = FigureEight([late, early], "p", "t", label_column="answer", label_kind="class")
    assert [event.event_id for event in source if isinstance(event, AnnotationEvent)] == ["p:8", "p:7", "p:9"]
    assert source.estimate() == 3


def test_the_same_file_twice_sends_nothing_twice(path: Path) -> None:
    export(path, rows({}, {}))
    items = list(FigureEight([path, path], "p", "t", label_column="answer", label_kind="class"))
    assert [type(item) for item in items] == [Rejected, Rejected, AnnotationEvent, AnnotationEvent]
    assert str(items[0]) == f"{path}, row 1, column _id: judgement 100 was read already ({path}, row 1)"


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"_id": " "}, "_id", "no value"),
        ({"_unit_id": ""}, "_unit_id", "no value"),
        ({"_worker_id": ""}, "_worker_id", "no value"),
        ({"_channel": ""}, "_channel", "vendor_id"),
        ({"_created_at": ""}, "_created_at", "no time"),
        ({"_started_at": "soon"}, "_started_at", "'soon' is not a time"),
        ({"_started_at": "9/31/2016 10:00:00"}, "_started_at", "not a time of the form month/day/year"),
        ({"_started_at": "9/7/2016 10:01:01"}, "_created_at", "before its start"),
        ({"_created_at": "9/7/1016 10:01:00", "_started_at": "9/7/1016 10:01:00"}, "_started_at", "year 1016"),
        ({"_created_at": "9/7/2017 10:01:00"}, None, "active_seconds"),
        ({"answer": ""}, "answer", "no answer"),
        ({"answer": "x" * 300}, "answer", "at most 256"),
        ({"answer_gold": "x" * 300}, "answer_gold", "at most 256"),
        ({"_golden": "maybe"}, "_golden", "'maybe' is neither true nor false"),
        ({"_unit_id": "u" * 201}, "_unit_id", "at most 200"),
        ({"_created_at": "9-7-2016 10:00", "_started_at": "9-7-2016 10:00"}, "_created_at", "told apart"),
        ({"_created_at": "9-9-2016 10:00", "_started_at": "9-9-2016 10:00"}, "_created_at", "both in one minute"),
    ],
)
def test_refused_rows_say_where_and_why(path: Path, change: dict[str, str], column: str | None, reason: str) -> None:
    events, rejected = read(path, [{**BASE, **change}])
    assert events == []
    (one,) = rejected
    assert (one.file, one.row, one.column) == (str(path), 1, column)
    assert reason in one.reason


def test_dates_without_seconds_are_placed_by_the_ids_around_them(path: Path) -> None:
    odd = {"_created_at": "2-1-2015 10:42", "_started_at": "2-1-2015 10:40"}
    before = {"_created_at": "1/31/2015 23:30:02", "_started_at": "1/31/2015 23:28:22"}
    events, rejected = read(path, rows(before, odd))
    assert rejected == []
    assert events[1].submitted_at == datetime(2015, 2, 1, 10, 42, tzinfo=UTC)
    assert events[1].handling_seconds == 120.0

    after = {"_created_at": "1/3/2015 10:00:00", "_started_at": "1/3/2015 09:00:00"}
    events, rejected = read(path, rows(odd, after))
    assert rejected == []
    assert events[0].submitted_at == datetime(2015, 1, 2, 10, 42, tzinfo=UTC)

    events, rejected = read(path, rows(before, odd, {**before, "_created_at": "1/31/2015 23:31:00"}))
    assert [one.row for one in rejected] == [2]
    assert "contradicts the judgements numbered before and after" in rejected[0].reason


def test_dates_that_only_fit_one_way_need_no_neighbours(path: Path) -> None:
    events, _ = read(path, rows({"_created_at": "2-13-2015 10:42", "_started_at": "2-13-2015 10:40"}))
    assert events[0].submitted_at == datetime(2015, 2, 13, 10, 42, tzinfo=UTC)


def test_a_file_with_the_day_first_is_refused_whole(path: Path) -> None:
    first = {"_created_at": "7/9/2016 10:01:00", "_started_at": "7/9/2016 10:00:00"}
    proof = {"_created_at": "13/9/2016 10:01:00", "_started_at": "13/9/2016 10:00:00"}
    with pytest.raises(SourceError, match=r"export\.csv, row 2, column _created_at: '13/9/2016 .* day first"):
        read(path, rows(first, proof))
    month_first = {"_created_at": "9/14/2016 10:01:00"}
    events, rejected = read(path, rows(first, proof, month_first))
    assert [one.row for one in rejected] == [2]  # one bad cell in a sound file
    assert len(events) == 2


def test_iso_times_of_newer_exports(path: Path) -> None:
    events, _ = read(path, rows({"_created_at": "2020-03-01 10:00:00 UTC", "_started_at": "2020-03-01 09:59:00"}))
    assert events[0].handling_seconds == 60.0


def test_gold_answers(path: Path) -> None:
    golds = rows(
        {"answer_gold": "no"},
        {"answer_gold": "no\nyes"},
        {"answer_gold": "", "_golden": "TRUE"},
        {"answer_gold": "no", "_golden": "false"},
        {"answer_gold": "no", "_golden": "true"},
    )
    events, rejected = read(path, [{"_golden": "", **row} for row in golds])
    assert rejected == []
    assert [event.gold_label and canonical(event.gold_label) for event in events] == ["no", "yes", None, None, "no"]


def test_verdicts_on_answers_never_reach_an_event(path: Path) -> None:
    content = rows({"verdict": "spam"}, {"verdict": "fine", "answer": "no"}, {"verdict": "spam", "_unit_id": "u2"})
    events, _ = read(path, content, label_column=None)
    for event in events:
        assert event.features == {}
        assert not {"spam", "fine"} & {canonical(event.label)}


def test_the_answer_is_the_column_that_differs_within_units(path: Path) -> None:
    content = rows(
        {"answer": "yes", "e_play": "1", "contributors_browser": "Firefox"},
        {"answer": "no", "e_play": "2", "contributors_browser": "Chrome"},
    )
    content = [{key: value for key, value in row.items() if key != "answer_gold"} for row in content]
    events, _ = read(path, content, label_column=None)
    assert [canonical(event.label) for event in events] == ["yes", "no"]


def test_a_column_damaged_in_a_few_units_is_not_the_answer(path: Path) -> None:
    content = []
    for unit in range(20):
        for answer in ("yes", "no"):
            content.append({"_unit_id": f"u{unit}", "answer": answer, "about": f"unit {unit}"})
    content[0]["about"] = "unit ?"
    content = [{key: value for key, value in row.items() if key != "answer_gold"} for row in rows(*content)]
    events, _ = read(path, content, label_column=None)
    assert {canonical(event.label) for event in events} == {"yes", "no"}


def test_several_possible_answers_must_be_chosen_from(path: Path) -> None:
    content = rows({"other": "a", "third": "x"}, {"other": "b", "third": "y", "answer": "no"})
    content = [{key: value for key, value in row.items() if key != "answer_gold"} for row in content]
    with pytest.raises(SourceError, match=r"several columns may be the answer \(answer, other, third\).*--label"):
        read(path, content, label_column=None)
    with pytest.raises(SourceError, match=r"\(answer, third\)"):
        read(path, content, label_column=None, exclude=["other"])


def test_no_column_differs(path: Path) -> None:
    with pytest.raises(SourceError, match=r"export\.csv: no column differs .*--label COLUMN"):
        read(path, rows({}), label_column=None)


def test_default_features_are_measurements_of_the_task(path: Path) -> None:
    content = []
    for unit in range(12):
        for answer in ("yes", "no"):
            content.append(
                {
                    "_unit_id": f"u{unit}",
                    "answer": answer,
                    "length": f"{unit}.25",
                    "words": str(unit % 5),
                    "serial": str(5_000 + unit),
                    "sound_id": str(unit % 3),
                    "same": "7",
                    "name": f"name {unit}",
                    "typed": str(unit % 2),
                    "typed_gold": "",
                    "answer_gold": "",
                }
            )
    events, _ = read(path, rows(*content))
    assert set(events[0].features) == {"length", "words"}
    assert events[2].features == {"length": 1.25, "words": 1}
    assert isinstance(events[2].features["words"], int)
    events, _ = read(path, rows(*content), exclude=["length"])
    assert set(events[0].features) == {"words"}


def test_named_features(path: Path) -> None:
    content = rows({"note": "short"}, {"note": "x" * 1_500}, {"note": ""})
    events, _ = read(path, content, features=["note", "_channel"])
    assert [len(str(event.features.get("note", ""))) for event in events] == [5, 1_000, 0]
    assert events[0].features["_channel"] == "clixsense"


@pytest.mark.parametrize("name", ["_tainted", "_trust", "answer_gold"])
def test_verdicts_cannot_be_features(path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=f"column '{name}' is a verdict"):
        read(path, rows({}), features=[name])


def test_features_must_exist_and_have_short_names(path: Path) -> None:
    with pytest.raises(SourceError, match="no column 'colour'"):
        read(path, rows({}), features=["colour"])
    with pytest.raises(SourceError, match="too long a name"):
        read(path, rows({"c" * 65: "1"}), features=["c" * 65])


@pytest.mark.parametrize("column", ["_unit_id", "_created_at", "_id", "_started_at", "_worker_id", "_channel"])
def test_missing_columns(path: Path, column: str) -> None:
    content = [{key: value for key, value in BASE.items() if key != column}]
    with pytest.raises(SourceError, match=rf"export\.csv, header: no column '{column}'"):
        read(path, content)


def test_vendor_stands_in_for_a_channel(path: Path) -> None:
    events, _ = read(path, rows({"_channel": ""}, {}), vendor_id="in_house")
    assert [event.vendor_id for event in events] == ["in_house", "clixsense"]
    without = [{key: value for key, value in BASE.items() if key != "_channel"}]
    events, _ = read(path, without, vendor_id="in_house")
    assert events[0].vendor_id == "in_house"


def test_a_long_project_still_gives_distinct_event_ids(path: Path) -> None:
    items = list(FigureEight([export(path, rows({}, {}))], "p" * 200, "t", label_column="answer", label_kind="class"))
    ids = {item.event_id for item in items if isinstance(item, AnnotationEvent)}
    assert len(ids) == 2
    assert all(len(one) <= 200 for one in ids)


def test_an_export_without_rows_is_empty(path: Path) -> None:
    path.write_text(",".join(BASE) + "\n", encoding="utf-8")
    assert list(FigureEight([path], "p", "t")) == []
