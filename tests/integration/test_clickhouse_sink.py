"""The ClickHouse sink when things go wrong: the engine away, a server that refuses, rows that never fit."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import clickhouse_connect
import pytest
from aiohttp import web
from pydantic import SecretStr

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack, choose_ports
from schemas.rows import DeadLetterRow, PartitionClaimRow, SourceProgressRow, StateRow, TaskConfidenceRow
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink, log_retry
from streams.sinks.connection import connect
from streams.sinks.retry import Backoff
from streams.sinks.sink import SinkError, SinkStoppedError

pytestmark = pytest.mark.integration

HOP_BY_HOP = ("host", "content-length", "transfer-encoding")
QUICK = Backoff(first_seconds=0.01, max_seconds=0.05)
T0 = 1_767_596_400_000
PASSWORD = "correct-horse-battery"
TASK = TaskConfidenceRow("captions", "t-1", "image_caption", "cat", 0.87, 3, None, T0, 3, 17)
STATE = StateRow("app", 3, "position", "", 17, 1, "{}", False)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as started:
        yield started


def migrated(url: str) -> str:
    """The name of a new database with our tables."""
    with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as client:
        client.database = f"sink_{uuid.uuid4().hex}"
        migrate(client)
        return str(client.database)


class Front:
    """A server before ClickHouse that answers inserts with the failures it was given, one each, then passes them."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.failures: list[tuple[int, dict[str, str], str]] = []
        self.always: tuple[int, dict[str, str], str] | None = None
        self.queries: list[dict[str, str]] = []
        self.inserts = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.queries.append(dict(request.query))
        if b"INSERT INTO" in body[:200]:
            self.inserts += 1
            failure = self.always or (self.failures.pop(0) if self.failures else None)
            if failure is not None:
                status, headers, text = failure
                if status == 0:  # hang up
                    assert request.transport is not None
                    request.transport.close()
                    return web.Response()
                return web.Response(status=status, headers=headers, text=text)
        kept = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.behind, params=request.query, data=body, headers=kept, skip_auto_headers=["Accept"]
            ) as answer,
        ):
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@pytest.fixture
async def front(stack: EmbeddedStack) -> AsyncIterator[tuple[Front, ClickHouseSettings]]:
    made = Front(stack.clickhouse_url)
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/", made.handle)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    database = await asyncio.to_thread(migrated, stack.clickhouse_url)
    yield (
        made,
        ClickHouseSettings(
            url=f"http://127.0.0.1:{runner.addresses[0][1]}",
            database=database,
            user="writer",
            password=SecretStr(PASSWORD),
        ),
    )
    await runner.cleanup()


def refusal(code: int, name: str, status: int = 500) -> tuple[int, dict[str, str], str]:
    return status, {"X-ClickHouse-Exception-Code": str(code)}, f"Code: {code}. DB::Exception: no. ({name})\n"


async def test_what_passes_with_time_is_tried_until_it_works(front: tuple[Front, ClickHouseSettings]) -> None:
    server, settings = front
    server.failures = [
        refusal(252, "TOO_MANY_PARTS"),
        refusal(241, "MEMORY_LIMIT_EXCEEDED"),
        refusal(202, "TOO_MANY_SIMULTANEOUS_QUERIES", status=503),
        (502, {}, "bad gateway"),
        (0, {}, ""),
    ]
    retries: list[tuple[int, str, float]] = []
    sink = ClickHouseSink(settings, backoff=QUICK, on_retry=lambda *call: retries.append(call))
    await sink.write({"task_confidence": [TASK]})
    assert await sink.read("task_confidence") == [TASK]
    await sink.close()
    assert server.inserts >= 6
    assert [attempt for attempt, _, _ in retries][:4] == [1, 2, 3, 4]
    for _, error, pause in retries:
        assert settings.url in error
        assert "task_confidence" in error
        assert PASSWORD not in error
        assert 0 < pause <= QUICK.max_seconds
    assert "TOO_MANY_PARTS" in retries[0][1]


