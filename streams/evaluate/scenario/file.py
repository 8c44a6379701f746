"""Reading a scenario file, or refusing it with the lines and reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from schemas.scenario import Scenario
from streams.yaml_document import DocumentError, parse

#: Where those that labelwatch comes with are: ``incidents`` and ``calm``.
SHIPPED: Final = Path(__file__).parents[3] / "deploy" / "scenarios"
MAX_BYTES: Final = 262_144
_SHOWN: Final = 10


class ScenarioFileError(ValueError):
    """A scenario cannot be used; the text names file, line, field and reason, one problem a line."""


def load(name: str) -> Scenario:
    """A scenario by its file, or one of the shipped ones by its name.

    Raises:
        ScenarioFileError: it does not exist, cannot be read, or says what cannot be.
    """
    path = shipped if (shipped := SHIPPED / f"{name}.yaml").is_file() and "/" not in name else Path(name)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ScenarioFileError(f"{path}: is larger than {MAX_BYTES // 1024} KiB; scenarios are not so long")
        return parse_scenario(data.decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in SHIPPED.glob("*.yaml")))
        raise ScenarioFileError(f"{path}: does not exist; give a file, or a shipped scenario: {known}") from None
    except OSError as error:
        raise ScenarioFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioFileError(f"{path}: is not text in UTF-8") from None


def parse_scenario(text: str, source: str) -> Scenario:
    """A scenario from its text.

    Raises:
        ScenarioFileError: as `load`.
    """
    try:
        document = parse(text)
    except DocumentError as error:
        line, column, _, reason = error.problem
        raise ScenarioFileError(f"{source}:{line}:{column}: {reason}") from None
    try:
        return Scenario.model_validate(document.values)
    except ValidationError as error:
        lines = []
        for one in error.errors(include_url=False)[:_SHOWN]:
            location = one["loc"]
            line, column = document.where(location, key=one["type"] in ("extra_forbidden", "missing"))
            field = ".".join(str(part) for part in location)
            reason = one["msg"].removeprefix("Value error, ")
            lines.append(f"{source}:{line}:{column}: {f'{field}: ' if field else ''}{reason}")
        raise ScenarioFileError("\n".join(lines)) from None
