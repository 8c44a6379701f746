"""Finding Java and Kafka's jars where something is missing; the integration test runs the broker itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy.kafka import server
from deploy.kafka.classpath import (
    CACHE_VARIABLE,
    POM,
    KafkaServerError,
    cached_classpath,
    find_java,
    java_major,
    kafka_version,
    resolve_classpath,
)


def program(folder: Path, name: str, script: str) -> None:
    """A program on the PATH of these tests that does what `script` says."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def java(folder: Path, version: str) -> None:
    program(folder, "java", f"echo 'openjdk version \"{version}\"' >&2")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH; the cache is empty and JAVA_HOME unset."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.mark.parametrize(
    ("report", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_391"', 8),
        ("command not found", None),
    ],
)
def test_the_major_version_is_read_in_both_styles(report: str, major: int | None) -> None:
    assert java_major(report) == major


def test_without_java_the_reason_says_what_to_install(programs: Path) -> None:
    assert "install Java 17" in str(server.available())


def test_an_old_java_is_refused_by_its_path_and_version(programs: Path) -> None:
    java(programs, "11.0.2")
    with pytest.raises(KafkaServerError, match=rf"{programs}/java is Java 11; Kafka {kafka_version()} needs 17"):
        find_java()


def test_a_java_that_fails_is_named(programs: Path) -> None:
    program(programs, "java", "exit 3")
    with pytest.raises(KafkaServerError, match=f"{programs}/java -version failed"):
        find_java()


def test_java_home_wins_over_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java(programs, "11.0.2")
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    java(tmp_path / "jdk" / "bin", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == str(tmp_path / "jdk" / "bin" / "java")


def test_maven_is_needed_only_until_the_jars_are_resolved(programs: Path, tmp_path: Path) -> None:
    java(programs, "17.0.15")
    assert "no mvn is on PATH" in str(server.available())
    with pytest.raises(KafkaServerError, match="no mvn is on PATH"):
        resolve_classpath(lambda _: None)

    jar = tmp_path / "kafka.jar"
    jar.touch()
    program(programs, "mvn", f'for last; do :; done; echo {jar} > "${{last#*=}}"')
    said: list[str] = []
    assert resolve_classpath(said.append) == str(jar)
    assert f"Apache Kafka {kafka_version()}" in said[0]

    (programs / "mvn").unlink()
    assert server.available() is None
    assert resolve_classpath(said.append) == str(jar)

    jar.unlink()
    assert cached_classpath() is None
    assert "no mvn is on PATH" in str(server.available())


def test_another_pom_is_resolved_anew(programs: Path, tmp_path: Path) -> None:
    jar = tmp_path / "kafka.jar"
    jar.touch()
    program(programs, "mvn", f'for last; do :; done; echo {jar} > "${{last#*=}}"')
    resolve_classpath(lambda _: None)
    newer = tmp_path / "pom.xml"
    newer.write_text(POM.read_text(encoding="utf-8").replace(kafka_version(), "9.9.9"))

    assert cached_classpath(POM) == str(jar)
    assert cached_classpath(newer) is None


def test_a_failed_resolve_names_the_log_and_leaves_no_cache(programs: Path, tmp_path: Path) -> None:
    program(programs, "mvn", "echo Could not transfer artifact; exit 1")

    with pytest.raises(KafkaServerError, match=r"exit code 1\); see (\S+\.log)\.") as raised:
        resolve_classpath(lambda _: None)

    (log,) = (tmp_path / "cache").glob("*.log")
    assert str(log) in str(raised.value)
    assert "Could not transfer artifact" in log.read_text()
    assert cached_classpath() is None


def test_a_resolve_that_names_missing_jars_is_an_error(programs: Path) -> None:
    program(programs, "mvn", f'for last; do :; done; echo /nowhere.jar{os.pathsep}/b.jar > "${{last#*=}}"')
    with pytest.raises(KafkaServerError, match="jars that do not exist"):
        resolve_classpath(lambda _: None)
