"""Settings: environment over file over defaults; a typo never passes, and a secret is never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.settings import COMPOSE_VARIABLES, ClickHouseSettings, Settings, SettingsError, load_settings


@pytest.fixture
def env(no_settings: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return no_settings


def write(env: pytest.MonkeyPatch, folder: Path, content: str | bytes) -> Path:
    path = folder / "labelwatch.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    env.setenv("LABELWATCH_CONFIG", str(path))
    return path


def test_defaults_are_the_embedded_stack(env: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.clickhouse.url == "http://127.0.0.1:8123"
    assert settings.clickhouse.secret() == ""
    assert settings.projects == {}


def test_environment_wins_over_file_wins_over_defaults(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(env, tmp_path, "kafka: {bootstrap: file, replication: 3}\nworker: {app_id: from-file}\n")
    env.setenv("LABELWATCH_KAFKA__BOOTSTRAP", "env")
    settings = load_settings()
    assert (settings.kafka.bootstrap, settings.kafka.replication) == ("env", 3)
    assert (settings.worker.app_id, settings.worker.checkpoint_seconds) == ("from-file", 2.0)


def test_projects_declare_their_labels(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(env, tmp_path, "projects:\n  animals: {labels: [cat, dog]}\n  captions: {subjective: true}\n")
    projects = load_settings().projects
    assert projects["animals"].labels == frozenset({"cat", "dog"})
    assert projects["captions"].labels is None
    assert projects["captions"].subjective is True
    assert projects["animals"].subjective is False


def test_an_empty_file_changes_nothing(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(env, tmp_path, "# nothing yet\n")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("KAFKA__BOOTSTARP", "x", "kafka.bootstarp is not a setting; known: bootstrap, replication"),
        ("KAFAK__BOOTSTRAP", "x", "environment variable LABELWATCH_KAFAK__BOOTSTRAP: no section 'kafak'; known: kafka"),
        ("KAFKA", "{broken", 'field "kafka"'),
        ("KAFKA__REPLICATION", "0", "kafka.replication: Input should be greater than or equal to 1"),
        ("WORKER__CHECKPOINT_SECONDS", "soon", "worker.checkpoint_seconds: Input should be a valid number"),
        ("WORKER__CHECKPOINT_SECONDS", "0", "worker.checkpoint_seconds: Input should be greater than 0"),
        ("WORKER__APP_ID", "my app", "worker.app_id: String should match pattern"),
        ("WORKER__APP_ID", "my.labelers", "worker.app_id: 'my.labelers' would be the name of another application's"),
        ("RELIABILITY__MAX_CLASSES", "1", "reliability.max_classes: Input should be greater than or equal to 2"),
        ("RELIABILITY__MATERIAL_CHANGE", "0", "reliability.material_change: Input should be greater than 0"),
        (
            "CLICKHOUSE__URL",
            "clickhouse:8123",
            "clickhouse.url: 'clickhouse:8123' is not an address such as",
        ),
        ("CLICKHOUSE__URL", "http://host/path", "clickhouse.url: 'http://host/path' is not an address"),
        ("CLICKHOUSE__DATABASE", "a; DROP", "clickhouse.database: 'a; DROP' is not a plain database name"),
        ("PIPELINE__WINDOW_SECONDS", "30", "pipeline.window_seconds: Input should be 60"),
        ("PIPELINE__BREAKER_BAD_SHARE", "1.5", "pipeline.breaker_bad_share: Input should be less than or equal to 1"),
        ("PIPELINE__MAX_OPEN_TASKS", "10", "pipeline.max_open_tasks: Input should be greater than or equal to 1000"),
        ("PROJECTS__animals__lables", '["cat"]', "projects.animals.lables is not a setting; known: labels"),
        ("WEB__PORT", "65536", "web.port: Input should be less than or equal to 65535"),
        ("KAFKA__SECURITY_PROTOCOL", "SASL_SSL", "SASL_SSL needs sasl_username and sasl_password"),
    ],
)
def test_a_refused_variable_is_named(env: pytest.MonkeyPatch, name: str, value: str, problem: str) -> None:
    env.setenv(f"LABELWATCH_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert problem in str(refused.value)


def test_variables_of_other_programs_are_left_alone(env: pytest.MonkeyPatch) -> None:
    env.setenv("LABELWATCH_KAFKA_PORT", "1")
    env.setenv("LABELWATCH_DATA", "/data")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LABELWATCH_KAFKA_BOOTSTRAP", "LABELWATCH_KAFKA__BOOTSTRAP"),
        ("labelwatch_kafka_bootstrap", "LABELWATCH_KAFKA__BOOTSTRAP"),
        ("LABELWATCH_WORKER_CHECKPOINT_SECONDS", "LABELWATCH_WORKER__CHECKPOINT_SECONDS"),
        ("LABELWATCH_CLICKHOUSE_PASSWORD", "LABELWATCH_CLICKHOUSE__PASSWORD"),
    ],
)
def test_a_missing_underscore_is_pointed_out(env: pytest.MonkeyPatch, name: str, meant: str) -> None:
    env.setenv(name, "hunter2")
    with pytest.raises(SettingsError, match=rf"{name} is not a setting; did you mean {meant} ") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_names_of_the_compose_file_are_allowed(env: pytest.MonkeyPatch) -> None:
    compose = (Path(__file__).parents[2] / "docker-compose.yml").read_text("utf-8")
    names = set(re.findall(r"\$\{(LABELWATCH_\w+)", compose))
    assert len(names) > 5
    assert names >= COMPOSE_VARIABLES
    for name in names | {"LABELWATCH_DATA_DIR", "LABELWATCH_TANSU_BIN", "LABELWATCH_KAFKA_CACHE"}:
        env.setenv(name, "x")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("kafka: {bootstarp: x}", "kafka.bootstarp is not a setting; known: bootstrap, replication"),
        ("kafak: {bootstrap: x}", "kafak is not a setting; known: kafka, clickhouse"),
        ("kafka: 5", "kafka: Input should be a valid dictionary"),
        ("- kafka", "must hold sections such as `kafka:`, not a list"),
        ("kafka", "must hold sections such as `kafka:`, not a str"),
        ("kafka: [", "is not YAML: while parsing"),
        ("a: !!python/object/apply:os.system [true]", "is not YAML: could not determine a constructor"),
        (b"kafka: {bootstrap: \xe9}", "is not YAML: 'utf-8' codec"),
    ],
)
def test_a_refused_file_is_explained(
    env: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes, problem: str
) -> None:
    path = write(env, tmp_path, content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert problem in str(refused.value)
    if "not a setting" not in problem and "valid dictionary" not in problem:
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["gone.yaml", ""])
def test_a_missing_file_is_named(env: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    env.setenv("LABELWATCH_CONFIG", str(tmp_path / name))
    with pytest.raises(SettingsError, match=r"does not exist") as refused:
        load_settings()
    assert str(tmp_path / name) in str(refused.value)
    assert "LABELWATCH_CONFIG" in str(refused.value)


class TestSecrets:
    def test_password_of_a_file(self, env: pytest.MonkeyPatch, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("from-file\n")
        env.setenv("LABELWATCH_KAFKA__SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        env.setenv("LABELWATCH_KAFKA__SASL_USERNAME", "worker")
        env.setenv("LABELWATCH_KAFKA__SASL_PASSWORD", "from-variable")
        assert load_settings().kafka.password() == "from-variable"
        env.setenv("LABELWATCH_KAFKA__SASL_PASSWORD_FILE", str(secret))
        env.setenv("LABELWATCH_CLICKHOUSE__PASSWORD_FILE", str(secret))
        settings = load_settings()
        assert settings.kafka.password() == "from-file"
        assert settings.clickhouse.secret() == "from-file"

    @pytest.mark.parametrize("missing", ["SASL_USERNAME", "SASL_PASSWORD"])
    def test_sasl_without_credentials(self, env: pytest.MonkeyPatch, missing: str) -> None:
        env.setenv("LABELWATCH_KAFKA__SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        for name in {"SASL_USERNAME", "SASL_PASSWORD"} - {missing}:
            env.setenv(f"LABELWATCH_KAFKA__{name}", "x")
        with pytest.raises(SettingsError, match="kafka: SASL_PLAINTEXT needs sasl_username and"):
            load_settings()

    def test_a_secret_file_that_cannot_be_read_is_named(self, env: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for path, problem in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
            with pytest.raises(SettingsError, match=f"cannot read the secret file {path}: {problem}"):
                ClickHouseSettings(password_file=path).secret()
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        with pytest.raises(SettingsError, match="is not text"):
            ClickHouseSettings(password_file=tmp_path / "binary").secret()
        env.setenv("LABELWATCH_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
        env.setenv("LABELWATCH_KAFKA__SASL_USERNAME", "u")
        env.setenv("LABELWATCH_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "gone"))
        with pytest.raises(SettingsError, match="cannot read the secret file"):
            load_settings()

    def test_shown_nowhere(self, env: pytest.MonkeyPatch) -> None:
        env.setenv("LABELWATCH_KAFKA__SASL_PASSWORD", "hunter2")
        env.setenv("LABELWATCH_CLICKHOUSE__PASSWORD", "hunter2")
        settings = load_settings()
        assert settings.clickhouse.secret() == "hunter2"
        for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
            assert "hunter2" not in shown

    def test_not_in_errors(self, env: pytest.MonkeyPatch) -> None:
        env.setenv("LABELWATCH_CLICKHOUSE__PASSWORD", "hunter2")
        env.setenv("LABELWATCH_CLICKHOUSE__URL", "http://admin:hunter2@clickhouse:8123")
        env.setenv("LABELWATCH_CLICKHOUSE__PASSWORT", "hunter2")
        with pytest.raises(SettingsError, match=r"clickhouse\.url: user and password belong into") as refused:
            load_settings()
        assert "hunter2" not in str(refused.value)
