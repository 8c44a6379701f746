"""Properties of what is believed: bookkeeping that is exact, order that does not matter, state that is whole."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import confusion, consensus, forgetting, one_coin
from detectors.beliefs import Beliefs, Guideline
from detectors.confusion import ConfusionModel
from detectors.confusion_counts import KINDS
from detectors.consensus import Answer, LabelSpace, Task, Truth
from detectors.evidence import Evidence, total
from detectors.forgetting import HalfLives
from detectors.one_coin import OneCoinModel
from streams.state import codecs

SPACE = LabelSpace("p", "c")
LABELS = ("a", "b", "c", "d")
#: Label sets that stay a matrix, that outgrow it on the way, and that are one coin from the start.
MAX_CLASSES = {"confusion": 20, "successor": 2, "one_coin": 2}

Step = tuple[str, int, int, str, int]
"""What happens, task, labeler, label, time in hours."""


def steps(max_size: int = 40) -> st.SearchStrategy[list[Step]]:
    """Answers mostly (revisions of earlier and later times among them), truths, refusals, tasks that close."""
    what = st.sampled_from(["answer"] * 8 + ["text", "gold", "review", "refute", "close"])
    one = st.tuples(what, st.integers(0, 5), st.integers(0, 6), st.sampled_from(LABELS), st.integers(0, 2_000))
    return st.lists(one, min_size=5, max_size=max_size)


def beliefs(form: str) -> Beliefs:
    declared = LABELS if form == "one_coin" else ()
    return Beliefs(HalfLives(annotations=20, days=30), MAX_CLASSES[form], {"p": Guideline(declared)})


def apply(made: Beliefs, tasks: dict[int, Task], step: Step) -> Any:
    """One step; everything that can be seen of it."""
    what, number, labeler, label, hours = step
    task = tasks.setdefault(number, Task("p", f"t-{number}", "c"))
    at_ms, name = hours * 3_600_000, f"l-{labeler}"
    said: Any = None
    if what in ("answer", "text"):
        answer = Answer(label if what == "answer" else None, at_ms, pace=hours / 2_000)
        said = made.answer(task, name, answer, "class" if what == "answer" else "text")
    elif what in ("gold", "review"):
        said = made.know(task, Truth(label, what, at_ms))
    elif what == "refute":
        made.refute(task, label)
    else:
        made.close(task)
    return said, made.belief(task), made.forecast(task, name), made.accuracy(SPACE, name)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so low that short streams meet them; no labeler is seen to change, which begins its counts again."""
    monkeypatch.setattr(consensus, "MAX_VOTES", 4)
    monkeypatch.setattr(confusion, "FIRST_ESTIMATE", 5)
    monkeypatch.setattr(one_coin, "FIRST_ESTIMATE", 5)
    monkeypatch.setattr(forgetting, "LIMIT", float("inf"))


def shares(task: Task, model: ConfusionModel | OneCoinModel) -> dict[str, list[float]]:
    """What a task's labelers are believed to have answered to: label to its share, for a matrix by kind of task."""
    share = task.share or []
    if isinstance(model, ConfusionModel):
        return {name: [*share[row : row + KINDS], 0.0, 0.0][:KINDS] for name, row in model.classes.items()}
    if task.labels:
        return {label: [part] for label, part in zip(task.labels, share, strict=False)}
    sums = [sum(share[row : row + KINDS]) for row in range(0, len(share), KINDS)]
    return {label: [part] for label, part in zip(model._former, sums, strict=False)}


def check(made: Beliefs, tasks: dict[int, Task]) -> None:
    """Every labeler's counts are the sum over its answers of share times weight, from scratch."""
    model = made.models.get(SPACE)
    if model is None:
        return
    assert isinstance(model, ConfusionModel | OneCoinModel)
    right: dict[str, float] = dict.fromkeys(model.labelers, 0.0)
    weight: dict[str, float] = dict.fromkeys(model.labelers, 0.0)
    for task in tasks.values():
        parts = shares(task, model)
        for name, answer in task.answers.items():
            if answer.is_counted:
                assert answer.label is not None
                unit = 2.0 ** (answer.clock - model.labelers[name].base) / model.labelers[name].scale
                right[name] += unit * sum(parts.get(answer.label, [0.0]))
                weight[name] += unit
    for name in model.labelers:
        evidence = model.evidence(name)
        assert evidence.right == pytest.approx(right[name], abs=1e-7)  # what is below 1e-9 is not sent
        assert evidence.weight == pytest.approx(weight[name], abs=1e-7)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("form", MAX_CLASSES)
