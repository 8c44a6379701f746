"""Settings: environment first (``LABELWATCH_KAFKA__BOOTSTRAP=...``), then one YAML file, then these defaults.

The file is named by ``LABELWATCH_CONFIG`` or ``--config``; unknown keys are errors: a typo never passes silently.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from streams.alert_page import PageTemplate

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "LABELWATCH_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
#: Names in docker-compose.yml's own .env that look like a setting with an underscore missing.
COMPOSE_VARIABLES = frozenset({f"{PREFIX}LOG_LEVEL"})

#: What makes of an application's id the names under which LABELERS, WATCH and NOTIFY keep their state.
LABELERS_SUFFIX = ".labelers"
WATCH_SUFFIX = ".watch"
NOTIFY_SUFFIX = ".notify"

Seconds = Annotated[float, Field(gt=0)]


class SettingsError(Exception):
    """The configuration cannot be used; the message says which key, and why."""


def _secret(value: SecretStr | None, file: Path | None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SettingsError(f"the secret file {file} is not text") from None
        except OSError as error:
            raise SettingsError(f"cannot read the secret file {file}: {error.strerror}") from None
    return value.get_secret_value() if value is not None else None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """How to reach the broker."""

    bootstrap: str = "127.0.0.1:9092"
    replication: Annotated[int, Field(ge=1)] = 1
    """Replication factor for created topics; 3 in production."""
    partitions: Annotated[int, Field(ge=1)] | None = None
    """Partitions of the topics that are keyed by task or by labeler, in place of the registry's."""
    session_timeout_seconds: Seconds = 10.0
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    ssl_cafile: Path | None = None

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        needs = self.security_protocol.startswith("SASL")
        if needs and (not self.sasl_username or self.password() is None):
            raise ValueError(f"{self.security_protocol} needs sasl_username and sasl_password (or sasl_password_file)")
        return self

    def password(self) -> str | None:
        """The SASL password, from the file if one is named."""
        return _secret(self.sasl_password, self.sasl_password_file)


