"""Where Apache Kafka's jars and a fitting Java are.

Maven resolves `pom.xml` once; the answer is kept under the hash of that file, so that later starts need neither
Maven nor a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

POM = Path(__file__).with_name("pom.xml")
CACHE_VARIABLE = "LABELWATCH_KAFKA_CACHE"
"""Names another folder for the resolved class path."""
MINIMUM_JAVA = 17
_RESOLVE_SECONDS = 600
_GOAL = "dependency:build-classpath"


class KafkaServerError(RuntimeError):
    """Apache Kafka cannot be run here, or did not start; says what was tried and what to do."""


def kafka_version(pom: Path = POM) -> str:
    """The version that `pom` asks for, such as ``4.2.1``."""
    root = ElementTree.parse(pom).getroot()  # noqa: S314 - our own file
    found = root.findtext("m:properties/m:kafka.version", namespaces={"m": "http://maven.apache.org/POM/4.0.0"})
    if not found:
        raise KafkaServerError(f"{pom} has no kafka.version property")
    return found


def find_java() -> str:
    """Path of a Java program of version 17 or newer: $JAVA_HOME's, else the one on PATH.

    Raises KafkaServerError.
    """
    home = os.environ.get("JAVA_HOME")
    candidate = Path(home, "bin", "java") if home else None
    java = str(candidate) if candidate and candidate.is_file() else shutil.which("java")
    if java is None:
        raise KafkaServerError(f"no java on PATH or in JAVA_HOME; install Java {MINIMUM_JAVA} or newer")
    try:
        report = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise KafkaServerError(f"{java} -version failed: {error}; install Java {MINIMUM_JAVA} or newer") from None
    version = java_major(report)
    if version is None or version < MINIMUM_JAVA:
        raise KafkaServerError(
            f"{java} is Java {version or '(unknown version)'}; Kafka {kafka_version()} needs {MINIMUM_JAVA} or newer"
        )
    return java


def java_major(report: str) -> int | None:
    """Major version in what ``java -version`` prints.

    >>> java_major('openjdk version "17.0.15" 2025-04-15'), java_major('java version "1.8.0_391"'), java_major("?")
    (17, 8, None)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', report)
    return int(found[1]) if found else None


def cached_classpath(pom: Path = POM) -> str | None:
    """The class path resolved earlier for this very `pom`, if all of its jars are still there."""
    try:
        classpath = _cache_file(pom).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return classpath if classpath and all(Path(jar).is_file() for jar in classpath.split(os.pathsep)) else None


def resolve_classpath(report: Callable[[str], object], pom: Path = POM) -> str:
    """The class path of `pom`: from the cache, else by Maven, telling `report` about progress.

    Raises KafkaServerError, which names Maven's log.
    """
    cache = _cache_file(pom)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits for the first one's download
        return cached_classpath(pom) or _run_maven(report, pom, cache)


def _cache_file(pom: Path) -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "labelwatch", "kafka")
    folder = Path(os.environ.get(CACHE_VARIABLE) or default)
    return folder / f"classpath-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}.txt"


def _run_maven(report: Callable[[str], object], pom: Path, cache: Path) -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaServerError("Kafka's jars are not resolved yet, and no mvn is on PATH; install Maven 3.8 or newer")
    report(f"resolving Apache Kafka {kafka_version(pom)} with Maven (once; about 45 MB)")
    log_path, output = cache.with_suffix(".log"), cache.with_suffix(".new")
    output.unlink(missing_ok=True)
    command = [maven, "-B", "-f", str(pom), _GOAL, "-Dmdep.includeScope=runtime", f"-Dmdep.outputFile={output}"]
    downloaded = 0
    with log_path.open("w", encoding="utf-8") as log:
        maven_process = subprocess.Popen(
            ["timeout", str(_RESOLVE_SECONDS), *command] if shutil.which("timeout") else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cache.parent,
        )
        assert maven_process.stdout is not None  # PIPE
        with maven_process:
            for line in maven_process.stdout:
                log.write(line)
                if "Downloaded from" in line:
                    downloaded += 1
                    if downloaded % 25 == 0:
                        report(f"downloaded {downloaded} files")
    if maven_process.returncode != 0 or not output.is_file():
        raise KafkaServerError(
            f"Maven could not resolve {pom} (exit code {maven_process.returncode}); see {log_path}. "
            "It needs a reachable Maven repository the first time."
        )
    output.replace(cache)
    classpath = cached_classpath(pom)
    if classpath is None:
        raise KafkaServerError(f"Maven named jars that do not exist; delete {cache} and try again (log: {log_path})")
    report(f"resolved {classpath.count(os.pathsep) + 1} jars; kept in {cache}")
    return classpath
