"""Labelers whose true accuracy is known, and what a model comes to believe of one of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from detectors.confusion import ConfusionModel
from detectors.consensus import Answer, Task, Truth
from detectors.forgetting import HalfLives
from detectors.reliability import summarise

CLASSES = ("a", "b", "c", "d")
HEALTHY = 0.92
#: Labels between two looks at the credible interval.
EVERY = 50


@dataclass
class Seen:
    """What was seen of one labeler in one run."""

    covered: list[bool] = field(default_factory=list)
    """At every check, whether the credible interval holds the true accuracy."""
    errors: list[float] = field(default_factory=list)
    """At every check, estimate less truth."""
    labels_to_half: int | None = None
    """Labels after the fall until the estimate had gone half the way down; None if it never did."""
    changes: int = 0
    """Times at which it was believed to have changed."""


def observe(seed: int, *, after: float, overlap: int = 1, is_known: bool = True, labels: int = 2_000) -> Seen:
    """A labeler that is right in `HEALTHY` of its answers, and half-way through in ``after`` of them.

    Args:
        seed: of everything.
        after: its accuracy in the second half.
        overlap: labelers a task; the others are healthy, eight of them.
        is_known: whether every task's truth is known, as by gold.
        labels: answers that it gives, one a minute.
    """
    rng, model, seen = random.Random(seed), ConfusionModel(HalfLives(annotations=1_000, days=90)), Seen()
    half = labels // 2
    changed_ms = 0
    for number in range(labels):
        accuracy = HEALTHY if number < half else after
        task, truth, at_ms = Task("p", f"t-{number}", "c"), rng.choice(CLASSES), number * 60_000
        if is_known:
            task.know(Truth(truth, "gold", at_ms))
        for name in rng.sample(["ana", *rng.sample([f"l-{i}" for i in range(8)], overlap - 1)], overlap):
            is_right = rng.random() < (accuracy if name == "ana" else HEALTHY)
            label = truth if is_right else rng.choice([one for one in CLASSES if one != truth])
            answer = Answer(label, at_ms)
            task.stand(name, answer)
            model.answer(task, name, answer)
        now_ms = model.labelers["ana"].forgetting.changed_ms
        seen.changes, changed_ms = seen.changes + (now_ms > changed_ms), now_ms
        if number >= half and seen.labels_to_half is None and model.accuracy("ana") < (HEALTHY + after) / 2:
            seen.labels_to_half = number - half + 1
        if (number + 1) % EVERY == 0:
            found = summarise([model.evidence("ana")])
            assert found.accuracy is not None
            assert found.accuracy_low is not None
            assert found.accuracy_high is not None
            seen.covered.append(found.accuracy_low <= accuracy <= found.accuracy_high)
            seen.errors.append(found.accuracy - accuracy)
    return seen
