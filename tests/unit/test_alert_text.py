"""Messages of alerts: what they say, that they are short, and that nothing in them is more than text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from detectors.explain import Meanwhile, Others, Row, Totals, Verdict, explain
from detectors.explain.counterfactual import Without
from detectors.explain.explanation import Named, Summary
from detectors.metrics_registry import METRICS
from schemas.thresholds import MetricName
from streams.alert_page import PAGE_FIELDS, PageTemplate, check_page_template, page_url
from streams.alert_text import MAX_QUERY, AlertFacts, State, duration, message, with_why
from streams.explanations import Affected, Leading, Unexplained, Why
from streams.safe_text import enumeration, shown
from tests.builders import START_MS
from tests.hostile_names import HOSTILE

MINUTE = 60_000


def facts(**changes: Any) -> AlertFacts:
    known: dict[str, Any] = {
        "rule": "gold-drop",
        "metric": "gold_accuracy",
        "severity": "critical",
        "state": "firing",
        "vendor_id": "acme",
        "baseline": 0.92,
        "level": 0.8,
        "since_ms": START_MS,
        "at_ms": START_MS + 25 * MINUTE,
        "answers": 120,
        "statistic": 5_210.4,
        "threshold": 4_032.0,
    }
    return AlertFacts(**known | changes)


def summary(verdict: Verdict, *named: tuple[str, str], **changes: Any) -> Summary:
    found = Summary(
        "gold_accuracy", 0.92, 0.8, 4_000.0, 1_373.0, None, verdict, tuple(Named(*one) for one in named),
        0.83, 1_234.5, None, -0.12, 0.0,
    )  # fmt: skip
    return found._replace(**changes)


def test_the_whole_message() -> None:
    why = summary(
        Verdict.LABELERS, ("labeler", "w3"), ("labeler", "w5"), without=Without(("w3", "w5"), 0.91, 900.0, True)
    )
    said = message(
        facts(
            why=why,
            based_on="by consensus",
            affected_tasks=1_097,
            affected_query="SELECT 1\nLIMIT 10",
            runbook="https://wiki.example/gold",
            alert_id="1c4b048c409a9ecf",
            page_template="https://watch.example/a?vendor=$vendor_id&from=$since_ms",
        )
    )
    assert said.title == "CRITICAL gold accuracy of acme fell from 92 % to 80 %"
    assert said.text == (
        "Gold accuracy of acme fell from 92 % to 80 %, over 120 golds.\n"
        "Since: 2026-01-05 07:00 UTC (25 min).\n"
        "Who: labelers w3 and w5, which is 83 % of the change.\n"
        "Without: w3 and w5 it would be 91 %, back in band.\n"
        "What to do: Look at their latest answers; pause them if they are bad, and have affected tasks done again. "
        "https://wiki.example/gold\n"
        f"Page: https://watch.example/a?vendor=acme&from={START_MS}\n"
        "How sure: evidence of 5,210, where 4,032 is enough; odds of about 1,200 to one that the cause "
        "named is real, not chance.\n"
        "Affected: 1,097 tasks rest on these labels (query at the end; if it is cut: labelwatch alerts show).\n"
        "Rule: gold-drop (critical)\n"
        "Alert: 1c4b048c409a9ecf\n"
        "Judged by: 1,373 answers, compared with what is now believed of their tasks (92 % to 80 %), "
        "because golds are few.\n"
        "Query: \nSELECT 1\nLIMIT 10"
    )


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"state": "resolved", "level": 0.915}, "RESOLVED gold accuracy of acme is at 92 % again"),
        ({"state": "resolved", "level": 0.7, "reason": "changed"}, "RESOLVED gold accuracy of acme is at 70 %"),
        (
            {"state": "resolved", "labelers": 3, "answers": 0},
            "RESOLVED gold accuracy of 3 labelers of acme: they have not been at work for a day",
        ),
        (
            {"state": "withdrawn"},
            "WITHDRAWN gold accuracy of acme: it is not true that it fell from 92 % to 80 %",
        ),
        ({"level": None}, "CRITICAL gold accuracy of acme: nothing has come since 2026-01-05 07:00 UTC"),
        ({"vendor_id": ""}, "CRITICAL gold accuracy of all work fell from 92 % to 80 %"),
        (
            {"labeler_id": "w3", "vendor_id": "", "project_id": "animals", "task_type": "box"},
            "CRITICAL gold accuracy of w3 / animals / box fell from 92 % to 80 %",
        ),
        ({"labelers": 6}, "CRITICAL gold accuracy of 6 labelers of acme fell from 92 % to 80 %"),
        ({"labelers": 1}, "CRITICAL gold accuracy of 1 labeler of acme fell from 92 % to 80 %"),
        (
            {"metric": "aht_seconds", "baseline": 41.3, "level": 62.7, "severity": "warning"},
            "WARNING average handling time of acme rose from 41 s to 63 s",
        ),
        (
            {"metric": "late_share", "baseline": 0.011, "level": 0.014},
            "CRITICAL share of late answers of acme rose from 1.1 % to 1.4 %",
        ),
        (
            {"metric": "krippendorff_alpha", "baseline": 0.7, "level": 0.41},
            "CRITICAL Krippendorff's alpha of acme fell from 0.70 to 0.41",
        ),
        (
            {"metric": "volume", "baseline": 1_200.0, "level": 90.0},
            "CRITICAL volume of acme fell from 1,200 an hour to 90 an hour",
        ),
    ],
)
def test_titles(changes: dict[str, Any], title: str) -> None:
    assert message(facts(**changes)).title == title


@pytest.mark.parametrize("metric", METRICS)
def test_long_names_leave_room_for_the_figures(metric: MetricName) -> None:
    long = facts(metric=metric, project_id="x" * 200, vendor_id="y" * 200, labeler_id="z" * 200, task_type="t" * 200)
    said = message(long).title
    assert re.search(r" (fell|rose) from \S.* to \S.*\d", said)
    assert "xxx" in said
    assert len(said) <= 100


def test_what_is_over_says_why_and_asks_for_nothing() -> None:
    said = message(facts(state="withdrawn", reason="late answers changed it", runbook="https://wiki.example/gold"))
    assert "Reason: late answers changed it\n" in said.text
    assert "What to do" not in said.text
    assert "How sure" not in said.text


@pytest.mark.parametrize(
    ("why", "who"),
    [
        (summary(Verdict.LABELERS, ("labeler", "w3")), "Who: labeler w3, which is 83 % of the change.\n"),
        (
            summary(Verdict.LABELERS, *(("labeler", f"w{n}") for n in range(9)), share=1.2),
            "Who: labelers w0, w1, w2, w3, w4 and 4 more, which is all of the change.\n",
        ),
        (
            summary(Verdict.VENDOR, ("vendor", "acme"), ("task_type", "box")),
            "Who: all labelers of vendor acme in box alike, which is 83 % of the change.\n",
        ),
        (
            summary(Verdict.CLASS_PAIR, ("task_type", "box"), ("true_class", "cat"), ("answer", "dog")),
            "Who: cat is taken for dog in box, by everyone alike, which is 83 % of the change.\n",
        ),
        (
            summary(Verdict.CLASS_PAIR, ("vendor", "v"), ("true_class", "cat"), ("answer", "dog"), swapped=True),
            "Who: cat and dog are swapped, by everyone of vendor v alike, which is 83 % of the change.\n",
        ),
        (
            summary(Verdict.CLASS_PAIR, ("true_class", "cat")),
            "Who: cat is taken for something else, by everyone alike, which is 83 % of the change.\n",
        ),
        (
            summary(Verdict.TASK_TYPE, ("task_type", "box")),
            "Who: all labelers in box alike, which is 83 % of the change",
        ),
        (summary(Verdict.EVERYONE), "Who: everyone alike, nothing narrower, which is 83 % of the change.\n"),
        (summary(Verdict.MIX), "Who: nobody answers otherwise; the work, or who does it, is another.\n"),
        (summary(Verdict.UNCLEAR), "Who: nobody in particular, as far as can be told by now.\n"),
    ],
)
def test_who_it_was(why: Summary, who: str) -> None:
    assert who in message(facts(why=why)).text


def test_every_verdict_has_words() -> None:
    rows = [Row(f"w{n}", "v", Totals(200, 184), Totals(100, 40 if n == 3 else 92)) for n in range(4)]
    real = explain(rows).summary("gold_accuracy")
    assert "Who: labeler w3, which is all of the change." in message(facts(why=real)).text
    for verdict in Verdict:
        assert "Who: " in message(facts(why=real._replace(verdict=verdict, named=(Named("true_class", "x"),)))).text


def test_no_explanation_is_said() -> None:
    said = message(facts(unexplained="cannot reach ClickHouse at http://db:8123"))
    assert "Who: no explanation: cannot reach ClickHouse at http: //db:8123.\n" in said.text


def test_what_was_found_out_is_said() -> None:
    rows = [Row(f"w{n}", "v", Totals(200, 184), Totals(100, 40 if n == 3 else 92)) for n in range(4)]
    leading = (Leading("labeler", "w3", 1.0), Leading("hour", "2026-01-05 07:00", 0.8))
    found = Why(explain(rows), None, "as asked", Affected(7, "SELECT 1"))
    said = message(replace(with_why(facts(), found), leading=leading)).text
    assert (
        "Who: labeler w3, which is all of the change.\nMost of it: hour (UTC) from 2026-01-05 07:00 (80 %).\n" in said
    )
    assert "Affected: 7 tasks rest on these labels (query at the end; " in said
    assert said.endswith("\nQuery: \nSELECT 1")
    forgotten = message(with_why(with_why(facts(), found), Unexplained("ClickHouse is away"))).text
    assert "Who: no explanation: ClickHouse is away." in forgotten
    assert "Affected" not in forgotten


def test_how_others_did_is_said() -> None:
    meanwhile = Meanwhile("a<c>", Others.WELL, Others.CHANGED)
    said = message(facts(why=summary(Verdict.VENDOR, ("vendor", "acme")), meanwhile=meanwhile)).text
    assert "\nMeanwhile: other vendors on the project are well; a(c)'s other projects got as much worse.\n" in said
    unknown = meanwhile._replace(of_project=Others.UNKNOWN)
    assert "on the project cannot be compared (" in message(facts(why=summary(Verdict.UNCLEAR), meanwhile=unknown)).text
    pair = summary(Verdict.CLASS_PAIR, ("true_class", "cat"))
    assert "Meanwhile" not in message(facts(why=pair, meanwhile=meanwhile)).text


@pytest.mark.parametrize(("statistic", "said"), [(12_345.6, "12,346"), (5_527_000.0, "5,527,000"), (4.25, "4.2")])
def test_evidence_is_written_as_people_read_numbers(statistic: float, said: str) -> None:
    assert f"evidence of {said}, where" in message(facts(statistic=statistic)).text


def test_odds() -> None:
    why = summary(Verdict.VENDOR, ("vendor", "acme"))
    assert (
        "odds of about 12 to one that the cause named is real, not chance"
        in message(facts(why=why._replace(odds=12.4))).text
    )
    assert "odds of more than a million to one" in message(facts(why=why._replace(odds=1e9))).text


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("state", get_args(State))
def test_names_are_nothing_but_text(name: str, state: State) -> None:
    every = [
        summary(Verdict.LABELERS, *[("labeler", name)] * 900, without=Without((name,) * 10, 0.91, 1.0, True)),
        summary(Verdict.CLASS_PAIR, ("true_class", name), ("answer", name), ("vendor", name), ("task_type", name)),
    ]
    for why in every:
        of = facts(
            state=state, project_id=name, task_type=name, vendor_id=name, labeler_id=name, reason=name, why=why,
            affected_tasks=3, affected_query="SELECT 1", page_template="https://watch.example/$labeler_id",
        )  # fmt: skip
        said = message(of)
        assert len(said.title) <= 100
        assert len(said.text) < 3_000
        assert said.title.isprintable()
        for text in said:
            assert all(line.isprintable() for line in text.split("\n"))
            assert not re.search(r"[<>\[\]]|@everyone|@here|https://evil", text)
            text.encode()


def test_a_long_query_is_left_out() -> None:
    said = message(facts(affected_tasks=5, affected_query="x" * (MAX_QUERY + 1)))
    assert "5 tasks rest on these labels; the query that lists them is too long for a message." in said.text
    assert "Query" not in said.text
    assert len(said.text) < 1_000
    assert "Affected: 1 task rest" not in message(facts(affected_tasks=0, affected_query="SELECT 1")).text


def test_a_query_that_lists_nothing_is_left_out() -> None:
    assert "Query" not in message(facts(affected_tasks=0, affected_query="SELECT 1")).text
    over = message(facts(state="resolved", affected_tasks=7, affected_query="SELECT 1"))
    assert "Query" not in over.text


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("why", [None, *(summary(verdict, ("true_class", "cat")) for verdict in Verdict)])
def test_every_message_that_it_fires_says_what_to_do(metric: MetricName, why: Summary | None) -> None:
    do = re.search(r"\nWhat to do: (\w.*[.?]) (\S+)\n", message(facts(metric=metric, why=why)).text)
    assert do is not None
    assert (Path(__file__).parents[2] / do[2]).is_file()


def test_every_metric_can_be_told() -> None:
    for metric in METRICS:
        assert message(facts(metric=metric)).title.startswith("CRITICAL ")
        assert "_" not in message(facts(metric=metric)).title


def test_small_things() -> None:
    assert duration(-5) == "0 s"
    assert duration(86_400_000) == "1 d"
    assert enumeration([]) == ""
    assert shown("x" * 100) == "x" * 59 + "…"
    assert shown("a\u200b\u00a0b") == "a b"


class Page(BaseModel):
    page: PageTemplate


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("https://watch.example/$vendor", "unknown field $vendor; known: rule, metric"),
        ("https://watch.example/${rule", r"write $$ for a dollar sign"),
        ("watch.example/$rule", "is not an address such as https://"),
        ("javascript:alert(1)", "is not an address"),
        ("https://watch.example/a b", "is not an address"),
        ("https://$rule.example/", "the host must be fixed"),
        ("", "is not an address"),
    ],
)
def test_a_bad_page_template_is_refused_when_settings_are_loaded(template: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        Page(page=template)


def test_the_page_takes_every_field_and_quotes_it() -> None:
    template = "https://watch.example/a?" + "&".join(f"{name}=${{{name}}}" for name in PAGE_FIELDS) + "&cost=$$5"
    assert check_page_template(template) == template
    url = replace(facts(), page_template=template, vendor_id="a b&c=d#e/漢", labeler_id="$rule").page_url
    assert url is not None
    assert url.startswith("https://watch.example/a?rule=gold-drop&metric=gold_accuracy&severity=critical&state=firing&")
    assert "&vendor_id=a%20b%26c%3Dd%23e%2F%E6%BC%A2&labeler_id=%24rule&" in url
    assert url.endswith("&cost=$5")


def test_a_page_link_too_long_for_browsers_names_nobody() -> None:
    assert page_url("https://watch.example/$labeler_id", {"labeler_id": "漢" * 300}) == "https://watch.example/"


def test_a_labeler_who_is_not_alone() -> None:
    why = summary(Verdict.CLASS_PAIR, ("true_class", "cat"), ("answer", "dog"), swapped=True)
    assert "Who: not this labeler alone: cat and dog are swapped" in message(facts(why=why, labeler_id="ana")).text
    assert "not this labeler alone" not in message(facts(why=why)).text


def test_agreement_is_not_told_by_consensus_for_want_of_golds() -> None:
    why = summary(Verdict.EVERYONE)
    said = message(facts(why=why, metric="consensus_agreement", based_on="by consensus")).text
    assert "what is now believed" in said
    assert "golds are few" not in said
