"""What docker-compose.yml and the files beside it promise. Each check is also shown a file that breaks it."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from deploy.kafka.classpath import kafka_version
from detectors.alerts.book import AlertBook
from streams.cli import COMMANDS
from streams.delivery.alertmanager import labels_of
from streams.metrics import metric_specs
from streams.settings import load_settings
from tests.alerts import batch, scope, verdict

ROOT = Path(__file__).resolve().parents[2]
CLICKHOUSE = ROOT / "deploy" / "clickhouse" / "config"
Compose = dict[str, Any]
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|API_?KEY")


def load_compose() -> Compose:
    content: Compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


def resolved(text: str) -> str:
    """`text` with each variable at its default."""
    return _VARIABLE.sub(lambda found: found[2] or "", text)


def services(compose: Compose) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose["services"].items()


def literal_passwords(compose: Compose) -> list[str]:
    found = [
        f"{name}: {key}"
        for name, service in services(compose)
        for key, value in service.get("environment", {}).items()
        if _SECRET_NAME.search(key) and not str(value).startswith("/run/secrets/")
    ]
    return found + [f"secret {name}" for name, source in compose["secrets"].items() if set(source) != {"file"}]


def unwatched(compose: Compose) -> list[str]:
    """Services that neither have a health check nor run once with somebody waiting for their success."""
    awaited = {
        name
        for _, service in services(compose)
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    return [
        name
        for name, service in services(compose)
        if not service.get("healthcheck", {}).get("test")
        and not (name in awaited and service.get("restart") == "no" and service["healthcheck"].get("disable"))
    ]


def published_beyond_loopback(compose: Compose) -> list[str]:
    return [
        f"{name}: {port}"
        for name, service in services(compose)
        for port in service.get("ports", [])
        if not str(port).startswith("127.0.0.1:")
    ]


def unpinned_images(compose: Compose) -> list[str]:
    images = {name: resolved(service["image"]) for name, service in services(compose)}
    return [
        f"{name}: {image}"
        for name, image in images.items()
        if not re.search(r":v?\d+(\.\d+)+$|@sha256:[0-9a-f]{64}$", image)
    ]


def undocumented_variables(compose: Compose) -> list[str]:
    """Variables whose default is missing, or is not the one in .env.example."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    used = dict(_VARIABLE.findall(yaml.safe_dump(compose, width=10_000)))
    return [name for name in used.keys() | example.keys() if used.get(name, "") != example.get(name)]


def endless_services(compose: Compose) -> list[str]:
    """Long-running services that do not come back, or are given no time to stop."""
    return [name for name, service in services(compose) if service.get("restart") not in ("unless-stopped", "no")]


