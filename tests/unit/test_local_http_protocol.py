"""ClickHouse's HTTP protocol without a server: statements, settings, encodings."""

from __future__ import annotations

import gzip
import zlib

import lz4.frame
import pytest
from backports import zstd

from deploy.local.content_encoding import choose_compressor, decompress
from deploy.local.http_protocol import ProtocolError, error_code, parse_request, status_of
from deploy.local.insert_statement import first_word, output_format, split_insert


@pytest.mark.parametrize(
    ("body", "sql", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x00", "INSERT INTO t", "Native", b"\x01\x00"),
        (b"insert into t (a, `b)`) format CSV\r\n1\n", "insert into t (a, `b)`)", "CSV", b"1\n"),
        (b"INSERT INTO `FORMAT` FORMAT CSV 1,2", "INSERT INTO `FORMAT`", "CSV", b"1,2"),
        (b"-- FORMAT x\nINSERT INTO t /* SELECT */ FORMAT TSV\n", "INSERT INTO t", "TSV", b""),
        (b"INSERT INTO t SETTINGS a = 'FORMAT CSV' FORMAT TSV\n1", "INSERT INTO t SETTINGS a =", "TSV", b"1"),
        (b"INSERT INTO FUNCTION f('x', 'FORMAT') FORMAT CSV\n1", "INSERT INTO FUNCTION f(", "CSV", b"1"),
        (b"INSERT INTO t FORMAT Native\n\nfirst byte", "INSERT INTO t", "Native", b"\nfirst byte"),
    ],
)
def test_an_insert_is_split_where_its_data_begins(body: bytes, sql: str, format_name: str, data: bytes) -> None:
    found = split_insert(body)
    assert found is not None
    assert sql in found.sql
    assert (found.format, found.data) == (format_name, data)


@pytest.mark.parametrize(
    "body",
    [
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"",
        b"\x00\xff",
        b"INSERT INTO t",
    ],
)
def test_statements_without_a_block_are_left_alone(body: bytes) -> None:
    assert split_insert(body) is None


def test_an_outside_format_is_used_when_the_statement_names_none() -> None:
    found = split_insert(b"INSERT INTO t\n1,2", default_format="CSV")
    assert found is not None
    assert (found.sql, found.format, found.data) == ("INSERT INTO t", "CSV", b"1,2")


def test_first_words_and_output_formats() -> None:
    assert [first_word(sql) for sql in (b"/* a */ select", b"((WITH", b"'x'", b"1")] == ["SELECT", "WITH", "", ""]
    assert output_format(b"SELECT 1 FORMAT JSON SETTINGS a = 1;") == "JSON"
    assert output_format(b"SELECT 'FORMAT x'") is None


def test_url_fields_become_settings_and_parameters() -> None:
    fields = {"query": "SELECT 1", "max_threads": "2", "param_x": "a'b", "session_id": "s", "database": "d"}
    request = parse_request(fields, {}, b"", read_only=False)
    assert (request.text, request.database) == (b"SELECT 1", "d")
    assert (request.settings, request.params) == ({"max_threads": "2"}, {"x": "a'b"})
    assert parse_request(fields, {}, b"more", read_only=False).text == b"SELECT 1\nmore"


@pytest.mark.parametrize(("sent", "kept"), [({}, "2"), ({"readonly": "0"}, "2"), ({"readonly": "1"}, "1")])
def test_get_is_read_only(sent: dict[str, str], kept: str) -> None:
    assert parse_request({"query": "x", **sent}, {}, b"", read_only=True).settings["readonly"] == kept


@pytest.mark.parametrize("name", ["a b", "a=1; DROP", "1a", "a'"])
def test_a_settings_name_cannot_carry_sql(name: str) -> None:
    with pytest.raises(ProtocolError, match="UNKNOWN_SETTING"):
        parse_request({"query": "x", name: "1"}, {}, b"", read_only=False)


def test_errors_carry_clickhouses_code() -> None:
    assert error_code("Code: 60. DB::Exception: x") == 60
    assert status_of(error_code("no code at all")) == 500


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"x" * 99, mtime=0)), ("deflate", zlib.compress(b"x" * 99))],
    ids=["gzip", "deflate"],
)
def test_bodies_are_unpacked_up_to_a_limit(encoding: str, packed: bytes) -> None:
    assert decompress(packed, encoding) == b"x" * 99
    assert decompress(packed, encoding, max_bytes=99) == b"x" * 99
    with pytest.raises(ProtocolError, match="over 98 bytes") as caught:
        decompress(packed, encoding, max_bytes=98)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"x"), ("deflate", b""), ("snappy", b""), ("lz4", b"x"), ("zstd", b"x")]
)
def test_bodies_that_cannot_be_unpacked_are_the_clients_fault(encoding: str, body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decompress(body, encoding)
    assert caught.value.status in (400, 501)


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip", "deflate"])
def test_every_packed_answer_can_be_unpacked(name: str) -> None:
    chosen = choose_compressor(name, enabled=True)
    if chosen is None:
        pytest.skip(f"the package for {name} is not installed")
    packed = chosen[1].compress(b"a" * 5000) + chosen[1].compress(b"b") + chosen[1].flush()
    assert decompress(packed, name) == b"a" * 5000 + b"b"
    assert choose_compressor(name, enabled=False) is None


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip"])
def test_a_body_of_several_frames_is_unpacked_whole(name: str) -> None:
    """clickhouse-connect compresses each block of an insert on its own: the rest of the body is rows, too."""
    pack = {
        "gzip": lambda part: gzip.compress(part, mtime=0),
        "lz4": lz4.frame.compress,
        "zstd": zstd.compress,
    }[name]
    body = b"".join(pack(part) for part in (b"a" * 70_000, b"b", b"c" * 9))
    assert decompress(body, name) == b"a" * 70_000 + b"b" + b"c" * 9
    with pytest.raises(ProtocolError, match="over 70009 bytes"):
        decompress(body, name, max_bytes=70_009)
    with pytest.raises(ProtocolError):
        decompress(body[:-3], name)