@given(stream=steps())
def test_what_is_counted_is_what_the_tasks_say(form: str, stream: list[Step]) -> None:
    """Earlier contributions are replaced, not added to: counts are the sum over tasks of share times weight."""
    patch = pytest.MonkeyPatch()
    with patch.context() as bounds:
        bounds.setattr(consensus, "MAX_VOTES", 100)  # what falls out of the votes stands: see the test below
        made, tasks = beliefs(form), dict[int, Task]()
        for step in stream:
            apply(made, tasks, step)
            check(made, tasks)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("form", MAX_CLASSES)
@given(stream=steps())
def test_no_answer_is_counted_twice_nor_below_nothing(form: str, stream: list[Step]) -> None:
    """Also where more answer than vote: what left the votes stays as it was, and is never taken back."""
    made, tasks = beliefs(form), dict[int, Task]()
    given_answers: dict[str, int] = {}
    for step in stream:
        given_answers[f"l-{step[2]}"] = given_answers.get(f"l-{step[2]}", 0) + (step[0] == "answer")
        apply(made, tasks, step)
        model = made.models.get(SPACE)
        if isinstance(model, ConfusionModel):
            for name, one in model.labelers.items():
                assert min(min(column) for column in one.columns.values()) / one.scale > -1e-9, name
                assert one.totals == pytest.approx([sum(c) for c in zip(*one.columns.values(), strict=True)])
        elif isinstance(model, OneCoinModel):
            for coin in model.labelers.values():
                assert -1e-9 < coin.right / coin.scale < coin.weight / coin.scale + 1e-9
        if model is not None:
            for name in model.labelers:  # type: ignore[attr-defined]
                assert model.evidence(name).weight < given_answers[name] + 1e-9


@pytest.mark.parametrize("form", ["confusion", "one_coin"])
@given(seed=st.integers(0, 9), data=st.data())
def test_the_order_of_answers_does_not_matter_given_reliability(form: str, seed: int, data: st.DataObject) -> None:
    made = taught(form, seed)
    answers = data.draw(
        st.dictionaries(st.integers(0, 6), st.sampled_from(LABELS), min_size=1, max_size=7).map(dict.items)
    )
    refuted = tuple(data.draw(st.sets(st.sampled_from(LABELS), max_size=2)))
    found = []
    for order in (list(answers), data.draw(st.permutations(list(answers)))):
        task = Task(*SPACE[:1], "new", SPACE.task_type, refuted=refuted)
        for labeler, label in order:
            task.stand(f"l-{labeler}", Answer(label, 5))
            task.labels = sorted({*task.labels, label}) if form == "one_coin" else []
        found.append(made.models[SPACE].believe(task).posterior)
    assert found[0] == pytest.approx(found[1], abs=1e-9)


@cache
def taught(form: str, seed: int) -> Beliefs:
    rng, made, tasks = random.Random(seed), beliefs(form), dict[int, Task]()
    for number in range(40):
        for labeler in range(7):
            apply(made, tasks, ("answer", number, labeler, rng.choice(LABELS[: 1 + labeler]), number))
    return made


def dumped(made: Beliefs) -> dict[LabelSpace, Any]:
    """Everything that is stored of what is believed, as JSON holds it."""
    return {
        space: json.loads(
            json.dumps([m.form, m.dump(), {n: m.dump_labeler(n) for n in m.labelers}])  # type: ignore[attr-defined]
        )
        for space, m in made.models.items()
    }


def loaded(form: str, state: dict[LabelSpace, Any], confidence: Any, seed: int) -> Beliefs:
    again = beliefs(form)
    for space, (kind, plain, labelers) in state.items():
        again.load(space, kind, plain)
        names = sorted(labelers)
        random.Random(seed).shuffle(names)  # the store does not know in which order they were first heard of
        for name in names:
            again.models[space].load_labeler(name, labelers[name])
    again.confidence_model.load(json.loads(json.dumps(confidence)))
    return again


