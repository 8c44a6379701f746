"""Real annotation data through the whole system: replay, Kafka, worker, ClickHouse, against pandas on the raw files.

One stack, one worker. The files span 2013 to 2018 and the oldest comes last, so all of it is late: it counts the same.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from streams.cli import cli
from tests.integration.deployment import REPO, WHOLE, Deployment, received, until

pytestmark = pytest.mark.integration

MAPPING = REPO / "examples" / "mappings" / "active_crowd_toolkit.yaml"
VIDEOS = ("binary-choice", "free-input", "multiple-choice", "ternary-choice")
#: Of the files of sounds, a third: of one, dates that somebody rewrote are rejected.
SOUNDS = ("",) if WHOLE else ("1-1-", "2-2-", "2-4-", "4-1-", "4-7-")
CROWDS = {"SP_amt": 10_000, **({"ZenCrowd_us": 12_190, "ZenCrowd_in": 11_205} if WHOLE else {})}
COUNTS = {"captions": 12_806, "sounds": (21_330 if WHOLE else 6_090) - 12, **dict.fromkeys(VIDEOS, 1_000), **CROWDS}
#: Below this many hashes a sketch counts exactly (detectors/sketches.py).
EXACT_BELOW = 512


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: what is tested here is the data, and that does not know its broker."""
    return "embedded"


@pytest.fixture(scope="module")
def rejects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rejects") / "sounds.csv"


@pytest.fixture(scope="module")
def scored(data: Path, deployment: Deployment, rejects: Path) -> Iterator[Client]:
    """A database with everything in it; filled by one worker while the files are being replayed."""
    client = deployment.database("labelwatch")
    worker = deployment.start_worker("labelwatch", "labelwatch")

    def replay(*arguments: object) -> None:
        command = ["replay", *map(str, arguments), "--bootstrap", deployment.bootstrap]
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output

    replay("figure-eight", *exports(data, "dutch_descriptions"), "--project", "captions", "--task-type", "caption")
    sounds = exports(data, "vu_sound")
    replay("figure-eight", *sounds, "--project", "sounds", "--task-type", "keywords", "--rejects", rejects)
    for project, file in zip(VIDEOS, exports(data, "person_video"), strict=True):
        replay("figure-eight", file, "--project", project, "--task-type", "video")
    for project in CROWDS:
        file = data / "active_crowd_toolkit" / f"{project}.csv.gz"
        options = ("--project", project, "--task-type", "relevance", "--vendor", "amt")
        replay("csv", "--mapping", MAPPING, file, *options)

    until(lambda: received(client) >= sum(COUNTS.values()), "everything scored", seconds=180)
    assert worker.stop() == 0, worker.text()[-3_000:]
    yield client
    client.close()


def exports(data: Path, folder: str) -> list[Path]:
    files = sorted((data / folder).glob("*.csv.gz"))
    if folder == "vu_sound":
        files = [file for file in files if file.name.startswith(SOUNDS)]
    assert files
    return files


def judgements(data: Path, project: str) -> pd.DataFrame:
    """The raw rows of a project as pandas reads them: day, vendor, task, labeler and seconds of each.

    Rows of one page (equal worker, start and submit time) share its time. Dates are month first.
    """
    if project in CROWDS:
        columns = ["labeler", "task", "label", "gold", "seconds"]
        raw = pd.read_csv(
            data / "active_crowd_toolkit" / f"{project}.csv.gz", header=None, names=columns,
            dtype=str, keep_default_na=False,
        )  # fmt: skip
        return raw.assign(seconds=raw["seconds"].astype(float), vendor="amt")
    folder = {"captions": "dutch_descriptions", "sounds": "vu_sound"}.get(project, "person_video")
    parts = []
    for file in exports(data, folder):
        if folder == "person_video" and project not in file.name:
            continue
        raw = pd.read_csv(file, dtype=str, keep_default_na=False)
        times = {}
        for column in ("_created_at", "_started_at"):
            text = raw[column].str.replace("-", "/")
            text = text.where(text.str.count(":") == 2, text + ":00")
            times[column] = pd.to_datetime(text, format="%m/%d/%Y %H:%M:%S", utc=True)
        page = raw.groupby(["_worker_id", "_started_at", "_created_at"])["_id"].transform("size")
        seconds = (times["_created_at"] - times["_started_at"]).dt.total_seconds() / page
        # A rewritten date without seconds, begun and ended in one minute: no time is known. These are rejected.
        known = ~((seconds == 0) & (raw["_created_at"].str.count(":") == 1))
        part = raw.assign(
            seconds=seconds, day=times["_created_at"].dt.date, vendor=raw["_channel"],
            task=raw["_unit_id"], labeler=raw["_worker_id"], label=raw.get("selected_answer"),
        )[known]  # fmt: skip
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def rows(client: Client, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql, parameters=parameters).result_rows]


