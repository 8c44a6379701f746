"""A real Alertmanager, for tests: Debian's package, unpacked into a cache; nothing is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parents[1]
SHIPPED = REPO / "deploy" / "alertmanager" / "alertmanager.yml"
#: Names the program, or another folder for the unpacked package.
PROGRAM_VARIABLE = "LABELWATCH_ALERTMANAGER"
CACHE_VARIABLE = "LABELWATCH_ALERTMANAGER_CACHE"
_PACKAGE = "prometheus-alertmanager"
#: Where Debian's program looks for its templates; unpacked elsewhere, it looks in the folder that it is started in.
_TEMPLATES = b"/usr/share/prometheus/alertmanager"
_HERE = b"/proc/self/cwd".ljust(len(_TEMPLATES), b"/")
_SECONDS = 120


def program() -> tuple[str, Path | None]:
    """Path of the program, and the folder to start it in; skips the test, saying why, where it cannot be had."""
    if named := os.environ.get(PROGRAM_VARIABLE):
        return named, None
    for name in (_PACKAGE, "alertmanager"):
        if found := shutil.which(name):
            return found, None
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelwatch" / "alertmanager"
    cache = Path(os.environ.get(CACHE_VARIABLE) or default)
    unpacked = cache / _PACKAGE
    if not unpacked.is_file():
        _unpack(cache)
        content = (cache / "usr" / "bin" / _PACKAGE).read_bytes()
        new = unpacked.with_suffix(".new")
        new.write_bytes(content.replace(_TEMPLATES, _HERE))
        new.chmod(0o755)
        new.replace(unpacked)
    return str(unpacked), cache / _TEMPLATES.decode().lstrip("/")


def _unpack(cache: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip(
            f"no Alertmanager: not on PATH, {PROGRAM_VARIABLE} is not set, and this is no Debian to get it from"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["apt-get", "download", _PACKAGE],
            ["apt-get", "update", "-q"],
            ["apt-get", "download", _PACKAGE],
        ):
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
            if packages := list(Path(folder).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(cache)], check=True, timeout=_SECONDS)
                return
    pytest.skip(f"no Alertmanager: {' '.join(command)} failed: {ran.stderr.strip()[-300:]}")


class Alertmanager:
    """One that runs; ``url`` is its address."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def alerts(self) -> dict[str, dict[str, Any]]:
        """What it knows, by labeler or else vendor."""
        found = self.get("/api/v2/alerts")
        return {one["labels"].get("labeler_id") or one["labels"]["vendor_id"]: one for one in found}

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def config(hook_port: int) -> str:
    """The shipped configuration, with a webhook behind its receivers, and quicker."""
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for receiver in shipped["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{hook_port}/", "send_resolved": True}]
    shipped["route"].update(group_wait="500ms", group_interval="500ms")
    return yaml.safe_dump(shipped)


@contextmanager
def alertmanager(folder: Path, hook_port: int) -> Iterator[Alertmanager]:
    """One with the shipped rules, that sends to a webhook; it ends with the block."""
    found, here = program()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "alertmanager.yml").write_text(config(hook_port))
    command = [
        found, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with (folder / "alertmanager.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=here)
    try:
        running, deadline = Alertmanager(port), time.monotonic() + 30
        while not running.is_ready():
            assert process.poll() is None, (folder / "alertmanager.log").read_text()[-2_000:]
            assert time.monotonic() < deadline, "Alertmanager does not become ready"
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=20)