async def test_what_never_passes_is_raised_with_table_and_message(front: tuple[Front, ClickHouseSettings]) -> None:
    server, settings = front
    server.always = refusal(60, "UNKNOWN_TABLE", status=404)
    sink = ClickHouseSink(settings, backoff=QUICK, on_retry=lambda *call: pytest.fail(f"tried again: {call}"))
    with pytest.raises(SinkError) as caught:
        await sink.write({"task_confidence": [TASK], "state": [STATE]})
    message = str(caught.value)
    assert "task_confidence" in message
    assert "Code: 60. DB::Exception: no. (UNKNOWN_TABLE)" in message
    assert "run `labelwatch migrate`" in message
    assert PASSWORD not in message
    server.always = None
    assert await sink.read("state") == [], "state went out although the results did not"
    await sink.close()


async def test_another_servers_page_is_not_quoted(front: tuple[Front, ClickHouseSettings]) -> None:
    server, settings = front
    server.always = (404, {"Content-Type": "text/html"}, "<html>no such page</html>")
    sink = ClickHouseSink(settings, backoff=QUICK, on_retry=lambda *call: pytest.fail(f"tried again: {call}"))
    with pytest.raises(SinkError, match="something else than ClickHouse answers") as caught:
        await sink.write({"task_confidence": [TASK]})
    assert settings.url in str(caught.value)
    assert "html" not in str(caught.value)
    await sink.close()


async def test_stop_ends_the_waiting(front: tuple[Front, ClickHouseSettings]) -> None:
    server, settings = front
    server.always = refusal(252, "TOO_MANY_PARTS")
    stop = asyncio.Event()
    sink = ClickHouseSink(settings, stop=stop, backoff=Backoff(3_600.0, 3_600.0), on_retry=lambda *_: stop.set())
    with pytest.raises(SinkStoppedError):
        await sink.write({"task_confidence": [TASK]})
    await sink.close()


async def test_every_insert_is_synchronous_and_spans_any_number_of_months(
    front: tuple[Front, ClickHouseSettings],
) -> None:
    server, settings = front
    sink = ClickHouseSink(settings)
    server.queries.clear()
    await sink.write({"task_confidence": [TASK], "state": [STATE]})
    await sink.close()
    inserts = [query for query in server.queries if "async_insert" in query]
    assert len(inserts) == server.inserts == 2
    for query in inserts:
        assert query["async_insert"] == "0"
        assert query["max_partitions_per_insert_block"] == "0"
        assert "insert_quorum" not in query


async def test_tables_are_cut_in_inserts_and_state_is_not(front: tuple[Front, ClickHouseSettings]) -> None:
    server, settings = front
    sink = ClickHouseSink(settings, max_rows=10)
    tasks = [TASK._replace(task_id=f"t-{n}") for n in range(25)]
    # Payloads of 8 MB together: clickhouse-connect alone would send several blocks, each of them a part.
    state = [STATE._replace(key=f"{n:05d}", payload=f"{n}" * 100) for n in range(20_000)]
    await sink.write({"state": state, "task_confidence": tasks})
    assert server.inserts == 3 + 1
    parts = await sink.fetch(
        "SELECT count(), sum(rows) FROM system.parts WHERE database = {d:String} AND table = 'state'",
        {"d": settings.database},
    )
    assert parts == [(1, 20_000)]
    assert len(await sink.read("task_confidence")) == 25
    assert await sink.read("state", app_id="app", source_partition=3, kind="position") == state
    await sink.close()


