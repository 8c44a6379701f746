"""The public exports and data sets, against computations by pandas that share no code with the sources."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from schemas.events import AnnotationEvent
from streams.sources.delimited import Delimited
from streams.sources.figure_eight import FigureEight
from streams.sources.mapping import load_mapping
from streams.sources.source import Rejected, Source

REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("LABELWATCH_DATA", REPO.parent / "shared" / "data"))
pytestmark = [
    pytest.mark.integration,  # not for what it starts, but for the seconds that it takes
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no annotation data in {DATA}; set LABELWATCH_DATA"),
]

USUAL = r"\d+/\d+/\d{4} \d\d:\d\d:\d\d"


def exports(folder: str) -> list[Path]:
    files = sorted((DATA / folder).glob("*.csv.gz"))
    assert files
    return files


def split(source: Source) -> tuple[list[AnnotationEvent], list[Rejected]]:
    items = list(source)
    return (
        [item for item in items if isinstance(item, AnnotationEvent)],
        [item for item in items if isinstance(item, Rejected)],
    )


def by_pandas(folder: str) -> pd.DataFrame:
    """Judgements with parsed times and their share of the page, month first whatever separates the date."""
    parts = []
    for file in exports(folder):
        part = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in ("_created_at", "_started_at"):
            text = part[column].str.replace("-", "/")
            text = text.where(text.str.count(":") == 2, text + ":00")
            part[column + "_utc"] = pd.to_datetime(text, format="%m/%d/%Y %H:%M:%S", utc=True)
        page = part.groupby(["_worker_id", "_started_at", "_created_at"])["_id"].transform("size")
        part["share"] = (part["_created_at_utc"] - part["_started_at_utc"]).dt.total_seconds() / page
        part["file"] = str(file)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def assert_same(events: list[AnnotationEvent], expected: pd.DataFrame, project: str) -> None:
    assert len(events) == len(expected)
    total = sum(event.handling_seconds for event in events)
    assert total == pytest.approx(expected["share"].sum(), rel=1e-6)
    columns = ["_unit_id", "_worker_id", "_channel", "_created_at_utc", "share"]
    rows = expected.set_index("_id")[columns].to_dict("index")
    for event in events:
        row = rows[event.event_id.removeprefix(f"{project}:")]
        assert event.handling_seconds == pytest.approx(row["share"], rel=1e-9)
        assert event.submitted_at == row["_created_at_utc"]
        assert (event.task_id, event.labeler_id) == (row["_unit_id"], row["_worker_id"])
        assert event.vendor_id == row["_channel"]
    times = [event.submitted_at for event in events]
    assert times == sorted(times)


def test_dutch_descriptions() -> None:
    events, rejected = split(FigureEight(exports("dutch_descriptions"), "captions", "image_caption"))
    expected = by_pandas("dutch_descriptions")
    assert len(expected) == 12_806
    assert rejected == []
    assert_same(events, expected, "captions")
    captions = expected.set_index("_id")["beschrijf_de_afbeelding_in_n_volledige_maar_eenvoudige_zin"]
    for event in events:
        assert event.label.kind == "text"
        assert event.label.value == captions[event.event_id.removeprefix("captions:")]
        assert event.features == {}
    sent = " ".join(event.model_dump_json() for event in events[:2_000])
    assert "sentence_category" not in sent
    assert "tainted" not in sent


def test_vu_sound() -> None:
    events, rejected = split(FigureEight(exports("vu_sound"), "sounds", "sound_keywords"))
    judgements = by_pandas("vu_sound")
    assert len(judgements) == 21_330
    odd = ~judgements["_created_at"].str.fullmatch(USUAL)
    unknown = odd & (judgements["_created_at"] == judgements["_started_at"])
    assert (odd.sum(), unknown.sum()) == (63, 12)
    assert len(rejected) == 12
    assert {one.column for one in rejected} == {"_created_at"}
    assert all("both in one minute" in one.reason for one in rejected)
    numbers = judgements.groupby("file").cumcount() + 1
    places = set(zip(judgements["file"][unknown], numbers[unknown], strict=True))
    assert {(one.file, one.row) for one in rejected} == places
    assert_same(events, judgements[~unknown], "sounds")
    assert {event.label.kind for event in events} == {"text"}
    assert {"duration", "bitrate", "samplerate"} <= set(events[0].features)
    assert not {"id", "e_play", "keywords"} & {name for event in events for name in event.features}


def test_submit_times_rise_with_judgement_ids_also_where_the_date_was_rewritten() -> None:
    events, _ = split(FigureEight(exports("vu_sound"), "sounds", "sound_keywords"))
    times = pd.Series({int(event.event_id.split(":")[1]): event.submitted_at for event in events}).sort_index()
    # A minute for the dropped seconds, 4 s for the platform's own disorder.
    assert (times.cummax() - times).max() <= pd.Timedelta(seconds=64)


def test_person_video() -> None:
    source = FigureEight(exports("person_video"), "videos", "what_is_seen")
    events, rejected = split(source)
    assert rejected == []
    assert_same(events, by_pandas("person_video"), "videos")
    kinds = {Path(file).name: set[str]() for file in exports("person_video")}
    for file in exports("person_video"):
        kinds[file.name] = {event.label.kind for event in split(FigureEight([file], "videos", "t"))[0]}
    assert kinds == {
        "person-video-binary-choice.csv.gz": {"class"},
        "person-video-free-input.csv.gz": {"text"},
        "person-video-multiple-choice.csv.gz": {"multiclass"},
        "person-video-ternary-choice.csv.gz": {"class"},
    }


@pytest.mark.parametrize(("name", "count"), [("ZenCrowd_us", 12_190), ("ZenCrowd_in", 11_205), ("SP_amt", 10_000)])
def test_active_crowd_toolkit(name: str, count: int) -> None:
    file = DATA / "active_crowd_toolkit" / f"{name}.csv.gz"
    mapping = load_mapping(REPO / "examples" / "mappings" / "active_crowd_toolkit.yaml")
    events, rejected = split(Delimited([file], mapping, project_id="p", task_type="t", vendor_id="amt"))
    columns = ["worker", "task", "label", "gold", "seconds"]
    expected = pd.read_csv(file, header=None, names=columns, dtype=str, keep_default_na=False)
    assert rejected == []
    assert len(events) == count == len(expected)
    assert sum(e.handling_seconds for e in events) == pytest.approx(expected["seconds"].astype(float).sum(), rel=1e-6)
    assert [e.labeler_id for e in events] == list(expected["worker"])
    assert [e.label.value for e in events if e.label.kind == "class"] == list(expected["label"])
    golds = [e.gold_label.value for e in events if e.gold_label is not None and e.gold_label.kind == "class"]
    assert golds == list(expected["gold"])
    assert len({e.event_id for e in events}) == count
    repeated = expected.duplicated(["worker", "task"]).sum()
    assert count - len({(e.labeler_id, e.task_id) for e in events}) == repeated
