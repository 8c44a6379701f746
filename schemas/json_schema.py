"""The committed JSON Schemas: what producers in other languages validate against.

    python -m schemas.json_schema             write schemas/json/<topic>.v<version>.json, and thresholds.v1.json
    python -m schemas.json_schema --check     fail with a diff when a committed one is not current
    python -m schemas.json_schema --release   also copy them to schemas/json/released, unless that breaks producers

``released`` is what producers were promised; a test compares the current models with it.
``thresholds.v1.json`` is for editors of thresholds.yaml, and promised to nobody.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.compatibility import breaking_changes
from schemas.thresholds import Thresholds
from schemas.topics import TOPICS, Topic

DIRECTORY = Path(__file__).parent / "json"
RELEASED = DIRECTORY / "released"
THRESHOLDS = "thresholds.v1.json"


def file_name(topic: Topic) -> str:
    """Where a topic's schema lives.

    >>> file_name(TOPICS[0])
    'annotations.v1.json'
    """
    return f"{topic.name}.v{topic.version}.json"


def json_schema(topic: Topic) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what the topic's messages must be."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:labelwatch:{topic.name}:v{topic.version}",
        **topic.schema.model_json_schema(mode="validation"),
    }


def render(topic: Topic) -> str:
    """The file's text: sorted keys, so that a diff shows only what changed."""
    return _text(json_schema(topic))


def render_thresholds() -> str:
    """The text of the schema of ``thresholds.yaml``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:labelwatch:thresholds:v1",
        **Thresholds.model_json_schema(mode="validation"),
    }
    return _text(schema)


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def differences(directory: Path = DIRECTORY) -> str:
    """A unified diff from the committed files to what the models say; '' when current."""
    lines: list[str] = []
    expected = {file_name(topic): render(topic) for topic in TOPICS} | {THRESHOLDS: render_thresholds()}
    for name in sorted(expected.keys() | {path.name for path in directory.glob("*.json")}):
        path = directory / name
        committed = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines += difflib.unified_diff(
            committed.splitlines(keepends=True),
            expected.get(name, "").splitlines(keepends=True),
            f"committed/{name}",
            f"models/{name}",
        )
    return "".join(lines)


def released_breaks(released: Path = RELEASED) -> Iterator[str]:
    """What would make a message refused that a released schema allows; one sentence each.

    A released topic or version that is no longer in the registry counts too.
    """
    current = {file_name(topic): json_schema(topic) for topic in TOPICS}
    for path in sorted(released.glob("*.json")):
        if path.name not in current:
            yield f"{path.name}: was released and is gone from schemas/topics.py"
            continue
        for change in breaking_changes(json.loads(path.read_text(encoding="utf-8")), current[path.name]):
            yield f"{path.name}: {change}"


def main(arguments: list[str] | None = None, directory: Path = DIRECTORY, released: Path = RELEASED) -> int:
    """Entry point. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.json_schema", description=(__doc__ or "").splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing; fail with a diff when not current")
    choice.add_argument("--release", action="store_true", help="also copy to released/, unless that is breaking")
    options = parser.parse_args(arguments)
    if options.check:
        diff = differences(directory)
        if diff:
            sys.stdout.write(diff)
            print("JSON Schemas are not current. Run: python -m schemas.json_schema", file=sys.stderr)
        return 1 if diff else 0
    breaks = list(released_breaks(released)) if options.release else []
    if breaks:
        print("\n".join(breaks), file=sys.stderr)
        print("Breaking: give the topic a new version in schemas/topics.py instead.", file=sys.stderr)
        return 1
    for target in (directory, released) if options.release else (directory,):
        target.mkdir(exist_ok=True)
        for topic in TOPICS:
            (target / file_name(topic)).write_text(render(topic), encoding="utf-8")
    (directory / THRESHOLDS).write_text(render_thresholds(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
