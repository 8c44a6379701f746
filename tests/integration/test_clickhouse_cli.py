"""``labelwatch migrate`` and ``labelwatch query`` as a person runs them."""

from __future__ import annotations

import csv
import io
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result

from deploy.local.stack import EmbeddedStack, choose_ports
from streams.cli import cli

pytestmark = pytest.mark.integration

SQL = (
    "SELECT 7 AS n, 0.5 AS share, 'it''s [red], \"so\"' AS label, NULL AS nothing,"
    " toDateTime64('2026-01-05 07:00:00.250', 3, 'UTC') AS at, toDate('2026-01-05') AS day,"
    " map('cat', 2) AS histogram, [1, 2] AS list, true AS yes, 18446744073709551615 AS big, nan AS bad"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(data_dir=tmp_path_factory.mktemp("stack"), kafka_port=0, clickhouse_port=0) as started:
        yield started


@pytest.fixture(autouse=True)
def database(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"cli_{uuid.uuid4().hex}"
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__URL", stack.clickhouse_url)
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__DATABASE", name)
    return name


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


def test_migrate_says_what_it_did() -> None:
    dry = run("migrate", "--dry-run")
    assert (dry.exit_code, dry.stdout.splitlines()[0]) == (0, "would apply 0001 tables")
    assert "0001 tables" in run("migrate", "--status").stdout
    assert "applied" not in run("migrate", "--status").stdout
    first = run("migrate")
    assert (first.exit_code, first.stdout.splitlines()[0]) == (0, "applied 0001 tables")
    assert "Nothing to apply" in run("migrate").stdout
    assert "pending" not in run("migrate", "--status").stdout


def test_migrate_applies_the_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    run("migrate")
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__RETENTION_DAYS", "30")
    assert "30 days now" in run("migrate").stdout
    assert "days now" not in run("migrate").stdout


def test_query_json() -> None:
    run("migrate")
    result = run("query", "--format", "json", SQL)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {
        "n": 7,
        "share": 0.5,
        "label": 'it\'s [red], "so"',
        "nothing": None,
        "at": "2026-01-05T07:00:00.250Z",
        "day": "2026-01-05",
        "histogram": {"cat": 2},
        "list": [1, 2],
        "yes": True,
        "big": 2**64 - 1,
        "bad": None,
    }
    assert result.stderr.startswith("1 row in ")


def test_query_csv() -> None:
    run("migrate")
    result = run("query", "--format", "csv", SQL)
    header, row = csv.reader(io.StringIO(result.stdout))
    assert dict(zip(header, row, strict=True)) == {
        "n": "7",
        "share": "0.5",
        "label": 'it\'s [red], "so"',
        "nothing": "",
        "at": "2026-01-05 07:00:00.250Z",
        "day": "2026-01-05",
        "histogram": '{"cat": 2}',
        "list": "[1, 2]",
        "yes": "true",
        "big": str(2**64 - 1),
        "bad": "nan",
    }


def test_query_table_from_standard_input() -> None:
    run("migrate")
    result = run("query", "-", stdin="SELECT number * 50 AS n, '[red]' AS label FROM numbers(3);\n")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if "[red]" in line] == [
        "│   0 │ [red] │",
        "│  50 │ [red] │",
        "│ 100 │ [red] │",
    ]
    assert result.stderr.startswith("3 rows in ")


def test_a_wide_table_is_not_folded_in_a_pipe() -> None:
    run("migrate")
    columns = ", ".join(f"number AS a_rather_long_name_{n}" for n in range(30))
    result = run("query", f"SELECT {columns} FROM numbers(1)")
    assert "a_rather_long_name_0 " in result.stdout.splitlines()[1]
    assert "a_rather_long_name_29 " in result.stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("options", "shown", "cut"),
    [
        ([], 1_000, True),
        (["--max-rows", "1500"], 1_500, False),
        (["--max-rows", "0"], 1_500, False),
        (["--format", "csv"], 1_500, False),
        (["--format", "csv", "--max-rows", "7"], 7, True),
        (["--format", "json", "--max-rows", "7"], 7, True),
    ],
)
def test_rows_are_cut_and_it_says_so(options: list[str], shown: int, cut: bool) -> None:
    run("migrate")
    result = run("query", *options, "SELECT number FROM numbers(1500)")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{shown:,} rows in ")
    assert ("Cut after" in result.stderr) is cut


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE state",
        "INSERT INTO partition_claims (app_id) VALUES ('x')",
        "CREATE TABLE x (a UInt8) ENGINE = Memory",
        "SELECT 1 SETTINGS readonly = 0",
    ],
)
def test_query_only_reads(statement: str) -> None:
    run("migrate")
    result = run("query", statement)
    assert result.exit_code == 1
    assert "READONLY" in result.stderr
    assert run("query", "--format", "csv", "SELECT count() FROM state").stdout == "count()\n0\n"


def test_clickhouse_explains_a_wrong_statement() -> None:
    run("migrate")
    result = run("query", "SELEC 1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "SYNTAX_ERROR" in result.stderr
    assert "(version" not in result.stderr


def test_before_migrate_it_says_what_to_run(database: str) -> None:
    result = run("query", "SELECT 1")
    assert result.exit_code == 1
    assert database in result.stderr
    assert "labelwatch migrate" in result.stderr


def test_an_empty_statement_is_wrong_usage() -> None:
    assert run("query", "-", stdin=" ;\n").exit_code == 2


COMMANDS = [["query", "SELECT 1"], ["migrate"], ["migrate", "--status"], ["dlq", "list"], ["dlq", "replay"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_there(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{choose_ports(0, 0)[1]}"
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__URL", url)
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__PASSWORD", "correct-horse-battery")
    result = run(*command)
    assert result.exit_code == 1
    assert f"cannot reach ClickHouse at {url} (clickhouse.url): Connection refused" in result.stderr
    assert "labelwatch up" in result.stderr
    assert "correct-horse" not in result.output
    assert "HTTPConnectionPool" not in result.output


@pytest.fixture(params=[200, 404, 501, 503])
def web_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of pages, where ClickHouse was looked for."""

    class Pages(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(request.param)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("command", COMMANDS)
def test_somebody_else_there(command: list[str], web_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__URL", web_server)
    result = run(*command)
    assert result.exit_code == 1
    assert f"something else than ClickHouse answers at {web_server}" in result.stderr
    assert "LABELWATCH_CLICKHOUSE__URL" in result.stderr
    assert "html" not in result.output


def test_dlq_list_before_migrate_says_what_to_run(database: str) -> None:
    result = run("dlq", "list")
    assert result.exit_code == 1
    assert database in result.stderr
    assert "run `labelwatch migrate`" in result.stderr


def test_an_error_that_quotes_data_steers_no_terminal() -> None:
    run("migrate")
    result = run("query", "SELECT throwIf(1, 'red \x1b[31m')")
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
    assert "red" in result.stderr


@pytest.mark.parametrize("command", ["query", "migrate"])
def test_help_has_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"labelwatch {command} " in result.stdout.partition("Examples:")[2]
