"""Every form in which a ClickHouse client talks HTTP, against the embedded server."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from deploy.local.stack import EmbeddedStack

pytestmark = pytest.mark.integration

COMPRESSIONS = [False, "lz4", "zstd", "gzip", True]
WHEN = datetime(2026, 11, 21, 12, 0, 0, 123000, tzinfo=UTC)
NASTY = "it's \\ a\ttab\nand a newline; DROP TABLE items -- {x:String} 漢"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    folder = tmp_path_factory.mktemp("stack")
    with EmbeddedStack(data_dir=folder, kafka_port=0, clickhouse_port=0) as started:
        yield started


@pytest.fixture
def client(stack: EmbeddedStack) -> Iterator[Any]:
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, autogenerate_session_id=False) as made:
        yield made


@pytest.fixture
def table(client: Any) -> Iterator[str]:
    client.command(
        "CREATE TABLE items (id UInt64, name String, at DateTime64(3, 'UTC'), score Nullable(Float64),"
        " tags Array(String), kind LowCardinality(String)) ENGINE = MergeTree ORDER BY id"
    )
    yield "items"
    client.command("DROP TABLE items SYNC")


COLUMNS = ["id", "name", "at", "score", "tags", "kind"]
ROWS = [[1, NASTY, WHEN, 0.5, ["a", "b"], "human"], [2, "", WHEN, None, [], "model"]]


def http(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


# --- sync client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_rows_survive_a_round_trip(stack: EmbeddedStack, table: str, compress: bool | str) -> None:
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, compress=compress, tz_mode="aware") as client:
        summary = client.insert(table, ROWS, column_names=COLUMNS)
        assert summary.written_rows == 2
        result = client.query(f"SELECT * FROM {table} ORDER BY id")
        assert [list(row) for row in result.result_rows] == ROWS
        assert result.column_names == tuple(COLUMNS)


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_large_results_and_inserts(stack: EmbeddedStack, client: Any, compress: bool | str) -> None:
    with clickhouse_connect.get_client(dsn=stack.clickhouse_url, compress=compress) as packed:
        frame = packed.query_df("SELECT number AS n, toString(number) AS s FROM numbers(200000)")
        assert len(frame) == 200_000
        assert frame.n.sum() == 19_999_900_000
        packed.command("CREATE TABLE big (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        try:
            packed.insert_df("big", frame)
            assert packed.query("SELECT count(), sum(n) FROM big").first_row == (200_000, 19_999_900_000)
        finally:
            packed.command("DROP TABLE big SYNC")


def test_numpy_pandas_and_arrow(client: Any, table: str) -> None:
    client.insert(table, ROWS, column_names=COLUMNS)
    assert client.query_np("SELECT id FROM items ORDER BY id").tolist() == [[1], [2]]
    frame = client.query_df("SELECT id, name FROM items ORDER BY id")
    assert frame.name.tolist() == [NASTY, ""]
    arrow = client.query_arrow("SELECT id, name FROM items ORDER BY id")
    assert arrow.column("id").to_pylist() == [1, 2]
    new = pa.table({"id": pa.array([3], pa.uint64()), "name": ["arrow"]})
    client.insert_arrow(table, new)
    client.insert_df(table, pd.DataFrame({"id": [4], "name": ["pandas"]}))
    names = client.query("SELECT name FROM items WHERE id > 2 ORDER BY id").result_columns
    assert names == [["arrow", "pandas"]]


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
@pytest.mark.parametrize(
    ("format_name", "block"),
    [("CSV", b'7,"a;b"\n8,x\n'), ("JSONEachRow", b'{"id":7,"name":"a"}\n{"id":8,"name":"b"}')],
)
def test_raw_insert(client: Any, table: str, format_name: str, block: bytes, compression: str | None) -> None:
    packed = _pack(block, compression)
    client.raw_insert(table, ["id", "name"], packed, fmt=format_name, compression=compression)
    assert client.query("SELECT id FROM items ORDER BY id").result_columns == [[7, 8]]


def _pack(block: bytes, compression: str | None) -> bytes:
    if compression == "gzip":
        return gzip.compress(block)
    if compression == "lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(block))
    if compression == "zstd":
        from backports import zstd

        return bytes(zstd.compress(block))
    return block


def test_streaming_queries(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(len(block) for block in blocks) == 300_000
    with client.query_df_stream("SELECT number FROM numbers(150000)") as frames:
        assert sum(len(frame) for frame in frames) == 150_000
    with client.query_arrow_stream("SELECT number FROM numbers(1000)") as tables:
        assert sum(part.num_rows for part in tables) == 1000


def test_a_stream_that_fails_late_raises(client: Any) -> None:
    sql = "SELECT throwIf(number = 250000, 'late') FROM numbers(300000)"
    with (
        pytest.raises((StreamFailureError, DatabaseError), match="late"),
        client.query_row_block_stream(sql, settings={"max_block_size": 10_000}) as blocks,
    ):
        for _ in blocks:
            pass
    assert client.command("SELECT 1") == 1


def test_an_abandoned_stream_frees_its_statement(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(100000000)") as blocks:
        next(iter(blocks))
    assert client.command("SELECT 1") == 1


@pytest.mark.parametrize("value", [NASTY, "", "'; DROP TABLE items; --", "\\", "\\N", "a" * 200_000])
def test_bound_parameters_are_values_and_never_sql(client: Any, value: str) -> None:
    got = client.query("SELECT {x:String} AS x, length({x:String})", parameters={"x": value}).first_row
    assert got == (value, len(value.encode()))


def test_parameters_of_other_types(client: Any) -> None:
    sql = "SELECT {n:Int64}, {a:Array(String)}, {t:DateTime64(3, 'UTC')}, {o:Nullable(String)}, {f:Float64}"
    values = {"n": -5, "a": ["x'y", "z"], "t": WHEN, "o": None, "f": 0.25}
    assert client.query(sql, parameters=values, tz_mode="aware").first_row == (-5, ["x'y", "z"], WHEN, None, 0.25)
    with pytest.raises(DatabaseError, match="BAD_QUERY_PARAMETER"):
        client.query("SELECT {n:Int64}", parameters={"n": "1; DROP TABLE x"})


def test_settings_are_honoured_and_do_not_leak(client: Any, table: str) -> None:
    value = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    assert (
        client.command(value, settings={"max_threads": 7}) == "7"
        or client.command(value, settings={"max_threads": 7}) == 7
    )
    assert client.command(value) != 7
    with pytest.raises(DatabaseError, match="READONLY"):
        client.command(f"DROP TABLE {table}", settings={"readonly": 1})
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.command("SELECT count() FROM numbers(1000000000000)", settings={"max_execution_time": 1})
    with pytest.raises(DatabaseError, match="MEMORY_LIMIT_EXCEEDED"):
        client.query("SELECT groupArray(number) FROM numbers(10000000)", settings={"max_memory_usage": 1_000_000})
    assert client.command("SELECT 1") == 1


def test_databases(stack: EmbeddedStack, client: Any) -> None:
    assert client.command("SELECT currentDatabase()") == "labelwatch"
    assert client.command("SELECT engine FROM system.databases WHERE name = 'labelwatch'") == "Atomic"
    client.command("CREATE DATABASE `odd ``name` ENGINE = Atomic")
    try:
        with clickhouse_connect.get_client(dsn=stack.clickhouse_url, database="odd `name") as other:
            assert other.command("SELECT currentDatabase()") == "odd `name"
    finally:
        client.command("DROP DATABASE `odd ``name` SYNC")
    with pytest.raises(DatabaseError, match="UNKNOWN_DATABASE"):
        clickhouse_connect.get_client(dsn=stack.clickhouse_url, database="nowhere").command("SELECT 1")


def test_any_user_and_session_are_accepted(stack: EmbeddedStack) -> None:
    host, port = stack.clickhouse_url.removeprefix("http://").split(":")
    with clickhouse_connect.get_client(
        host=host, port=int(port), username="bi", password="secret", session_id="one"
    ) as client:
        assert client.command("SELECT 1") == 1


def test_an_acknowledged_row_is_stored_at_once(client: Any, table: str) -> None:
    assert client.command("SELECT value FROM system.settings WHERE name = 'async_insert'") in (0, "0")
    client.command(f"INSERT INTO {table} (id, name) VALUES (1, 'a'), (2, 'b')")
    assert client.command(f"SELECT count() FROM {table}") == 2


# --- async client ---------------------------------------------------------------------------------------


@pytest.fixture(params=COMPRESSIONS)
async def async_client(stack: EmbeddedStack, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    made = await clickhouse_connect.get_async_client(
        dsn=stack.clickhouse_url, compress=request.param, autogenerate_session_id=False, tz_mode="aware"
    )
    async with made as client:
        yield client


async def test_async_client(async_client: Any, table: str) -> None:
    summary = await async_client.insert(table, ROWS, column_names=COLUMNS)
    assert summary.written_rows == 2
    result = await async_client.query(f"SELECT * FROM {table} ORDER BY id")
    assert [list(row) for row in result.result_rows] == ROWS
    frame = await async_client.query_df("SELECT number FROM numbers(100000)")
    assert len(frame) == 100_000
    await async_client.insert_df(table, pd.DataFrame({"id": [9], "name": [NASTY]}))
    bound = await async_client.query("SELECT count() FROM items WHERE name = {x:String}", parameters={"x": NASTY})
    assert bound.first_row == (2,)
    stream = await async_client.query_row_block_stream("SELECT number FROM numbers(100000)")
    async with stream as blocks:
        assert sum([len(block) async for block in blocks]) == 100_000
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await async_client.query("SELECT * FROM missing")


async def test_async_requests_run_at_the_same_time(stack: EmbeddedStack) -> None:
    made = await clickhouse_connect.get_async_client(dsn=stack.clickhouse_url, autogenerate_session_id=False)
    async with made as client:
        sums = await asyncio.gather(
            *(client.query("SELECT sum(number) + {i:UInt32} FROM numbers(100000)", parameters={"i": i})
              for i in range(40))
        )  # fmt: skip
    assert [result.first_row[0] for result in sums] == [4_999_950_000 + i for i in range(40)]


# --- plain HTTP -----------------------------------------------------------------------------------------


def test_ping_answers_while_statements_run(stack: EmbeddedStack) -> None:
    url = stack.clickhouse_url
    slow = [threading.Thread(target=http, args=(f"{url}/?query=SELECT+sleep(1)",)) for _ in range(20)]
    for thread in slow:
        thread.start()
    status, _, body = http(f"{url}/ping")
    pinged_while_busy = any(thread.is_alive() for thread in slow)
    for thread in slow:
        thread.join()
    assert (status, body, pinged_while_busy) == (200, b"Ok.\n", True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(stack: EmbeddedStack, table: str) -> None:
    def curl(*arguments: str, data: bytes | None = None) -> str:
        done = subprocess.run(["curl", "-sS", *arguments], input=data, capture_output=True, check=True)
        return done.stdout.decode()

    url = stack.clickhouse_url
    assert curl(f"{url}/ping") == "Ok.\n"
    assert curl(f"{url}/?query=SELECT%201") == "1\n"
    assert curl(url, "-d", "SELECT 2") == "2\n"
    assert curl(f"{url}/?param_x=4", "--data-binary", "SELECT {x:UInt8} + 1") == "5\n"
    insert = f"{url}/?query=INSERT%20INTO%20{table}(id,name)%20FORMAT%20CSV"
    assert curl(insert, "--data-binary", "@-", data=b"1,one\n2,two\n") == ""
    assert json.loads(curl(f"{url}/?default_format=JSONEachRow", "-d", "SELECT count() AS n FROM items")) == {"n": 2}
    packed = gzip.compress(b"SELECT 6")
    assert curl(url, "-H", "Content-Encoding: gzip", "--data-binary", "@-", data=packed) == "6\n"
    shown = curl("--compressed", f"{url}/?enable_http_compression=1", "-d", "SELECT 7")
    assert shown == "7\n"


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        (b"SELEC 1", 400, "62"),
        (b"SELECT * FROM missing", 404, "60"),
        (b"SELECT missing", 404, "47"),
        (b"SELECT 1; SELECT 2", 400, "62"),
        (b"SELECT throwIf(1)", 500, "395"),
        (b"INSERT INTO missing FORMAT CSV\n1", 404, "60"),
        (b"  ", 400, "62"),
    ],
)
def test_errors_have_clickhouses_status_code_and_text(stack: EmbeddedStack, sql: bytes, status: int, code: str) -> None:
    got, headers, body = http(stack.clickhouse_url, sql)
    assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_bad_rows_leave_nothing_behind(stack: EmbeddedStack, client: Any, table: str) -> None:
    body = b'INSERT INTO items (id) FORMAT JSONEachRow\n{"id":1}\n{"id":"x"}\n'
    status, headers, _ = http(stack.clickhouse_url, body)
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_requests_that_are_refused(stack: EmbeddedStack) -> None:
    url = stack.clickhouse_url
    assert http(f"{url}/?query=CREATE+TABLE+x+(a+Int8)+ENGINE=Memory")[1]["X-ClickHouse-Exception-Code"] == "164"
    assert http(f"{url}/?query=SELECT+1&no_such_setting=1")[0] == 404
    assert http(f"{url}/?a%27b=1", b"SELECT 1")[0] == 404
    assert http(f"{url}/?compress=1", b"SELECT 1")[0] == 501
    assert http(url, b"not gzip", **{"Content-Encoding": "gzip"})[0] == 400
    assert http(url, gzip.compress(b"SELECT 1")[:-9], **{"Content-Encoding": "gzip"})[0] == 400
    assert http(url, b"SELECT 1", Origin="https://evil.example")[0] == 403
    assert http(url, b"SELECT 1", Host="evil.example")[0] == 403
    assert http(url, b"SELECT 1", Origin=url)[0] == 200


def test_headers_describe_the_answer(stack: EmbeddedStack) -> None:
    _, headers, body = http(f"{stack.clickhouse_url}/?wait_end_of_query=1&query_id=q1", b"SELECT 1 AS a FORMAT JSON")
    assert headers["X-ClickHouse-Format"] == "JSON"
    assert headers["X-ClickHouse-Query-Id"] == "q1"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert json.loads(headers["X-ClickHouse-Summary"])["result_rows"] == "1"
    assert json.loads(body)["data"] == [{"a": 1}]


# --- SQLAlchemy -----------------------------------------------------------------------------------------


def test_sqlalchemy_reflects_and_queries(stack: EmbeddedStack, client: Any, table: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    client.insert(table, ROWS, column_names=COLUMNS)
    engine = sqlalchemy.create_engine(stack.clickhouse_url.replace("http://", "clickhousedb://") + "/labelwatch")
    try:
        assert table in sqlalchemy.inspect(engine).get_table_names()
        items = sqlalchemy.Table(table, sqlalchemy.MetaData(), autoload_with=engine)
        assert list(items.columns.keys()) == COLUMNS
        with engine.connect() as connection:
            rows = connection.execute(
                sqlalchemy.select(items.c.id).where(items.c.name == sqlalchemy.bindparam("x")), {"x": NASTY}
            ).all()
        assert rows == [(1,)]
    finally:
        engine.dispose()