CHECKS = [
    literal_passwords,
    unwatched,
    published_beyond_loopback,
    unpinned_images,
    undocumented_variables,
    endless_services,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_compose_file_keeps_its_promises(check: Callable[[Compose], list[str]]) -> None:
    assert check(load_compose()) == []


@pytest.mark.parametrize(
    ("check", "service", "change"),
    [
        (literal_passwords, "worker", {"environment": {"LABELWATCH_CLICKHOUSE__PASSWORD": "hunter2"}}),
        (literal_passwords, "clickhouse", {"environment": {"CLICKHOUSE_PASSWORD": "${PASSWORD:-hunter2}"}}),
        (unwatched, "kafka", {"healthcheck": {}}),
        (unwatched, "migrate", {"restart": "unless-stopped"}),
        (unwatched, "worker", {"depends_on": {}}),
        (published_beyond_loopback, "clickhouse", {"ports": ["8123:8123"]}),
        (published_beyond_loopback, "kafka", {"ports": ["0.0.0.0:9092:9092"]}),
        (unpinned_images, "prometheus", {"image": "prom/prometheus"}),
        (unpinned_images, "prometheus", {"image": "prom/prometheus:latest"}),
        (unpinned_images, "kafka", {"image": "${LABELWATCH_KAFKA_IMAGE:-apache/kafka:latest}"}),
        (undocumented_variables, "kafka", {"hostname": "${NEW_VARIABLE:-x}"}),
        (undocumented_variables, "kafka", {"image": "${LABELWATCH_KAFKA_IMAGE}"}),
        (endless_services, "worker", {"restart": None}),
    ],
)
def test_each_check_fires(check: Callable[[Compose], list[str]], service: str, change: dict[str, Any]) -> None:
    broken = copy.deepcopy(load_compose())
    broken["services"][service].update(change)
    assert check(broken) != []


def test_a_secret_from_anywhere_but_a_file_is_refused() -> None:
    broken = copy.deepcopy(load_compose())
    broken["secrets"]["clickhouse_bi_password"] = {"environment": "PASSWORD"}
    assert literal_passwords(broken) == ["secret clickhouse_bi_password"]


def test_worker_settings_are_accepted_and_lead_to_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = load_compose()["services"]["worker"]
    for name in list(os.environ):
        if name.startswith("LABELWATCH_"):
            monkeypatch.delenv(name)
    for name, value in worker["environment"].items():
        monkeypatch.setenv(name, resolved(value))

    settings = load_settings()  # refuses unknown names

    assert settings.kafka.bootstrap == "kafka:9092"
    assert settings.clickhouse.url == "http://clickhouse:8123"
    assert settings.notify.alertmanagers() == ["http://alertmanager:9093"]
    assert str(settings.clickhouse.password_file) == "/run/secrets/clickhouse_writer_password"
    assert f"127.0.0.1:{settings.web.port}/healthz" in worker["healthcheck"]["test"][-1]
    assert int(worker["stop_grace_period"].removesuffix("s")) > settings.worker.retry_max_seconds
    user = ElementTree.parse(CLICKHOUSE / "users.xml").find(f"users/{settings.clickhouse.user}")
    assert user is not None


def test_the_worker_waits_for_tables_and_topics() -> None:
    compose = load_compose()["services"]
    conditions = {name: how["condition"] for name, how in compose["worker"]["depends_on"].items()}
    assert conditions == {
        "kafka": "service_healthy",
        "clickhouse": "service_healthy",
        "migrate": "service_completed_successfully",
        "topics": "service_completed_successfully",
    }
    assert {compose[name]["command"][0] for name in ("migrate", "topics", "worker")} <= set(COMMANDS)


def test_kafka_is_the_version_that_tests_run_and_makes_no_topic_by_itself() -> None:
    kafka = load_compose()["services"]["kafka"]
    assert resolved(kafka["image"]) == f"apache/kafka:{kafka_version()}"
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    properties = (ROOT / "deploy" / "kafka" / "server.properties").read_text(encoding="utf-8")
    assert "\nauto.create.topics.enable=false\n" in properties


def test_prometheus_finds_every_worker_and_its_rules_name_declared_metrics() -> None:
    folder = ROOT / "deploy" / "prometheus"
    config = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    (discovery,) = config["scrape_configs"][0]["dns_sd_configs"]
    worker = load_compose()["services"]["worker"]
    assert (discovery["names"], [str(discovery["port"])]) == (["worker"], worker["expose"])

    assert config["rule_files"] == ["rules.yml"]
    rules = [rule for group in yaml.safe_load((folder / "rules.yml").read_text())["groups"] for rule in group["rules"]]
    named = {name for rule in rules for name in re.findall(r"labelwatch_\w+", rule["expr"])}
    assert named, "the rules name no metric of ours"
    assert named <= {spec.name for _, spec in metric_specs()}


def test_alertmanager_reads_the_shipped_file_and_hears_of_prometheus_too() -> None:
    service = load_compose()["services"]["alertmanager"]
    assert "./deploy/alertmanager:/etc/alertmanager:ro" in service["volumes"]
    assert "--config.file=/etc/alertmanager/alertmanager.yml" in service["command"]
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (manager,) = prometheus["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def test_alertmanager_knows_labels_as_they_are_sent() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    sent = {"selection", "few", *labels_of(AlertBook("app").take(batch(verdict(1, on=scope("labeler"))))[0].alert)}
    named = {*config["route"]["group_by"], *(label for rule in config["inhibit_rules"] for label in rule["equal"])}
    matchers = [
        one for rule in config["inhibit_rules"] for side in ("source", "target") for one in rule[f"{side}_matchers"]
    ]
    assert named | {matcher.split()[0] for matcher in matchers} <= sent
    receivers = {receiver["name"] for receiver in config["receivers"]}
    assert {route["receiver"] for route in (config["route"], *config["route"]["routes"])} == receivers


def test_clickhouse_users_have_hashes_from_the_environment_and_bi_cannot_write() -> None:
    tree = ElementTree.parse(CLICKHOUSE / "users.xml")
    users = {user.tag: user for user in tree.findall("users/*")}
    assert set(users) == {"default", "labelwatch_writer", "labelwatch_bi"}
    assert list(tree.iter("password")) == []
    for name, variable in (("labelwatch_writer", "WRITER"), ("labelwatch_bi", "BI")):
        (password,) = users[name].findall("password_sha256_hex")
        assert password.attrib == {"from_env": f"LABELWATCH_{variable}_SHA256"}
        assert not password.text
        assert tree.find(f"profiles/{users[name].findtext('profile')}") is not None
    assert [query.text for query in users["labelwatch_bi"].iter("query")] == ["GRANT SELECT, SHOW ON labelwatch.*"]
    assert tree.findtext("profiles/labelwatch_bi/readonly") == "2"
    assert [ip.text for ip in users["default"].iter("ip")] == ["::1", "127.0.0.1"]
    assert ElementTree.parse(CLICKHOUSE / "server.xml").getroot().tag == "clickhouse"


def _run_entrypoint(secrets: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LABELWATCH_SECRETS_DIR": str(secrets), "CLICKHOUSE_ENTRYPOINT": "env"}
    script = ["bash", str(CLICKHOUSE / "entrypoint.sh")]
    return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)


def test_clickhouse_starts_with_the_hashes_of_both_passwords(tmp_path: Path) -> None:
    (tmp_path / "clickhouse_writer_password").write_text("pass word\n")
    (tmp_path / "clickhouse_bi_password").write_text("$other'")

    ran = _run_entrypoint(tmp_path)

    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    for user, password in (("WRITER", b"pass word"), ("BI", b"$other'")):
        assert f"LABELWATCH_{user}_SHA256={hashlib.sha256(password).hexdigest()}" in lines
    assert "pass word" not in ran.stdout


@pytest.mark.parametrize(("content", "says"), [("\n", "is empty"), (None, "cannot read the password file")])
def test_clickhouse_does_not_start_without_a_password(tmp_path: Path, content: str | None, says: str) -> None:
    (tmp_path / "clickhouse_writer_password").write_text("x")
    if content is not None:
        (tmp_path / "clickhouse_bi_password").write_text(content)

    ran = _run_entrypoint(tmp_path)

    assert ran.returncode != 0
    assert says in ran.stderr
    assert str(tmp_path / "clickhouse_bi_password") in ran.stderr


def image_problems(dockerfile: str) -> list[str]:
    """What is wrong with the last stage of `dockerfile`."""
    text = re.sub(r"\\\n\s*", "", dockerfile)
    final = text[text.rindex("\nFROM ") :]
    wanted = {
        "a numeric user": r"^USER [1-9]\d*(:\d+)?$",
        "labelwatch as its entry point": r'^ENTRYPOINT \["labelwatch"\]$',
        "a health check": r"^HEALTHCHECK ",
        "labels": r"^LABEL org\.opencontainers\.image\.",
        "the virtual environment of an earlier stage": r"^COPY --from=build ",
    }
    problems = [f"no {what}" for what, pattern in wanted.items() if not re.search(pattern, final, re.MULTILINE)]
    return problems + re.findall(r"\b(?:apt-get|gcc|build-essential|pip install)\b", final)


def test_the_image_runs_without_root_and_without_build_tools() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert image_problems(dockerfile) == []
    assert image_problems(dockerfile.replace("USER 10001:10001", "USER root")) == ["no a numeric user"]
    assert image_problems(dockerfile + "RUN apt-get install gcc\n") == ["apt-get", "gcc"]


def test_secrets_and_data_stay_out_of_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert not {"!secrets", "!.env", "!.git", "!tests"} & set(rules)


def _check_compose(fake_docker: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the check with a `docker` that answers as `script` says."""
    docker = fake_docker / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    environment = {**os.environ, "PATH": f"{fake_docker}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(ROOT / "deploy" / "check-compose")], env=environment, capture_output=True, text=True, check=False
    )


_VERSION = '[ "$2" = version ] && { echo 2.40.3; exit 0; }'


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        (f"{_VERSION}\nexit 0", 0, "is valid (docker compose 2.40.3)"),
        (f"{_VERSION}\necho 'services.a is wrong' >&2; exit 15", 1, "is refused (docker compose)"),
        (f"{_VERSION}\necho 'The \"X\" variable is not set.' >&2", 1, "uses a variable without a value"),
    ],
)
def test_the_check_passes_on_what_compose_says(tmp_path: Path, script: str, code: int, says: str) -> None:
    ran = _check_compose(tmp_path, script)
    assert (ran.returncode, says in ran.stdout + ran.stderr) == (code, True), ran.stderr


def test_password_files_are_ignored_by_git() -> None:
    secrets = [source["file"] for source in load_compose()["secrets"].values()]
    paths = [resolved(path) for path in secrets]
    asked = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode == 128:
        pytest.skip(f"git cannot say: {asked.stderr.strip()}")
    assert asked.stdout.splitlines() == paths
