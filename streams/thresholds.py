"""Reading ``thresholds.yaml``: whole and right, or refused with every line and reason."""

from __future__ import annotations

import difflib
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from detectors.rule_check import problems
from schemas.schedule import QuietHours, Schedule
from schemas.thresholds import Rule, RuleSettings, Thresholds
from streams.yaml_document import Document, DocumentError, Problem, parse

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_BYTES: Final = 262_144
#: YAML's own end of a document. A file that ends with it cannot be taken for whole when half of it is written.
END_MARK: Final = "..."
#: The rules that hold where there is no file.
SHIPPED: Final = Path(__file__).parents[1] / "deploy" / "thresholds.yaml"
_SHOWN_PROBLEMS: Final = 20
#: Path in the file, positions left out, to what may be said there.
_MODELS: Final[dict[tuple[str, ...], type[BaseModel]]] = {
    (): Thresholds,
    ("defaults",): RuleSettings,
    ("rules",): Rule,
    ("defaults", "schedule"): Schedule,
    ("rules", "schedule"): Schedule,
    ("defaults", "schedule", "quiet_hours"): QuietHours,
    ("rules", "schedule", "quiet_hours"): QuietHours,
}


class ThresholdsError(Exception):
    """A file of rules is refused; the text has one line a problem: file, line, column, field and reason."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(self.lines()))

    def lines(self) -> Iterator[str]:
        """One sentence a problem, at most twenty."""
        for line, column, field, reason in self.problems[:_SHOWN_PROBLEMS]:
            place = f"{self.source}:{line}:{column}" if line else self.source
            yield f"{place}: {f'{field}: ' if field else ''}{reason}"
        if len(self.problems) > _SHOWN_PROBLEMS:
            yield f"{self.source}: and {len(self.problems) - _SHOWN_PROBLEMS} more"


@dataclass(frozen=True, slots=True)
class LoadedThresholds:
    """Rules with what they were read from."""

    source: str
    """The file, as it was named."""
    text: str
    sha256: str
    """Of the file's bytes, hexadecimal."""
    rules: tuple[Rule, ...]
    """Defaults filled in."""
    lines: tuple[int, ...]
    """Where each rule begins."""
    scope_lines: tuple[int, ...]
    """Where its scope is said; where it begins if it does not say."""
    changed_at: datetime
    """The file's modification time (aware UTC)."""
    changed_by: str

    @property
    def is_shipped(self) -> bool:
        """Whether they are those that labelwatch comes with."""
        return self.source == str(SHIPPED)

    @property
    def is_ended(self) -> bool:
        """Whether the text ends with the end mark; comments may follow it."""
        parts = (line.partition("#")[0].rstrip() for line in self.text.splitlines())
        return next((part for part in reversed(list(parts)) if part), "") == END_MARK


def load(path: Path) -> LoadedThresholds:
    """The rules of a file.

    Raises:
        ThresholdsError: it is missing, no plain file, too big, no text, not YAML, or says what cannot be.
    """
    source = str(path)
    data, status = _read(path)
    changed_at = datetime.fromtimestamp(max(status.st_mtime, 0), UTC)
    return parse_thresholds(data, source, changed_at=changed_at, owner=_owner(status.st_uid))


def shipped() -> LoadedThresholds:
    """The rules that labelwatch comes with."""
    return load(SHIPPED)