def test_every_message_became_one_annotation(scored: Client) -> None:
    sums = "sum(received), sum(accepted), sum(duplicates), sum(dead_letters)"
    total = sum(COUNTS.values())
    assert rows(scored, f"SELECT {sums} FROM source_progress_current") == [(total, total, 0, 0)]
    counted = rows(scored, "SELECT project_id, count() FROM annotation_scores_current GROUP BY project_id")
    assert dict(counted) == COUNTS


@pytest.mark.parametrize("view", ["quality_by_minute", "quality_by_hour", "quality_daily"])
def test_annotations_and_handling_time_are_those_of_the_raw_files(scored: Client, data: Path, view: str) -> None:
    sql = f"SELECT project_id, sum(annotations), sum(handling_seconds), sum(duplicates) FROM {view} GROUP BY project_id"
    found = {project: (annotations, seconds, again) for project, annotations, seconds, again in rows(scored, sql)}
    assert set(found) == set(COUNTS)
    for project, count in COUNTS.items():
        seconds = judgements(data, project)["seconds"].sum()
        assert seconds > 0
        assert found[project] == (count, pytest.approx(seconds, rel=1e-6), 0), project


def test_what_was_rejected_is_said(scored: Client, rejects: Path) -> None:
    with rejects.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 12
    assert all("both in one minute" in row["reason"] for row in found)


@pytest.mark.parametrize("project", ["captions", "sounds", *VIDEOS])
def test_tasks_and_labelers_of_each_day(scored: Client, data: Path, project: str) -> None:
    sql = (
        "SELECT day, vendor_id, annotations, tasks, labelers, handling_seconds FROM quality_daily"
        " WHERE project_id = {project:String}"
    )
    found = {row[:2]: row[2:] for row in rows(scored, sql, project=project)}
    groups = judgements(data, project).groupby(["day", "vendor"])
    assert len(groups) == len(found) > 1
    for segment, group in groups:
        annotations, tasks, labelers, seconds = found[segment]
        assert annotations == len(group)
        assert seconds == pytest.approx(group["seconds"].sum(), rel=1e-6)
        assert_distinct(tasks, group["task"].nunique())
        assert_distinct(labelers, group["labeler"].nunique())


@pytest.mark.parametrize("project", CROWDS)
def test_gold_tasks_and_labelers_of_the_crowds(scored: Client, data: Path, project: str) -> None:
    """These have no clock: the replay invents one, 20 seconds an answer, so days are cut by row."""
    raw = judgements(data, project)
    start = pd.Timestamp("2013-01-07T09:00:00Z")
    raw["day"] = (start + pd.to_timedelta(range(len(raw)), unit="s") * 20).date
    sql = (
        "SELECT day, sum(annotations), sum(tasks), sum(labelers), sum(gold_seen), sum(gold_right) FROM quality_daily"
        " WHERE project_id = {project:String} GROUP BY day ORDER BY day"
    )
    found = rows(scored, sql, project=project)
    assert sum(row[4] for row in found) == len(raw), "every answer has a gold label"
    assert sum(row[5] for row in found) == (raw["label"] == raw["gold"]).sum()
    assert [row[0] for row in found] == sorted(set(raw["day"]))
    for (_, count, tasks, labelers, _, right), (_, group) in zip(found, raw.groupby("day"), strict=True):
        assert count == len(group)
        assert right == (group["label"] == group["gold"]).sum()
        assert_distinct(tasks, group["task"].nunique())
        assert_distinct(labelers, group["labeler"].nunique())
    revisions = rows(scored, "SELECT sum(revisions) FROM quality_daily WHERE project_id = {p:String}", p=project)
    assert revisions == [(raw.duplicated(["labeler", "task"]).sum(),)]


@pytest.mark.parametrize("project", ["binary-choice", "ternary-choice", *CROWDS])
def test_histograms_count_the_answers(scored: Client, data: Path, project: str) -> None:
    sql = "SELECT sumMap(label_histogram) FROM quality_by_hour WHERE project_id = {project:String}"
    ((found,),) = rows(scored, sql, project=project)
    assert found == judgements(data, project)["label"].value_counts().to_dict()
    assert sum(found.values()) == COUNTS[project]


def test_what_came_after_its_time_is_counted_as_late(scored: Client) -> None:
    sql = "SELECT sum(late), sum(annotations) FROM quality_daily WHERE project_id IN {names:Array(String)}"
    assert rows(scored, sql, names=list(CROWDS)) == [(sum(CROWDS.values()), sum(CROWDS.values()))]


def assert_distinct(found: int, expected: int) -> None:
    """Exact where sketches are; within 10 % above."""
    if expected < EXACT_BELOW:
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=0.1)
