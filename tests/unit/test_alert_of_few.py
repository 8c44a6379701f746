"""Alerts on a few of a scope's labelers, beside those on all of it."""

from __future__ import annotations

import pytest

from detectors.alerts.book import AlertBook
from tests.alerts import MINUTE, T0, batch, figures, rule, scope, verdict


@pytest.mark.parametrize(
    ("first", "later", "where", "inhibited"),
    [
        (None, 3, {}, True),
        (3, None, {}, False),
        (3, 3, {}, False),
        (None, 3, {"project_id": "other"}, False),
    ],
)
def test_all_of_a_scope_says_what_a_few_of_it_would(
    first: int | None, later: int | None, where: dict[str, str], inhibited: bool
) -> None:
    book, verdicts = AlertBook("labelwatch"), []
    for number, (labelers, on) in enumerate([(first, scope("segment")), (later, scope("segment", **where))], 1):
        of = rule(f"rule-{number}", metric=("gold_accuracy", "consensus_agreement")[number - 1])
        said = verdict(number, "breach", T0 + number * MINUTE, of, on)
        verdicts.append(said.model_copy(update={"figures": figures(labelers=labelers)}))
    told = book.take(batch(*verdicts))
    assert told[-1].alert.rule.name == "rule-2"
    assert (told[-1].alert.held == "inhibited") is inhibited
