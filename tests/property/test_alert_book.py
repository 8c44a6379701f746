"""Alerts are a function of the verdicts: however they are packed, repeated, or interrupted by restarts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detectors.alerts.alert import Transition
from detectors.alerts.book import AlertBook
from detectors.alerts.inhibition import inhibits
from schemas.verdicts import Verdict, Verdicts
from tests.alerts import HOUR, MINUTE, T0, batch, rule, scope, verdict

NIGHT = {"quiet_hours": [{"from": "11:00", "to": "13:00"}]}
RULES = [
    (rule("vendor", severity="critical"), scope("vendor")),
    (rule("labeler", no_data="alert", **{"for": "10m"}), scope("labeler")),
    (rule("labeler", no_data="alert", **{"for": "10m"}), scope("labeler", labeler_id="ben")),
    (rule("night", schedule=NIGHT, no_data="ok"), scope("project")),
    (rule("agreement", metric="consensus_agreement"), scope("segment")),
    (rule("agreement", metric="consensus_agreement"), scope("segment", vendor_id="peers")),
    (rule("few", metric="consensus_agreement", schedule=NIGHT), scope("segment")),
    (rule("all", severity="critical", schedule=NIGHT, resolve_after="10m"), scope("all")),
]
KINDS = ["breach", "breach", "recovered", "recovered", "withdrawn", "silent", "speaking", "new_level", "dropped"]


@st.composite
def stories(draw: st.DrawFn) -> list[Verdict]:
    found, at = [], T0
    for number in range(1, draw(st.integers(1, 25)) + 1):
        at += draw(st.integers(0, 90)) * MINUTE
        of, on = draw(st.sampled_from(RULES))
        seen_since = draw(st.none() | st.integers(T0, at))
        kind, labelers = draw(st.sampled_from(KINDS)), 3 if of.name == "few" else None
        found.append(verdict(number, kind, at, of, on, seen_since=seen_since, labelers=labelers))  # type: ignore[arg-type]  # a kind
    return found


def packed(story: list[Verdict], data: st.DataObject) -> list[Verdicts]:
    """The verdicts in messages of any size, with clocks in between, some of them twice."""
    batches, start = list[Verdicts](), 0
    while start < len(story):
        end = data.draw(st.integers(start + 1, len(story)))
        latest = story[end - 1].at_ms
        following = story[end].at_ms if end < len(story) else latest + HOUR
        one = batch(*story[start:end], clock=data.draw(st.integers(latest, following)))
        batches += [one] * data.draw(st.integers(1, 2))
        start = end
    return batches


def lived(batches: list[Verdicts], *, restart: bool = False) -> list[Transition]:
    book, rows, found = AlertBook("labelwatch"), dict[tuple[str, str], str | None](), list[Transition]()
    for one in batches:
        found += book.take(one)
        if restart:
            rows.update({(kind, key): payload for kind, key, payload in book.take_changed()})
            book = AlertBook("labelwatch")
            book.load([(kind, key, payload) for (kind, key), payload in rows.items() if payload is not None])
    return found


END = batch(clock=T0 + 200 * HOUR)


@given(stories(), st.data())
def test_packing_and_repeating_do_not_matter(story: list[Verdict], data: st.DataObject) -> None:
    expected = lived([batch(one) for one in story] + [END])
    assert lived([*packed(story, data), END]) == expected


@given(stories())
def test_restarts_do_not_matter(story: list[Verdict]) -> None:
    batches = [*(batch(one) for one in story), END]
    assert lived(batches, restart=True) == lived(batches)


@given(stories())
def test_what_holds_of_every_life(story: list[Verdict]) -> None:
    book, states = AlertBook("labelwatch"), dict[str, Any]()
    firing, ended = Counter[str](), Counter[str]()
    for one in [*(batch(one) for one in story), END]:
        for transition in book.take(one):
            alert = transition.alert
            before = states.get(alert.alert_id)
            assert before != "resolved" or alert.revision == 1, "nothing rises from the dead"
            states[alert.alert_id] = alert.state
            firing[alert.alert_id] += transition.notice == "firing"
            if transition.notice == "apart":
                assert alert.is_of_few
                assert alert.held == "inhibited"
            if transition.change == "released" and alert.rule.name not in ("night", "all", "few"):
                assert one.verdicts[0].kind == "breach", "what a broader one held is told when it is confirmed"
            ended[alert.alert_id] += transition.notice == "resolved"
        opened = book.open
        assert len({alert.key for alert in opened}) == len(opened)
        for alert in opened:
            if alert.held == "inhibited":
                assert any(inhibits(other, alert) for other in opened), "held for something that is there"
            if alert.state == "firing":
                assert (alert.told > 0) is (alert.held == "")
    assert all(count <= 1 for count in firing.values()), "each alert is told once"
    assert all(ended[one] <= firing[one] for one in ended), "no end of what was never told"
