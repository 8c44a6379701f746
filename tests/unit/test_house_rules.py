"""Rules that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
MAX_LINES = 400


def _files(*patterns: str) -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", *patterns], cwd=REPO, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [REPO / name for name in listed.stdout.splitlines() if (REPO / name).is_file()]


def test_no_module_is_longer_than_a_person_reads() -> None:
    files = _files("*.py")
    assert len(files) > 100
    long = {str(f.relative_to(REPO)): n for f in files if (n := len(f.read_text("utf-8").splitlines())) > MAX_LINES}
    assert long == {}


def test_documents_link_to_what_is_there() -> None:
    broken = []
    for page in _files("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPO)}: {target}")
    assert broken == []


def test_the_lock_pins_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (REPO / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - pinned == set()
