"""Which alert says all that another would say."""

from __future__ import annotations

from typing import Final

from detectors.alerts.alert import Alert
from schemas.scope import SEGMENT_FIELDS, parse_scope
from schemas.thresholds import Severity
from schemas.verdicts import VerdictScope

_BREADTH: Final[dict[str, int]] = {"labeler": 0, "segment": 1, "vendor": 2, "project": 2, "task_type": 2, "all": 3}
#: Who works at another hour of the day is heard by then. What changes later is news, whatever fires by now.
NEWS_MS: Final = 24 * 3_600_000
_RANK: Final[dict[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}


def breadth(kind: str) -> int:
    """How much scopes of a kind hold: 0 for labelers, 3 for everything."""
    return _BREADTH[kind]


def is_broader(broad: VerdictScope, narrow: VerdictScope) -> bool:
    """Whether all that is in one scope is in the other, which is of a broader kind.

    What the broad scope leaves empty it does not tell apart. Where its expression asks for a field that the narrow one
    leaves open, nobody knows, and the answer is no.

    >>> vendor = VerdictScope(kind="vendor", text="vendor", vendor_id="acme")
    >>> labeler = VerdictScope(kind="labeler", text="labeler", project_id="p", vendor_id="acme", labeler_id="ana")
    >>> is_broader(vendor, labeler), is_broader(labeler, vendor)
    (True, False)
    """
    if breadth(broad.kind) <= breadth(narrow.kind):
        return False
    fields = {name: str(getattr(narrow, name)) for name in SEGMENT_FIELDS}
    if any(getattr(broad, name) not in ("", value) for name, value in fields.items()):
        return False
    scope = parse_scope(broad.text)
    if scope.where is None:
        return True
    return all(fields[name] for name, _ in scope.names()) and scope.matches(fields)


def speaks_of_peers(first: Alert, later: Alert) -> bool:
    """Whether an alert on agreement may be about whom people disagree with: others on the same project's tasks.

    Agreement does not say who is wrong. Where it falls in several segments of one project, the first alert speaks for
    the others, and so does one on gold at any time, which knows.
    """
    one, other = first.scope, later.scope
    if later.rule.metric != "consensus_agreement" or not one.kind == other.kind == "segment":
        return False
    if (one.project_id, one.task_type) != (other.project_id, other.task_type) or one.vendor_id == other.vendor_id:
        return False
    is_earlier = (first.fired_ms or 0, first.key) < (later.fired_ms or 0, later.key)
    return first.rule.metric == "gold_accuracy" or (first.rule.metric == later.rule.metric and is_earlier)


def speaks_for_few(broad: Alert, narrow: Alert) -> bool:
    """Whether an alert on all of a scope says what one on a few of its labelers would; not the other way round."""
    names = (*SEGMENT_FIELDS, "labeler_id")
    is_same = all(getattr(broad.scope, name) == getattr(narrow.scope, name) for name in names)
    return is_same and broad.figures is not None and not broad.is_of_few and narrow.is_of_few


def may_be_apart(broad: Alert, narrow: Alert) -> bool:
    """Whether an alert may be news though ``broad`` inhibits it: people who changed by themselves.

    A vendor or a project that changed takes all of its segments with it, and a few labelers of each look worst. Whether
    these stand out from the others there is for the explanation to say. An alert on all of the same segment says it,
    too, where people are told of that one.
    """
    return narrow.is_of_few and not (broad.held == "" and speaks_for_few(broad, narrow))


def inhibits(broad: Alert, narrow: Alert) -> bool:
    """Whether people need not hear of ``narrow`` while ``broad`` fires: the same kind of trouble, at least as severe.

    One that quiet hours hold back, or that waits to be confirmed, inhibits nothing: nobody would be told at all. Nor
    does one that fired a day before the narrow change began: a project may seem bad for long after an incident, while
    little comes of it, and people would not hear of the next one.
    """
    began_ms = narrow.began_ms if narrow.figures is None else narrow.figures.since_ms
    return (
        broad.state == "firing"
        and broad.held not in ("quiet", "unconfirmed")
        and broad.family == narrow.family
        and _RANK[broad.rule.severity] >= _RANK[narrow.rule.severity]
        and began_ms - (broad.fired_ms or 0) < NEWS_MS
        and (is_broader(broad.scope, narrow.scope) or speaks_for_few(broad, narrow) or speaks_of_peers(broad, narrow))
    )
