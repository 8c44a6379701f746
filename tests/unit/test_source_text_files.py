"""Files and tables: what is read, and how each way of being broken is named."""

from __future__ import annotations

import doctest
import gzip
import importlib
from pathlib import Path

import pytest
import structlog

from streams.sources.source import SourceError
from streams.sources.text_files import MAX_CELL_CHARS, parse_number, read_table, read_text

MODULES = ["answers", "figure_eight_times", "mapped_times", "mapping", "text_files"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"streams.sources.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_gzip_is_known_by_its_first_bytes_and_by_its_name(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    assert read_text(write(tmp_path / "plain_name.csv", packed)) == "a,b\n1,2\n"
    assert read_text(write(tmp_path / "named.csv.gz", packed)) == "a,b\n1,2\n"


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,2\n", gzip.compress(b"a,b\n" * 1_000)[:-20], gzip.compress(b"abc")[:12] + b"\x00" * 30],
    ids=["not gzip", "cut short", "corrupt"],
)
def test_broken_gzip_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "broken.csv.gz", content)
    with pytest.raises(SourceError, match=r"broken\.csv\.gz: not a whole gzip file"):
        read_text(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.csv: no such file"):
        read_text(tmp_path / "nothing.csv")
    with pytest.raises(SourceError, match="cannot be read"):
        read_text(tmp_path)


def test_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "bom.csv", b"\xef\xbb\xbfa,b\n1,2\n")).header == ("a", "b")


def test_latin_1_is_read_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", "a\ncafé\n".encode("latin-1"))
    with structlog.testing.capture_logs() as logs:
        assert read_table(path).rows[0].cells == ["café"]
    assert [(entry["event"], entry["file"], entry["byte"]) for entry in logs] == [("source.not_utf8", str(path), 5)]


def test_rows_count_from_one_and_cells_may_span_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", b'a,b\n1,"x\ny"\n\n2,z\n'))
    assert [(row.number, row.cells) for row in table.rows] == [(1, ["1", "x\ny"]), (2, ["2", "z"])]


def test_rows_of_the_wrong_width_are_set_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"a,b\n1,2\n1\n1,2,3\n4,5\n")
    table = read_table(path)
    assert [row.number for row in table.rows] == [1, 4]
    assert [str(one) for one in table.rejected] == [
        f"{path}, row 2: row has 1 values, the header has 2",
        f"{path}, row 3: row has 3 values, the header has 2",
    ]


def test_columns_name_a_file_without_header(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.tsv", b"1\t2\n3\n"), delimiter="\t", columns=["a", "b"])
    assert table.header == ("a", "b")
    assert [row.cells for row in table.rows] == [["1", "2"]]
    assert table.rejected[0].reason == "row has 1 values, the mapping has 2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, there is not even a header"),
        (b"a,b,a\n", "column 'a' is named more than once"),
        (b'a,b\n1,2\n1,"x\n2,y\n', "row 2: not a delimited table"),
        (b'a\n"' + b"x" * (MAX_CELL_CHARS + 1) + b'"\n', "row 1: not a delimited table"),
    ],
    ids=["empty", "twice", "quote", "huge"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as error:
        read_table(write(tmp_path / "t.csv", content))
    assert "t.csv" in str(error.value)


def test_asking_for_a_column_that_is_not_there(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", b"a,b\n"))
    with pytest.raises(SourceError, match=r"t\.csv: no column 'c'; the file has: a, b"):
        table.index("c")


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-inf", "1e999", "1_000", "٣", "0x10", "1,5", "9" * 50])
def test_what_is_not_a_finite_number(cell: str) -> None:
    assert parse_number(cell) is None


@pytest.mark.parametrize(("cell", "number"), [(" 7 ", 7), ("-2.50", -2.5), (".5", 0.5), ("1e3", 1000), ("3.0", 3)])
def test_numbers(cell: str, number: float) -> None:
    assert parse_number(cell) == number
