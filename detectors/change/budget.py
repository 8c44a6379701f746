"""From a budget in human terms to the average run length that methods are calibrated to.

The average run length (ARL) is how many values pass, on average, from a start to a false alarm while nothing changes.
It is counted in answers, whoever gives them, and so is one for a fleet: K labelers with an ARL of A answers each, who
give V answers a week together, cause V / A false alarms a week, for any K.
"""

from __future__ import annotations

from detectors.change.finding import check_config


def average_run_length(answers_per_week: float, false_alarms_per_week: float) -> float:
    """The ARL in answers that keeps to a budget at a volume; both of the whole fleet that the budget is for.

    Raises:
        ValueError: one of them is not above 0.

    >>> average_run_length(answers_per_week=20_000, false_alarms_per_week=1)
    20000.0
    """
    check_config(answers_per_week > 0, f"answers_per_week must be above 0, not {answers_per_week}")
    check_config(false_alarms_per_week > 0, f"false_alarms_per_week must be above 0, not {false_alarms_per_week}")
    return answers_per_week / false_alarms_per_week