class ClickHouseSettings(_Section):
    """How to reach ClickHouse's HTTP port."""

    url: str = "http://127.0.0.1:8123"
    database: str = "labelwatch"
    user: str = "default"
    password: SecretStr | None = None
    password_file: Path | None = None
    connect_timeout_seconds: Seconds = 10.0
    send_receive_timeout_seconds: Seconds = 60.0
    retention_days: Annotated[int, Field(ge=1)] = 400
    """How long single annotations are kept; windows are kept for good."""

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if "@" in url:  # not repeated in the message: it holds a password
            raise ValueError("user and password belong into clickhouse.user and clickhouse.password, not into the url")
        if not re.match(r"https?://[^/]+/?$", url):
            raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8123")
        return url.rstrip("/")

    @field_validator("database")
    @classmethod
    def _identifier(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise ValueError(f"{name!r} is not a plain database name (letters, digits, underscore)")
        return name

    def secret(self) -> str:
        """The password ('' if there is none), from the file if one is named.

        Raises:
            SettingsError: the file cannot be read.
        """
        return _secret(self.password, self.password_file) or ""


class PipelineSettings(_Section):
    """What SCORE believes about time, duplicates and bad input."""

    window_seconds: Literal[60] = 60
    """Width of the base window; views add up hours and days from it."""
    out_of_order_seconds: Annotated[float, Field(ge=0)] = 120.0
    """How far arrival may lag behind event time before the watermark passes an event."""
    allowed_lateness_seconds: Annotated[float, Field(ge=60)] = 3_600.0
    """How long after the watermark a window's partial stays in memory to be revised in place."""
    duplicate_horizon_seconds: Seconds = 86_400.0
    """How long a task is kept after its last event. Duplicates and revisions are recognised within it."""
    max_open_tasks: Annotated[int, Field(ge=1_000)] = 250_000
    """Per source partition; 3 kB each with three answers. Above it the task idle longest is given up."""
    clock_skew_seconds: Annotated[float, Field(ge=0)] = 300.0
    """How far past its arrival an annotation's time may lie."""
    idle_partition_seconds: Seconds = 60.0
    """A partition silent for so long no longer holds back the watermark of its windows."""
    breaker_min_messages: Annotated[int, Field(ge=10)] = 1_000
    breaker_bad_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The worker stops when more than this share of the last ``breaker_min_messages`` is bad."""


class ReliabilitySettings(_Section):
    """How labelers' reliability is learned, and when the others hear of it."""

    half_life_days: Annotated[float, Field(gt=0)] = 90.0
    """After so many days without an answer, evidence counts half."""
    half_life_annotations: Annotated[float, Field(gt=0)] = 1_000.0
    """After so many later answers, evidence counts half."""
    max_classes: Annotated[int, Field(ge=2, le=50)] = 20
    """Label spaces with more classes learn only how often a labeler is right, not which classes are confused."""
    publish_seconds: Seconds = 5.0
    """At most this long after a change, every worker is told, however small it was."""
    material_change: Annotated[float, Field(gt=0, le=1)] = 0.01
    """A labeler's accuracy moved by this much is told with the next checkpoint; so is an interval a quarter wider or
    narrower."""
    forget_days: Seconds = 400.0
    """Labelers that have not answered for so long are forgotten."""


class RulesSettings(_Section):
    """Where the rules are that decide who is told of what."""

    file: Path | None = None
    """``thresholds.yaml``, looked at again and again while workers run. None: the rules that labelwatch comes with."""
    poll_seconds: Annotated[float, Field(gt=0, le=3_600)] = 2.0
    """How often. A change is in force after two looks that find it the same."""


class ProjectSettings(_Section):
    """What is declared about one project."""

    labels: frozenset[str] | None = None
    """The classes that its labels may name; anything else is a dead letter. None: not declared."""
    subjective: bool = False
    """Whether equally good labelers may differ: there is no right answer, so nobody is called wrong."""


class NotifySettings(_Section):
    """Where alerts are sent. Addresses hold tokens and passwords: they are secrets, and never logged."""

    alertmanager_url: SecretStr | None = None
    """Alertmanager, such as http://alertmanager:9093; user and password may be in it. Of a cluster all members, with
    spaces or line ends in between: each is told, as Prometheus does."""
    alertmanager_url_file: Path | None = None
    apprise_urls: SecretStr | None = None
    """Addresses of Apprise, such as slack://..., with spaces or line ends in between."""
    apprise_urls_file: Path | None = None
    page_url: PageTemplate | None = None
    """Template of the page that messages link to; see `streams.alert_page`."""
    timeout_seconds: Annotated[float, Field(gt=0, le=10)] = 10.0
    """How long one attempt may take; a stopping worker waits for it."""
    retry_max_seconds: Seconds = 60.0
    """Longest pause between tries while a target is away."""

    def alertmanagers(self) -> list[str]:
        """Addresses of Alertmanager, from the file if one is named.

        Raises:
            SettingsError: the file cannot be read, or one is no address.
        """
        urls = (_secret(self.alertmanager_url, self.alertmanager_url_file) or "").split()
        if not all(re.fullmatch(r"https?://[^/\s]+(/\S*)?", url) for url in urls):
            raise SettingsError("notify.alertmanager_url is not an address such as http://alertmanager:9093")
        return urls

    def apprise(self) -> list[str]:
        """Apprise's addresses, from the file if one is named.

        Raises:
            SettingsError: the file cannot be read.
        """
        return (_secret(self.apprise_urls, self.apprise_urls_file) or "").split()


class WorkerSettings(_Section):
    """How a worker runs."""

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "labelwatch"
    """Kafka consumer group, and the name under which state is kept; that of LABELERS, WATCH and NOTIFY under it and
    ``.labelers``, ``.watch`` or ``.notify``."""
    instance_id: str | None = None
    """Static group membership: set to the pod's name so that a restart does not rebalance."""
    checkpoint_seconds: Seconds = 2.0
    checkpoint_events: Annotated[int, Field(ge=1)] = 50_000
    batch_max_records: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    retry_max_seconds: Seconds = 30.0
    """Longest pause between tries while ClickHouse or the broker is away."""
    stuck_after_seconds: Seconds = 60.0
    """/healthz fails when the event loop has not turned, or lag has not shrunk, for so long."""

    @field_validator("app_id")
    @classmethod
    def _no_state_of_others(cls, app_id: str) -> str:
        if app_id.endswith((LABELERS_SUFFIX, WATCH_SUFFIX, NOTIFY_SUFFIX)):
            raise ValueError(f"{app_id!r} would be the name of another application's state; end it otherwise")
        return app_id


class WebSettings(_Section):
    """Where /metrics and /healthz are served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 6066


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: coloured lines on a terminal, JSON elsewhere."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    pipeline: PipelineSettings = PipelineSettings()
    reliability: ReliabilitySettings = ReliabilitySettings()
    notify: NotifySettings = NotifySettings()
    rules: RulesSettings = RulesSettings()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    projects: dict[str, ProjectSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        path = os.environ.get(CONFIG_VARIABLE)
        if path:
            sources += (YamlConfigSettingsSource(settings_cls, yaml_file=Path(path)),)
        return sources


def load_settings() -> Settings:
    """Settings from the environment and the file it names.

    Raises:
        SettingsError: the file is missing or not YAML, or a key or value is refused; says which and why.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if path:
        _check_file(Path(path))
    _check_variables()
    try:
        return Settings()
    except SourceError as error:
        raise SettingsError(f"settings refused: {error}: a whole section in one variable must be JSON") from None
    except ValidationError as error:
        raise SettingsError(f"settings refused: {'; '.join(map(_explain, error.errors()))}") from None


def _explain(problem: ErrorDetails) -> str:
    """One refused key in our words; never its value, which may be a secret."""
    where = ".".join(map(str, problem["loc"])) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{where} is not a setting; known: {', '.join(_fields(problem['loc'][:-1]))}"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _fields(path: tuple[int | str, ...]) -> list[str]:
    """Names of the settings in a section, by its path."""
    section: Any = Settings
    for part in path:
        is_table = get_origin(section) is dict
        section = get_args(section)[1] if is_table else section.model_fields[part].annotation
    return list(section.model_fields)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise SettingsError(f"config file {path} (from {CONFIG_VARIABLE}) does not exist")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"config file {path} is not YAML: {error}") from None
    except OSError as error:
        raise SettingsError(f"config file {path} cannot be read: {error.strerror}") from None
    if not isinstance(content, dict | None):
        raise SettingsError(f"config file {path} must hold sections such as `kafka:`, not a {type(content).__name__}")


def _check_variables() -> None:
    """Refuse misspelt sections and single underscores, which pydantic passes over.

    Other names without ``__`` are other programs' business.
    """
    for name in sorted(os.environ):
        if not name.upper().startswith(PREFIX):
            continue
        rest = name.upper().removeprefix(PREFIX)
        section, nested, _ = rest.partition("__")
        if nested and section.lower() not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise SettingsError(f"environment variable {name}: no section {section.lower()!r}; known: {known}")
        section, _, key = rest.partition("_")
        if name.upper() not in COMPOSE_VARIABLES and key.lower() in _keys(section.lower()):
            raise SettingsError(
                f"environment variable {name} is not a setting; did you mean {PREFIX}{section}__{key} "
                "(two underscores after the section)?"
            )


def _keys(section: str) -> list[str]:
    """Names of the settings in a section; none for what is no section."""
    if section not in Settings.model_fields or section == "projects":  # projects are named by whoever has them
        return []
    return _fields((section,))
