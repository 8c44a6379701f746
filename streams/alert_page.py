"""The link to an alert's page: a template of whoever runs labelwatch, filled with what the alert is about."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator

#: What a template may name, as ``$name`` or ``${name}``; ``$$`` is a dollar sign. Values are quoted for a URL, and
#: empty where the scope does not tell them apart. Times are milliseconds since the Unix epoch.
PAGE_FIELDS: Final[tuple[str, ...]] = (
    "rule",
    "metric",
    "severity",
    "state",
    "project_id",
    "task_type",
    "vendor_id",
    "labeler_id",
    "since_ms",
    "at_ms",
    "alert_id",
)
MAX_URL: Final = 2_000


def check_page_template(text: str) -> str:
    """The template, if it can be filled.

    Raises:
        ValueError: it is no address, or names a field that does not exist; says which, and which there are.

    >>> check_page_template("https://watch.example/a?who=${vendor}")
    Traceback (most recent call last):
    ...
    ValueError: unknown field $vendor; known: rule, metric, severity, state, project_id, task_type, vendor_id, ...
    """
    template = Template(text)
    if not template.is_valid():
        raise ValueError("a $ that is not part of a field such as ${rule}; write $$ for a dollar sign")
    unknown = [name for name in template.get_identifiers() if name not in PAGE_FIELDS]
    if unknown:
        raise ValueError(f"unknown field ${unknown[0]}; known: {', '.join(PAGE_FIELDS)}")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or any(one.isspace() for one in text):
        raise ValueError(
            f"{text[:200]!r} is not an address such as https://grafana.example/d/labelwatch?var-rule=$rule"
        )
    if "$" in parts.netloc:
        raise ValueError("the host must be fixed: fields belong behind it")
    return text


PageTemplate = Annotated[str, AfterValidator(check_page_template)]
"""For settings: refused while they are loaded, not when the first alert fires."""


def page_url(template: str, fields: Mapping[str, str | int]) -> str:
    """The link of one alert; the template alone where it would be longer than browsers take.

    Raises:
        KeyError: a field has no value.

    >>> page_url("https://watch.example/a?who=$vendor_id", {"vendor_id": "R&D / x"})
    'https://watch.example/a?who=R%26D%20%2F%20x'
    """
    values = {name: quote(str(value), safe="", errors="replace") for name, value in fields.items()}
    url = Template(template).substitute(values)
    return url if len(url) <= MAX_URL else Template(template).substitute(dict.fromkeys(values, ""))
