"""Which tasks rest on suspect labels: without these their consensus would be another, or rest on hardly anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from string import Template
from typing import Final

from detectors.explain import Explanation, Verdict
from schemas.rows import AnnotationScoreRow, TaskConfidenceRow
from schemas.thresholds import MetricName
from streams.explanations.question import BEFORE_HOURS, HOUR_MS, Question
from streams.explanations.sql_text import Parameters, among_sql, expression_sql, with_literals

MIN_OTHERS: Final = 2
"""Answers of others that a consensus can stand on."""
MAX_LABELERS: Final = 200
"""Suspects that are looked for, the most harmful ones: a longer list is no list to act on."""
MAX_LABELS: Final = 10
MAX_LISTED: Final = 10_000
#: Metrics that say something about labels; slow or late answers may be as good as others.
ABOUT_LABELS: Final[tuple[MetricName, ...]] = (
    "gold_accuracy",
    "consensus_agreement",
    "reviewer_reject_rate",
    "too_fast_share",
)


@dataclass(frozen=True, slots=True)
class Suspects:
    """Whose answers are suspect, within the scope and the time of a question; empty: whoever, whatever."""

    labelers: tuple[str, ...] = ()
    vendor_id: str = ""
    task_type: str = ""
    labels: tuple[str, ...] = ()
    """Answers that are given in place of others."""

    def suspect(self, question: Question, score: AnnotationScoreRow) -> bool:
        """Whether an answer is suspect."""
        segment = {"project_id": score.project_id, "task_type": score.task_type, "vendor_id": score.vendor_id}
        return (
            question.after.from_ms <= score.submitted_at < question.after.to_ms
            and question.asks_for(segment, score.labeler_id)
            and (not self.labelers or score.labeler_id in self.labelers)
            and self.vendor_id in ("", score.vendor_id)
            and self.task_type in ("", score.task_type)
            and (not self.labels or score.label in self.labels)
        )


@dataclass(frozen=True, slots=True)
class Affected:
    """Tasks that rest on suspect labels."""

    tasks: int
    """Now. Tasks that get more answers, or a truth, are no longer among them."""
    query: str
    """SQL that lists them, with the values in it."""


def suspects_of(question: Question, why: Explanation) -> Suspects | None:
    """Whose labels an explanation makes suspect; None where it blames no labels.

    Of an alert of one labeler that is always this one. A pair of classes makes the answer suspect that is given for the
    other; of a class, those it is taken for.
    """
    cause = why.cause
    if question.metric not in ABOUT_LABELS:
        return None
    if question.labeler_id:
        return Suspects((question.labeler_id,))
    if cause.verdict in (Verdict.MIX, Verdict.UNCLEAR):
        return None
    named = {one.dimension: one.value for one in reversed(cause.named)}
    vendor, task_type = named.get("vendor", ""), named.get("task_type", "")
    if cause.verdict is Verdict.LABELERS:
        return Suspects(tuple(one.value for one in cause.named if one.dimension == "labeler")[:MAX_LABELERS])
    if cause.verdict is not Verdict.CLASS_PAIR:
        return Suspects((), vendor, task_type)
    true_class, answer = named.get("true_class", ""), named.get("answer")
    if answer is not None:
        return Suspects((), vendor, task_type, (true_class, answer) if cause.swapped else (answer,))
    taken_for = [
        pair.answer
        for pair in why.pairs
        if (pair.true_class, pair.task_type) == (true_class, task_type or pair.task_type) and pair.rate < 0
    ]
    return Suspects((), vendor, task_type, tuple(taken_for[:MAX_LABELS]))


def rests_on_suspects(answers: Collection[tuple[str, bool]], task: TaskConfidenceRow | None) -> bool:
    """Whether a task's consensus would be another without the suspects, or stand on fewer than two answers.

    Args:
        answers: of every labeler the latest label, and whether it is suspect.
        task: what is believed of it. Known truth rests on nobody, and free text has no consensus.
    """
    if task is None or task.truth is not None or not task.consensus_label:
        return False
    others = Counter(label for label, is_suspect in answers if not is_suspect)
    total = others.total()
    if total == len(answers):
        return False
    return total < MIN_OTHERS or 2 * others[task.consensus_label] <= total


def list_sql(question: Question, suspects: Suspects) -> tuple[str, Parameters]:
    """SQL for the tasks of `rests_on_suspects`, and its parameters."""
    # No "less than" sign: Slack would take it for the beginning of a link.
    parameters: Parameters = {
        "from_ms": question.after.from_ms,
        "to_ms": question.after.to_ms - 1,
        "first_ms": max(question.since_ms - BEFORE_HOURS * HOUR_MS, 0),
    }
    conditions = [
        "a.submitted_at BETWEEN fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')"
        " AND fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')",
        *among_sql(
            parameters,
            project_id=question.project_id,
            task_type=question.task_type,
            vendor_id=question.vendor_id,
            labeler_id=question.labeler_id,
        ),
    ]
    if question.where is not None:
        conditions.append(f"({expression_sql(question.where, parameters)})")
    for column, name, value in (
        ("vendor_id", "suspect_vendor", suspects.vendor_id),
        ("task_type", "suspect_type", suspects.task_type),
    ):
        if value:
            parameters[name] = value
            conditions.append(f"a.{column} = {{{name}:String}}")
    for column, names in (("labeler_id", suspects.labelers), ("label", suspects.labels)):
        if names:
            parameters[f"suspect_{column}"] = list(names)
            conditions.append(f"a.{column} IN {{suspect_{column}:Array(String)}}")
    suspect = "\n        AND ".join(conditions)
    project = "a.project_id = {project_id:String}\n    AND " if question.project_id else ""
    return _LIST.substitute(suspect=suspect, project=project, least=MIN_OTHERS), parameters


_LIST: Final = Template("""\
WITH answers AS
(
    SELECT
        a.project_id AS project_id, a.task_id AS task_id, a.labeler_id AS labeler_id,
        argMax(a.label, (a.submitted_at, a.event_id)) AS label,
        argMax($suspect, (a.submitted_at, a.event_id)) AS is_suspect
    FROM annotation_scores_current AS a
    WHERE ${project}a.submitted_at >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')
    AND (a.project_id, a.task_id) IN
    (
        SELECT a.project_id, a.task_id FROM annotation_scores_current AS a
        WHERE $suspect
    )
    GROUP BY project_id, task_id, labeler_id
),
labels AS
(
    SELECT project_id, task_id, label, countIf(is_suspect) AS suspects, countIf(NOT is_suspect) AS others
    FROM answers
    GROUP BY project_id, task_id, label
),
tasks AS
(
    SELECT
        project_id, task_id, sum(suspects) AS suspect_answers, sum(others) AS other_answers,
        groupArrayIf(label, others > 0) AS labels_of_others, groupArrayIf(others, others > 0) AS counts_of_others
    FROM labels
    GROUP BY project_id, task_id
    HAVING suspect_answers > 0
)
SELECT
    t.project_id AS project_id, t.task_id AS task_id, c.consensus_label AS consensus_label, c.confidence AS confidence,
    t.suspect_answers AS suspect_answers, t.other_answers AS other_answers
FROM tasks AS t
INNER JOIN
(
    SELECT project_id, task_id, consensus_label, confidence FROM task_confidence_current
    WHERE (project_id, task_id) IN (SELECT project_id, task_id FROM tasks)
    AND isNull(truth) AND consensus_label != ''
) AS c ON t.project_id = c.project_id AND t.task_id = c.task_id
WHERE NOT (
    other_answers >= $least
    AND 2 * counts_of_others[indexOf(labels_of_others, consensus_label)] > other_answers
)
ORDER BY project_id, task_id""")


def list_query(question: Question, suspects: Suspects) -> str:
    """The same for people to paste; it lists 10,000 tasks at most."""
    sql, parameters = list_sql(question, suspects)
    return f"{with_literals(sql, parameters)}\nLIMIT {MAX_LISTED}"
