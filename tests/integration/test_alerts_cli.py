"""``labelwatch alerts`` on a real ClickHouse, a real Alertmanager and a webhook."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from streams.cli import cli
from streams.settings import ClickHouseSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.connection import connect
from tests.alertmanager import alertmanager
from tests.alerts import HOUR, T0, Mailbox, batch, rule, scope, verdict
from tests.notify_rig import Rig
from tests.webhook import webhook

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(stack: EmbeddedStack, no_settings: pytest.MonkeyPatch) -> ClickHouseSettings:
    found = ClickHouseSettings(url=stack.clickhouse_url, database=f"alerts_{uuid.uuid4().hex}")
    client = connect(found, use_database=False)
    migrate(client)
    client.close()
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", found.url)
    no_settings.setenv("LABELWATCH_CLICKHOUSE__DATABASE", found.database)
    return found


@pytest.fixture
async def rig(settings: ClickHouseSettings) -> Rig:
    """A critical alert of a vendor that fires, an inhibited one of a labeler, and one that is over."""
    sink = ClickHouseSink(settings)
    rig = await Rig(Mailbox(), sink=sink).start()
    vendor, labeler = rule("vendor-gold", severity="critical", labels={"team": "a"}), rule("labeler-gold")
    over = rule("project-alpha", metric="krippendorff_alpha")
    hostile = scope("labeler", labeler_id="ana\x1b[31m [red]")
    rig.feed(
        batch(
            verdict(1, of=vendor),
            verdict(2, of=labeler, on=hostile),
            verdict(3, of=over, on=scope("project")),
            verdict(4, "recovered", T0 + HOUR, over, scope("project")),
        )
    )
    await rig.turn()
    await sink.close()
    return rig


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["alerts", *arguments])
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("list", "--json", *arguments).stdout.splitlines()]


async def test_list_and_show(rig: Rig) -> None:
    shown = run("list")
    assert "firing (inhibited)" in shown.stdout
    assert "92.0 % -> 80.0 %" in shown.stdout
    assert "\x1b[31m" not in shown.stdout
    assert "2 open alerts" in shown.stderr
    assert "1 delivered" in shown.stdout
    assert [one["rule"] for one in listed()] == ["vendor-gold", "labeler-gold"], "the worst first"
    assert len(listed("--state", "all")) == 3
    assert [one["rule"] for one in listed("--state", "resolved")] == ["project-alpha"]
    assert listed("--since", "2030-01-01T00:00:00Z") == []
    assert [one["rule"] for one in listed("--rule", "labeler-gold")] == ["labeler-gold"]
    (over,) = listed("--state", "resolved")
    assert (over["firing_seconds"], over["delivered"], over["resolved_at"]) == (3_600.0, 1, "2026-01-05T09:00:00Z")

    critical = listed()[0]
    alert_id = str(critical["alert_id"])
    one = run("show", alert_id[:8]).stdout
    assert "[CRITICAL] vendor-gold: vendor acme" in one
    assert "fell from 92.0 % to 80.0 %" in one
    assert "delivered" in one
    whole = json.loads(run("show", alert_id, "--json").stdout)
    assert whole["labels"] == {"team": "a"}
    assert [(sent["target"], sent["status"]) for sent in whole["deliveries"]] == [("mailbox", "delivered")]
    assert "no alert 'ffff'" in run("show", "ffff", code=1).stderr


async def test_what_nobody_was_told_is_put_into_words_when_somebody_looks(rig: Rig) -> None:
    (held,) = listed("--rule", "labeler-gold")
    assert (held["body"], held["told"]) == ("", 0)
    alert_id = str(held["alert_id"])
    one = (await asyncio.to_thread(run, "show", alert_id)).stdout  # the command has a loop of its own
    assert "fell from 92 % to 80 %" in one
    assert "Who: no explanation: there are no answers before the change" in one
    assert "evidence of" in one
    assert "\x1b[31m" not in one
    whole = json.loads((await asyncio.to_thread(run, "show", alert_id, "--json")).stdout)
    assert whole["title"].startswith("WARNING gold accuracy of")
    assert whole["explanation"] == ""


async def test_ack(rig: Rig) -> None:
    alert_id = str(listed()[0]["alert_id"])
    said = run("ack", alert_id[:6], "--by", "ana", "--note", "it's known")
    assert said.stdout == f"acknowledged {alert_id} (vendor-gold) as ana\n"
    one = json.loads(run("show", alert_id, "--json").stdout)
    assert (one["acked_by"], one["ack_note"], one["notes"][0]["kind"]) == ("ana", "it's known", "ack")
    assert "ana" in run("list").stdout
    over = str(listed("--state", "resolved")[0]["alert_id"])
    assert "is over" in run("ack", over, code=1).stderr


async def test_silence_here_and_in_alertmanager(rig: Rig, tmp_path: Path, no_settings: pytest.MonkeyPatch) -> None:
    alert_id = str(listed()[0]["alert_id"])
    assert "silenced rule labeler-gold until" in run("silence", "labeler-gold", "--for", "2h").stdout
    assert "neither" in run("silence", "labler-gold", "--for", "2h", code=1).stderr
    for wrong in ("2", "0", "100d", "-1h", "soon"):
        assert "is not a length" in run("silence", "labeler-gold", f"--for={wrong}", code=2).stderr
    with alertmanager(tmp_path, hook_port=9) as manager:
        away = "http://127.0.0.1:9"  # a member of the cluster that is down
        no_settings.setenv("LABELWATCH_NOTIFY__ALERTMANAGER_URL", f"{away} {manager.url}")
        silence = ("silence", alert_id[:8], "--for", "1d", "--by", "ana", "--comment", "moving house")
        await asyncio.to_thread(run, *silence)  # the command has a loop of its own
        (made,) = manager.get("/api/v2/silences")
        matchers = {one["name"]: one["value"] for one in made["matchers"]}
        assert matchers == {"alertname": "vendor-gold", "about": "change", "scope": "vendor", "vendor_id": "acme"}
        assert (made["createdBy"], made["comment"], made["status"]["state"]) == ("ana", "moving house", "active")
        silenced = {one["id"]: one for one in manager.get("/api/v2/silences")}
        shorter = await asyncio.to_thread(run, "silence", alert_id, "--for", "1m")
        assert f"Alertmanager: ended silence {made['id']}" in shorter.stdout
        whole_rule = await asyncio.to_thread(run, "silence", "vendor-gold", "--for", "1h")
        assert "ended silence" not in whole_rule.stdout, "another silence than that of one alert"
        states = [one["status"]["state"] for one in manager.get("/api/v2/silences")]
        assert sorted(states) == ["active", "active", "expired"]
        said = (await asyncio.to_thread(run, "silence", alert_id, "--for", "0m")).stdout
        assert "stays silenced by its rule: labelwatch alerts silence vendor-gold --for 0m" in said
        said = (await asyncio.to_thread(run, "silence", "vendor-gold", "--for", "0m")).stdout
        assert said.endswith("no longer silenced: rule vendor-gold\n")
        assert {one["status"]["state"] for one in manager.get("/api/v2/silences")} == {"expired"}
        assert len(silenced) == 1
    refused = (await asyncio.to_thread(run, "silence", alert_id, "--for", "1d", code=1)).stderr
    assert "Nothing was silenced" in refused
    notes = json.loads(run("show", alert_id, "--json").stdout)["notes"]
    assert len(notes) == 5, "where Alertmanager is away nothing is done"


async def test_silences_are_shown_until_they_end(rig: Rig) -> None:
    def silenced() -> list[bool]:
        return [one["silenced_until"] is not None for one in listed()]

    critical = str(listed()[0]["alert_id"])
    assert silenced() == [False, False]
    assert "silenced" not in run("list").stdout
    said = run("silence", "labeler-gold", "--for", "90d").stdout
    until = said.split(" until ")[1].strip()
    assert f"firing (inhibited, silenced until {until})" in run("list").stdout
    assert silenced() == [False, True]
    run("silence", "labeler-gold", "--for", "1h")
    assert until not in run("list").stdout
    assert silenced() == [False, True]
    run("silence", critical, "--for", "1h")
    assert silenced() == [True, True]
    assert "silenced until" in run("show", critical).stdout
    assert json.loads(run("show", critical, "--json").stdout)["silenced_until"] is not None
    assert run("silence", "labeler-gold", "--for", "0m").stdout == "no longer silenced: rule labeler-gold\n"
    assert run("silence", critical, "--for", "0m").stdout.startswith("no longer silenced: alert ")
    assert silenced() == [False, False]
    assert {one["silenced_until"] for one in listed("--state", "resolved")} == {None}


async def test_silence_keeps_messages_back(settings: ClickHouseSettings) -> None:
    sink = ClickHouseSink(settings)
    box = Mailbox()
    rig = await Rig(box, sink=sink).start()
    rig.feed(batch(verdict(1)))
    await rig.notify.checkpoint()
    run("silence", "gold", "--for", "1h")
    import time

    rig.now = time.time_ns() // 1_000_000
    await rig.turn()
    assert box.sent == []
    rig.now += HOUR + 1_000
    await rig.turn()
    assert box.told == [("gold", "firing")]
    await sink.close()


def test_test(no_settings: pytest.MonkeyPatch) -> None:
    assert "no target is set" in run("test", code=2).stderr
    with webhook() as hook, webhook() as broken:
        broken.status = 503
        no_settings.setenv(
            "LABELWATCH_NOTIFY__APPRISE_URLS", f"json://127.0.0.1:{hook.port}/ json://127.0.0.1:{broken.port}/x"
        )
        result = run("test", code=1)
        assert "delivered" in result.stdout
        assert "HTTP 503" in result.stdout
        assert "not taken, may pass" in result.stdout
        assert "later" not in result.stdout, "nothing tries a test message again"
        assert "not taken by json-" in result.stderr
        assert hook.titles == ["[TEST] labelwatch"]
        broken.status = 200
        assert run("test", "--target", "json").exit_code == 0
        assert "no target 'slack'" in run("test", "--target", "slack", code=2).stderr
        no_settings.setenv("LABELWATCH_NOTIFY__APPRISE_URLS", "nonsense://secret-token")
        from streams.settings import SettingsError

        with pytest.raises(SettingsError, match="address 1: Apprise cannot use") as refused:
            CliRunner().invoke(cli, ["alerts", "test"], catch_exceptions=False)
        assert "secret-token" not in str(refused.value)


def test_without_clickhouse(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", "http://127.0.0.1:9")
    assert "cannot reach ClickHouse at http://127.0.0.1:9" in run("list", code=1).stderr