@pytest.mark.parametrize("form", MAX_CLASSES)
@given(before=steps(), after=steps(), seed=st.integers(0, 99))
def test_what_was_restored_believes_the_same_to_the_last_bit(
    form: str, before: list[Step], after: list[Step], seed: int
) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as bounds:
        bounds.setattr(confusion, "FIRST_ESTIMATE", 5)
        bounds.setattr(one_coin, "FIRST_ESTIMATE", 5)
        live, tasks = beliefs(form), dict[int, Task]()
        for step in before:
            apply(live, tasks, step)
        list(live.take_changed())  # told at the checkpoint that stores it
        again = loaded(form, dumped(live), live.confidence_model.dump(), seed)
        tasks_again = {number: codecs.decode_task(codecs.encode_task(task)) for number, task in tasks.items()}
        for step in after:
            assert apply(again, tasks_again, step) == apply(live, tasks, step)
        assert {n: codecs.encode_task(t) for n, t in tasks_again.items()} == {
            n: codecs.encode_task(t) for n, t in tasks.items()
        }
        assert again.confidence_model.dump() == live.confidence_model.dump()
        found = [[(space, name, m.evidence(name)) for space, name, m in one.take_changed()] for one in (live, again)]
        assert found[0] == found[1]


counts = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.sampled_from("ab")), st.floats(0, 1e6), max_size=8
)
matrices = st.builds(
    Evidence,
    st.just("confusion"),
    st.integers(0, 10**6),
    st.integers(0, 50),
    counts,
    st.tuples(st.floats(0.1, 0.9), st.floats(1, 100)),
)
coins = st.builds(
    lambda labels, at, right, wrong: Evidence(
        "one_coin", labels, at, {("right", 0, "right"): right, ("right", 0, "wrong"): wrong}
    ),
    st.integers(0, 10**6),
    st.integers(0, 50),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
)
some = st.lists(matrices | coins, min_size=1, max_size=5)


def seen(evidence: Evidence) -> Any:
    nonzero = {key: count for key, count in evidence.counts.items() if count > 1e-6}
    return evidence.form, evidence.labels, evidence.seen_ms, pytest.approx(nonzero, rel=1e-9, abs=1e-6)


def same(one: Evidence, other: Evidence) -> bool:
    form, labels, seen_ms, expected = seen(one)
    found = seen(other)
    return (form, labels, seen_ms) == found[:3] and {k: v for k, v in other.counts.items() if v > 1e-6} == expected


@given(some, st.randoms())
def test_evidence_adds_up_in_any_order(parts: list[Evidence], rng: random.Random) -> None:
    shuffled = rng.sample(parts, len(parts))
    one, other = total(parts), total(shuffled)
    assert same(one, other)
    assert one.population == other.population


@given(some, some)
def test_evidence_adds_up_in_any_grouping(first: list[Evidence], second: list[Evidence]) -> None:
    assert same(total([*first, *second]), total([total(first), total(second)]))


@given(matrices)
def test_evidence_survives_the_wire(evidence: Evidence) -> None:
    assert Evidence.from_plain(json.loads(json.dumps(evidence.to_plain()))) == evidence


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("form", ["confusion", "one_coin"])
@given(
    heard=st.lists(st.tuples(st.integers(1, 3), matrices), min_size=1, max_size=8),
    rng=st.randoms(),
    stream=steps(20),
)
def test_what_was_heard_last_of_each_partition_counts(
    form: str, heard: list[tuple[int, Evidence]], rng: random.Random, stream: list[Step]
) -> None:
    """Heard again, or together with what was replaced since, it changes nothing; nor is own evidence touched."""
    once, often = beliefs(form), beliefs(form)
    for made in (once, often):
        tasks: dict[int, Task] = {}
        for step in stream:
            apply(made, tasks, step)
        made.hear(SPACE, "l-0", 9, Evidence("confusion", 0, 0))  # both know the labeler
    latest = dict(heard)
    own = often.models[SPACE].evidence("l-0")
    for partition, evidence in heard:
        for _ in range(rng.choice([1, 2])):
            often.hear(SPACE, "l-0", partition, evidence)
    for partition in rng.sample(sorted(latest), len(latest)):
        once.hear(SPACE, "l-0", partition, latest[partition])
    assert often.accuracy(SPACE, "l-0") == pytest.approx(once.accuracy(SPACE, "l-0"), abs=1e-7)
    after = often.models[SPACE].evidence("l-0")
    assert (after.right, after.weight) == (pytest.approx(own.right, abs=1e-6), pytest.approx(own.weight, abs=1e-6))
