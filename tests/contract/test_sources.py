"""What every source promises, whatever it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.events import AnnotationEvent, ReviewEvent
from schemas.topics import ANNOTATIONS, REVIEWS
from streams.sources.delimited import Delimited
from streams.sources.figure_eight import FigureEight
from streams.sources.json_lines import JsonLines
from streams.sources.mapping import load_mapping
from streams.sources.source import Item, Rejected, Source, SourceError, to_message

EXAMPLES = Path(__file__).parents[2] / "examples" / "mappings"


def figure_eight(folder: Path) -> Source:
    rows = ["_unit_id,_created_at,_id,_started_at,_channel,_worker_id,answer"]
    rows += [
        f"u{n % 7},9/{1 + n % 20}/2016 10:01:00,{n},9/{1 + n % 20}/2016 10:00:00,c,w{n % 3},yes" for n in range(40)
    ]
    rows += ["u1,soon,999,9/7/2016 10:00:00,c,w1,yes", "short"]
    path = folder / "export.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return FigureEight([path], "p", "t", label_column="answer", label_kind="class")


def delimited(folder: Path) -> Source:
    rows = ["answer_id,who,item,verdict,begun,done,words"]
    rows += [
        f"{n},anna,doc-{n},yes,{1 + n % 20:02}.03.2026 10:00:00,{1 + n % 20:02}.03.2026 10:00:30,{n}" for n in range(40)
    ]
    rows += ["99,anna,doc-1,yes,01.03.2026 10:00:00,today,3", "short"]
    path = folder / "answers.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return Delimited([path], load_mapping(EXAMPLES / "answers_with_times.yaml"))


def delimited_by_clock(folder: Path) -> Source:
    path = folder / "crowd.csv"
    path.write_text("\n".join(f"w{n % 3},t{n % 5},1,0,{n}" for n in range(40)) + "\nw,t,1,0,x\n", encoding="utf-8")
    mapping = load_mapping(EXAMPLES / "active_crowd_toolkit.yaml")
    return Delimited([path], mapping, project_id="p", task_type="t", vendor_id="v")


def json_reviews(folder: Path) -> Source:
    record = {"task": "doc", "author": "anna", "ok": True, "should_be": None, "by": {"name": "bo"}}
    lines = [json.dumps({**record, "at": 1_772_355_642 - 60 * (n % 20)}) for n in range(40)]
    path = folder / "verdicts.jsonl"
    path.write_text("\n".join([*lines, "{", json.dumps({**record, "at": "then"})]), encoding="utf-8")
    return JsonLines([path], load_mapping(EXAMPLES / "reviews.yaml"))


def json_own_events(folder: Path) -> Source:
    events = [item for item in delimited(folder) if not isinstance(item, Rejected)]
    path = folder / "events.jsonl"
    path.write_text("\n".join([event.model_dump_json() for event in reversed(events)] + ["{}"]), encoding="utf-8")
    return JsonLines([path])


def simulation(_: Path) -> Source:
    from streams.sources.simulate import Scenario, Simulation

    return Simulation(Scenario.load("calm").scaled(0.02), seed=3)


FILES = [figure_eight, delimited, delimited_by_clock, json_reviews, json_own_events]
SOURCES = [*FILES, simulation]
Make = Callable[[Path], Source]

every_source = pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
every_file_source = pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)


def events_of(items: list[Item]) -> list[AnnotationEvent | ReviewEvent]:
    return [item for item in items if not isinstance(item, Rejected)]


@every_source
def test_iterating_twice_yields_the_same(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    items = list(source)
    assert items
    assert list(source) == items


@every_file_source
def test_a_new_source_on_the_same_file_yields_the_same(make: Make, tmp_path: Path) -> None:
    assert list(make(tmp_path)) == list(make(tmp_path))


@every_source
def test_events_come_in_event_time_order(make: Make, tmp_path: Path) -> None:
    times = [to_message(event).event_ms for event in events_of(list(make(tmp_path)))]
    assert len(set(times)) > 1
    assert times == sorted(times)


@every_source
def test_every_event_survives_the_wire(make: Make, tmp_path: Path) -> None:
    for event in events_of(list(make(tmp_path)))[:200]:
        message = to_message(event)
        assert message.key == event.task_id.encode()
        assert message.topic == (ANNOTATIONS if isinstance(event, AnnotationEvent) else REVIEWS).name
        assert type(event).model_validate_json(message.value) == event


@every_source
def test_event_ids_are_unique(make: Make, tmp_path: Path) -> None:
    ids = [event.event_id for event in make(tmp_path) if isinstance(event, AnnotationEvent)]
    assert len(ids) == len(set(ids))


@every_file_source
def test_rejected_rows_come_first_and_say_where_and_why(make: Make, tmp_path: Path) -> None:
    items = list(make(tmp_path))
    rejected = [item for item in items if isinstance(item, Rejected)]
    assert rejected
    assert items[: len(rejected)] == rejected
    for one in rejected:
        assert Path(one.file).parent == tmp_path
        assert one.row >= 1
        assert one.reason
        assert str(one).startswith(f"{one.file}, row {one.row}")


@every_file_source
def test_the_estimate_is_exact_for_files(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path)
    assert source.estimate() == len(list(source))


def test_the_estimate_of_a_simulation_is_sane(tmp_path: Path) -> None:
    source = simulation(tmp_path)
    estimate = source.estimate()
    assert estimate is not None
    assert 0.5 < estimate / len(list(source)) < 2


@pytest.mark.parametrize(
    "source",
    [
        FigureEight(["/no/such/file.csv"], "p", "t"),
        Delimited(["/no/such/file.csv"], load_mapping(EXAMPLES / "answers_with_times.yaml")),
        JsonLines(["/no/such/file.csv"]),
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_missing_file_is_a_source_error_and_not_before_it_is_read(source: Source) -> None:
    with pytest.raises(SourceError, match=r"/no/such/file\.csv: no such file"):
        list(source)
    with pytest.raises(SourceError, match=r"/no/such/file\.csv: no such file"):
        source.estimate()
