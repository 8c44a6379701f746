"""Known incidents as CSV."""

from __future__ import annotations

import io

import pytest

from schemas.incident import Incident, IncidentsError, read_incidents, write_incidents

HEADER = "start,end,kind,project_id,task_type,vendor_id,labeler_ids,points"
ROW = "2026-01-09T06:00:00Z,2026-01-10T02:00:00Z,labelers,p-07,image,manila,l-1 l-2,22.5"


def test_what_is_written_is_read_again() -> None:
    incidents = read_incidents([HEADER, ROW, "", ROW.replace("labelers", "other").replace("22.5", "")], "t.csv")
    assert [one.labeler_ids for one in incidents] == [("l-1", "l-2")] * 2
    assert [one.points for one in incidents] == [22.5, None]
    file = io.StringIO()
    write_incidents(incidents, file)
    assert read_incidents(file.getvalue().splitlines(), "t.csv") == incidents
    assert file.getvalue().splitlines()[:2] == [HEADER, ROW]


def test_columns_may_be_few_and_in_any_order() -> None:
    (found,) = read_incidents(["\ufeffkind, end,start", "stall,2026-01-09T06:00:00Z,2026-01-09T05:00:00Z"], "t.csv")
    assert (found.kind, found.vendor_id, found.labeler_ids, found.points) == ("stall", "", (), None)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "t.csv: is empty; its first line names the columns"),
        (["start,end"], "t.csv:1: column kind is missing"),
        (["start,end,kind,vendor"], "t.csv:1: there is no column 'vendor'; known: start, end"),
        (["start,end,kind,kind"], "t.csv:1: column kind is here twice"),
        ([HEADER, ROW, "a,b"], "t.csv:3: 2 fields, and the first line names 8"),
        ([HEADER, ROW.replace("labelers", "labeller")], "t.csv:2: kind: Input should be 'labelers', 'vendor'"),
        ([HEADER, ROW.replace("06:00:00Z", "06:00:00")], "t.csv:2: start: time has no zone"),
        ([HEADER, ROW.replace("22.5", "many")], "t.csv:2: points: Input should be a valid number"),
        ([HEADER, ROW.replace("2026-01-09", "2026-01-19")], "t.csv:2: end: 2026-01-10T02:00:00+00:00 is not after"),
        ([HEADER, ROW.replace("labelers", "")], "t.csv:2: kind: "),
        ([HEADER, '"2026'], "t.csv:2: not CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: list[str], says: str) -> None:
    with pytest.raises(IncidentsError) as caught:
        read_incidents(lines, "t.csv")
    assert str(caught.value).startswith(says)


def test_times_are_written_in_utc() -> None:
    one = Incident.model_validate(
        {"start": "2026-01-09T08:00:00+02:00", "end": "2026-01-09T09:00:00Z", "kind": "stall"}
    )
    file = io.StringIO()
    write_incidents([one], file)
    assert file.getvalue().splitlines()[1].startswith("2026-01-09T06:00:00Z,2026-01-09T09:00:00Z,stall,")