def parse_thresholds(data: bytes, source: str, *, changed_at: datetime, owner: str = "") -> LoadedThresholds:
    """The rules of a file's bytes; ``owner`` is who changed it where the file does not say.

    Raises:
        ThresholdsError: as `load`; nothing else, whatever the bytes are.
    """
    if len(data) > MAX_BYTES:
        raise ThresholdsError(source, (_too_big(),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ThresholdsError(source, (Problem(line, column, "", "not text in UTF-8"),)) from None
    try:
        document = parse(text)
    except DocumentError as error:
        raise ThresholdsError(source, (error.problem,)) from None
    thresholds = _validated(document, source)
    refused = []
    for number, field, reason in problems(thresholds):
        line, column = document.where(("rules", number, field))
        refused.append(Problem(line, column, f"rules[{number}].{field}", reason))
    if refused:
        raise ThresholdsError(source, tuple(sorted(refused)))
    numbers = range(len(thresholds.rules))
    return LoadedThresholds(
        source=source,
        text=text,
        sha256=hashlib.sha256(data).hexdigest(),
        rules=thresholds.rules,
        lines=tuple(document.where(("rules", number))[0] for number in numbers),
        scope_lines=tuple(document.where(("rules", number, "scope"))[0] for number in numbers),
        changed_at=changed_at,
        changed_by=thresholds.changed_by or owner,
    )


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Bytes and status of a plain file; a pipe or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ThresholdsError(str(path), (Problem(0, 0, "", "is not a plain file"),))
            data = file.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b"\0" * (MAX_BYTES + 1)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise ThresholdsError(str(path), (Problem(0, 0, "", reason),)) from None
    except ValueError:  # a NUL in the name
        raise ThresholdsError(repr(str(path)), (Problem(0, 0, "", "is no file name"),)) from None
    return data, status


def _too_big() -> Problem:
    return Problem(0, 0, "", f"is larger than {MAX_BYTES // 1024} KiB; rules are not so many")


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _validated(document: Document, source: str) -> Thresholds:
    if not isinstance(document.values, dict):
        line, column = document.where(())
        what = type(document.values).__name__
        raise ThresholdsError(source, (Problem(line, column, "", f"must hold `version` and `rules`, not a {what}"),))
    try:
        return Thresholds.model_validate(document.values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # pydantic does not count rules that are wrong, and would add that there are too few
        found = sorted(_problem(document, one) for one in errors if one["type"] != "too_short" or not one["input"])
        raise ThresholdsError(source, tuple(found)) from None


def _problem(document: Document, error: ErrorDetails) -> Problem:
    location = error["loc"]
    line, column = document.where(location, key=error["type"] in ("extra_forbidden", "missing"))
    field = ""
    for part in location:
        if part != "[key]":
            field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)[:80]
    return Problem(line, column, field, _reason(error))


def _reason(error: ErrorDetails) -> str:
    """In our words, with what was written and what may have been meant."""
    location, kind, wrong = error["loc"], error["type"], error["input"]
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be").replace("a valid ", "")
    if kind in ("missing", "too_short"):
        return "is missing" if kind == "missing" else "is empty"
    if kind == "int_type":
        return f"must be a whole number, not {_shown(wrong)}"
    if kind == "extra_forbidden":
        known = _known_fields(location[:-1])
        return f"there is no such field{_meant(str(location[-1]), known)}; known: {', '.join(known)}"
    if kind == "literal_error":
        choices = [str(one) for one in _choices(location)]
        return f"{message}, not {_shown(wrong)}{_meant(str(wrong), choices)}"
    if kind == "string_type" and isinstance(wrong, int | float):
        return f"must be text: write it in quotes, '{str(wrong).lower() if isinstance(wrong, bool) else wrong}'"
    if kind in ("model_type", "dict_type", "tuple_type"):
        what = "a list" if kind == "tuple_type" else "fields, one a line"
        return f"must be {what}, not {_shown(wrong)}"
    if kind == "string_pattern_mismatch":
        return f"{_shown(wrong)} is not of the form {error['ctx']['pattern']}"
    return message if kind == "value_error" else f"{message}, not {_shown(wrong)}"


def _shown(value: object) -> str:
    if isinstance(value, dict | list | tuple):
        return "a list" if not isinstance(value, dict) else "fields"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return repr(value)[:60]


def _meant(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong[:80], known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _known_fields(location: tuple[int | str, ...]) -> list[str]:
    model = _MODELS.get(tuple(part for part in location if isinstance(part, str)), Thresholds)
    return [field.alias or name for name, field in model.model_fields.items()]


def _choices(location: tuple[int | str, ...]) -> tuple[Any, ...]:
    """What may be written at a place that has a fixed choice."""
    names = [part for part in location if isinstance(part, str)]
    model = _MODELS.get(tuple(names[:-1]), Thresholds)
    waiting = [model.model_fields[names[-1]].annotation] if names[-1] in model.model_fields else []
    found: list[Any] = []
    while waiting:
        for argument in get_args(waiting.pop()):
            if get_args(argument):
                waiting.append(argument)
            elif isinstance(argument, str):
                found.append(argument)
    return tuple(found)