async def test_fetch_returns_tuples_with_aware_times(front: tuple[Front, ClickHouseSettings]) -> None:
    _, settings = front
    sink = ClickHouseSink(settings)
    await sink.write({"partition_claims": [PartitionClaimRow("it's", 1, 4, "w", T0)]})
    ((app, claimed),) = await sink.fetch(
        "SELECT app_id, claimed_at FROM partition_claims WHERE app_id = {a:String}", {"a": "it's"}
    )
    assert app == "it's"
    assert claimed.isoformat() == "2026-01-05T07:00:00+00:00"
    with pytest.raises(SinkError, match=r"query: Code: 62\."):
        await sink.fetch("SELEC 1")
    await sink.close()


async def test_rows_that_do_not_fit_are_a_bug_and_not_retried(front: tuple[Front, ClickHouseSettings]) -> None:
    _, settings = front
    sink = ClickHouseSink(settings, on_retry=lambda *call: pytest.fail(f"tried again: {call}"))
    broken: Any = DeadLetterRow("annotations", 3, 19, "t-1", "not_json", "d", "{", None, T0, "open", 1)  # type: ignore[arg-type]
    with pytest.raises((SinkError, TypeError, ValueError)):
        await sink.write({"dead_letters": [broken]})
    await sink.close()


@pytest.mark.parametrize("statement", ["DROP TABLE state", "ALTER TABLE reviews ADD COLUMN x UInt8"])
async def test_other_columns_than_this_release_knows_are_refused(
    front: tuple[Front, ClickHouseSettings], statement: str
) -> None:
    _, settings = front

    def run() -> None:
        with connect(settings) as client:
            client.command(statement)

    await asyncio.to_thread(run)
    sink = ClickHouseSink(settings)
    with pytest.raises(SinkError, match=r"table (state|reviews) does not have .* run `labelwatch migrate`"):
        await sink.write({"task_confidence": [TASK]})
    await sink.close()


async def test_a_database_that_is_missing_is_not_waited_for(stack: EmbeddedStack) -> None:
    sink = ClickHouseSink(
        ClickHouseSettings(url=stack.clickhouse_url, database="never_made"),
        on_retry=lambda *call: pytest.fail(f"tried again: {call}"),
    )
    with pytest.raises(SinkError, match=r"never_made.* run `labelwatch migrate`"):
        await sink.write({"task_confidence": [TASK]})
    await sink.close()


async def test_without_a_hook_retries_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log_retry(3, "Network Error", 1.2345)
    logged = capsys.readouterr()
    assert "sink.retry" in logged.out + logged.err


async def test_nothing_is_lost_while_the_engine_is_down(tmp_path: Path) -> None:
    kafka_port, clickhouse_port = choose_ports(0, 0)
    stack = EmbeddedStack(tmp_path, kafka_port=kafka_port, clickhouse_port=clickhouse_port)
    url = f"http://127.0.0.1:{clickhouse_port}"
    retries: list[int] = []
    away = asyncio.Event()

    def on_retry(attempt: int, error: str, pause: float) -> None:
        retries.append(attempt)
        if attempt == 3:
            away.set()

    with stack:
        database = await asyncio.to_thread(migrated, url)
    sink = ClickHouseSink(ClickHouseSettings(url=url, database=database), backoff=QUICK, on_retry=on_retry)

    # Down before the first connection,
    first = asyncio.create_task(sink.write({"task_confidence": [TASK]}))
    await asyncio.wait_for(away.wait(), 30)
    with stack:
        await asyncio.wait_for(first, 30)
    # and between two writes on a connection that once worked.
    away.clear()
    progress = SourceProgressRow("app", "annotations", 3, 17, T0, 20, 17, 2, 1, False, T0, 1)
    second = asyncio.create_task(sink.write({"source_progress": [progress], "state": [STATE]}))
    await asyncio.wait_for(away.wait(), 30)
    assert not second.done()
    with stack:
        await asyncio.wait_for(second, 30)
        assert await sink.read("task_confidence") == [TASK]
        assert await sink.read("source_progress") == [progress]
        assert await sink.read("state") == [STATE]
        await sink.close()
    assert len(retries) >= 6
