"""What one source partition believes: of every open task, of every labeler, and how far to trust that.

One object, used by the agents and by offline evaluation alike. It owns the models of all label spaces and the
confidence model; tasks belong to whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from detectors.confidence import ConfidenceModel, Grounds
from detectors.confusion import ConfusionModel
from detectors.consensus import NOTHING, Answer, Belief, LabelSpace, Task, Truth
from detectors.evidence import CONFUSION, ONE_COIN, RATING, SUBJECTIVE, Evidence
from detectors.forgetting import HalfLives
from detectors.one_coin import OneCoinModel
from detectors.rating import RatingModel
from detectors.subjective import SubjectiveModel

#: Of a task whose truth is known, confidence is learned after so many answers: one task's answers stand together.
LEARNED_AT: Final = frozenset({1, 2, 3, 5, 8, 13, 21})
#: What one of those is worth, beside all that a task's answers say together.
LEARNED_WEIGHT: Final = 0.25
#: What is learned when a truth becomes known, and again at the last look. By then the model knows more, and is surer
#: than it was: forecasts are asked for then, too, and should rest on outcomes of the same kind.
LOOK_WEIGHT: Final = 0.5


class Guideline(NamedTuple):
    """What is declared about one project's labels."""

    classes: tuple[str, ...] = ()
    """The classes that its labels may name; empty: not declared."""
    subjective: bool = False
    """Whether disagreement is signal: there is no one true label."""


class LabelModel(Protocol):
    """The model of one label space."""

    form: str
    changed: set[str]

    @property
    def labelers(self) -> Mapping[str, Any]: ...
    def answer(self, task: Task, labeler_id: str, answer: Answer, before: Answer | None = None) -> None: ...
    def update(self, task: Task) -> None: ...
    def consensus(self, task: Task) -> str | None: ...
    def belief(self, task: Task) -> Belief: ...
    def believe(self, task: Task, *, without: str | None = None) -> Belief: ...
    def accuracy(self, labeler_id: str) -> float: ...
    def evidence(self, labeler_id: str) -> Evidence: ...
    def hear(self, labeler_id: str, source_partition: int, evidence: Evidence) -> None: ...
    def dump(self) -> list[Any]: ...
    def load(self, state: list[Any]) -> None: ...
    def dump_labeler(self, labeler_id: str) -> list[Any]: ...
    def load_labeler(self, labeler_id: str, state: list[Any]) -> None: ...


class Outcome(NamedTuple):
    """A forecast that met its truth: what was believed before the truth was known, and whether that was right."""

    belief: Belief
    confidence: float
    truth: Truth
    is_right: bool
    labels: int


class Beliefs:
    """Models of all label spaces of one source partition.

    Args:
        half_lives: how evidence on labelers fades.
        max_classes: label sets with more classes use the one-coin form.
        guidelines: by project; projects that are not named have none.

    >>> beliefs = Beliefs(HalfLives(annotations=1_000, days=90))
    >>> task = Task("captions", "t1", "image_class")
    >>> for name, label in (("ann", "cat"), ("bob", "cat"), ("cy", "dog")):
    ...     _ = beliefs.answer(task, name, Answer(label, 1_000), "class")
    >>> beliefs.belief(task).label, round(beliefs.belief(task).raw_confidence, 2), round(beliefs.confidence(task), 2)
    ('cat', 0.76, 0.62)
    >>> outcome = beliefs.know(task, Truth("dog", "review", 9_000))
    >>> outcome.belief.label, outcome.is_right, beliefs.belief(task).label, beliefs.confidence(task)
    ('cat', False, 'dog', 1.0)
    """

    def __init__(
        self, half_lives: HalfLives, max_classes: int = 20, guidelines: Mapping[str, Guideline] | None = None
    ) -> None:
        self._half_lives = half_lives
        self._max_classes = max_classes
        self._guidelines = guidelines or {}
        self.models: dict[LabelSpace, LabelModel] = {}
        self.changed_spaces: set[LabelSpace] = set()
        """Spaces that changed since the owner last emptied it."""
        self.confidence_model = ConfidenceModel()
        self.is_confidence_changed = False

    # Tasks

    def answer(self, task: Task, labeler_id: str, answer: Answer, kind: str) -> Outcome | None:
        """Take an answer of a label kind into account. One submitted before the one that stands changes nothing.

        Where the truth is known already, what the answers alone would say is held against it now and then.
        """
        before = task.stand(labeler_id, answer)
        if before is answer or answer.label is None:
            return None
        model = self._model(task.space, kind)
        model.answer(task, labeler_id, answer, before)
        self.changed_spaces.add(task.space)
        if isinstance(model, ConfusionModel) and len(model.classes) > self._max_classes:
            model = self.models[task.space] = OneCoinModel.successor(model, self._half_lives)
        if task.truth is not None and len(task.answers) in LEARNED_AT and model.form in (CONFUSION, ONE_COIN):
            return self._learn(task, model, LEARNED_WEIGHT, [(labeler_id, answer)])
        return None

    def know(self, task: Task, truth: Truth) -> Outcome | None:
        """Take an observed truth into account, whenever it comes; what had been believed, where that can be told.

        It settles the posterior and revises what the task said of its labelers. None if nothing comparable was
        believed, or the truth was known already.
        """
        was_known = task.truth is not None
        if not task.know(truth):
            return None
        model = self.models.get(task.space)
        if model is None:
            return None
        outcome = None if was_known else self._learn(task, model, LOOK_WEIGHT)
        self._revise(task, model)
        return outcome

    def refute(self, task: Task, label: str) -> None:
        """Take into account that a label was refused by a review: the truth is another."""
        model = self.models.get(task.space)
        if task.refute(label) and model is not None:
            self._revise(task, model)

    def close(self, task: Task) -> None:
        """Look at a task for the last time, with what is known of its labelers by now."""
        model = self.models.get(task.space)
        if model is not None and task.posterior is not None:
            self._learn(task, model, LOOK_WEIGHT)  # where its truth is known
            self._revise(task, model)

    def consensus(self, task: Task, *, without: str | None = None) -> str | None:
        """The most probable label, perhaps by the others' answers only; None if there is nothing to compare."""
        model = self.models.get(task.space)
        if model is None or task.posterior is None:
            return None
        if without is not None and without in task.answers and task.truth is None:
            return model.believe(task, without=without).label
        return model.consensus(task)

    def belief(self, task: Task) -> Belief:
        """What is believed of a task."""
        model = self.models.get(task.space)
        return NOTHING if model is None else model.belief(task)

    def confidence(self, task: Task) -> float:
        """Calibrated probability that the consensus is right; 1 when the truth is known, 0 without consensus."""
        return self.forecast(task)[0]

    def forecast(self, task: Task, labeler_id: str | None = None) -> tuple[float, float | None]:
        """Confidence in the consensus, and the probability that a labeler's standing answer is right.

        The latter is None without a labeler, and where answers are not right or wrong.
        """
        model = self.models.get(task.space)
        belief = NOTHING if model is None else model.belief(task)
        if model is None or belief.label is None:
            return 0.0, None
        answer = None if labeler_id is None else task.answers.get(labeler_id)
        is_judged = model.form in (CONFUSION, ONE_COIN)
        label = answer.label if answer is not None and is_judged else None
        if not is_judged:
            return belief.raw_confidence, None
        if task.truth is not None:
            return 1.0, None if label is None else float(task.truth.label == label)
        votes = task.votes()
        known = self.confidence_model
        confidence = known.forecast(task.task_type, _grounds(votes, model, belief, belief.label))
        if label is None:
            return confidence, None
        own = [(name, one) for name, one in votes if name == labeler_id]
        grounds = _grounds(votes, model, belief, label, own)
        return confidence, known.forecast_annotation(task.task_type, grounds)

    def is_comparable(self, space: LabelSpace, kind: str) -> bool:
        """Whether an answer of this kind can be held against the others of its space."""
        if kind in ("text", "span"):
            return False
        model = self.models.get(space)
        return model is None or model.form != RATING or kind == "rating"

    # Labelers

    def accuracy(self, space: LabelSpace, labeler_id: str) -> float | None:
        """Probability that a labeler's next answer is right; None in a space that has seen no answer."""
        model = self.models.get(space)
        return None if model is None else model.accuracy(labeler_id)

    def hear(self, space: LabelSpace, labeler_id: str, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence on a labeler, in place of what was heard from it before."""
        self._of_form(space, evidence.form).hear(labeler_id, source_partition, evidence)

    def take_changed(self) -> Iterator[tuple[LabelSpace, str, LabelModel]]:
        """Labelers whose evidence changed since the last call, with the model that knows them."""
        for space, model in self.models.items():
            changed, model.changed = sorted(model.changed), set()
            for labeler_id in changed:
                yield space, labeler_id, model

    def load(self, space: LabelSpace, form: str, state: list[Any]) -> None:
        """Continue from a dumped space; before its labelers."""
        self._make(space, form).load(state)

    def _learn(
        self, task: Task, model: LabelModel, weight: float, judged: list[tuple[str, Answer]] | None = None
    ) -> Outcome | None:
        """Hold what the answers alone say against the truth, and learn how far to trust the like of it.

        ``judged``: the answers that were not held against it before; None for all.
        """
        truth = task.truth
        if truth is None:
            return None
        belief = model.believe(task)
        if belief.label is None:
            return None
        is_right = belief.label == truth.label
        if model.form not in (CONFUSION, ONE_COIN):
            return Outcome(belief, belief.raw_confidence, truth, is_right, len(task.answers))
        votes = task.votes()
        grounds = _grounds(votes, model, belief, belief.label)
        confidence = self.confidence_model.forecast(task.task_type, grounds)
        self.confidence_model.learn(task.task_type, grounds, is_right, weight)
        for name, answer in votes if judged is None else judged:
            assert answer.label is not None
            of_answer = _grounds(votes, model, belief, answer.label, [(name, answer)])
            self.confidence_model.learn_annotation(task.task_type, of_answer, answer.label == truth.label, weight)
        self.is_confidence_changed = True
        return Outcome(belief, confidence, truth, is_right, len(task.answers))

    def _revise(self, task: Task, model: LabelModel) -> None:
        model.update(task)
        self.changed_spaces.add(task.space)

    def _model(self, space: LabelSpace, kind: str) -> LabelModel:
        model = self.models.get(space)
        if model is not None:
            return model
        guideline = self._guidelines.get(space.project_id, Guideline())
        if guideline.subjective:
            return self._make(space, SUBJECTIVE)
        if kind == "rating":
            return self._make(space, RATING)
        is_matrix = kind == "class" and len(guideline.classes) <= self._max_classes
        return self._make(space, CONFUSION if is_matrix else ONE_COIN)

    def _of_form(self, space: LabelSpace, form: str) -> LabelModel:
        """The space's model, made in the form that another partition found right if there is none yet."""
        model = self.models.get(space)
        if model is None:
            return self._make(space, form)
        if isinstance(model, ConfusionModel) and form == ONE_COIN:
            model = self.models[space] = OneCoinModel.successor(model, self._half_lives)
        return model

    def _make(self, space: LabelSpace, form: str) -> LabelModel:
        guideline = self._guidelines.get(space.project_id, Guideline())
        model: LabelModel
        if form == CONFUSION:
            model = ConfusionModel(self._half_lives, guideline.classes)
        elif form == RATING:
            model = RatingModel(self._half_lives)
        elif form == SUBJECTIVE:
            model = SubjectiveModel(self._half_lives)
        else:
            model = OneCoinModel(self._half_lives)
        self.models[space] = model
        return model


def _grounds(
    votes: list[tuple[str, Answer]],
    model: LabelModel,
    belief: Belief,
    label: str,
    judged: list[tuple[str, Answer]] | None = None,
) -> Grounds:
    """What confidence in a label is judged by: of the consensus of all votes, or of the ones that are judged."""
    judged = judged or votes
    paces = [answer.pace for _, answer in judged if answer.pace is not None]
    return Grounds(
        posterior=min(belief.posterior.get(label, 0.0), 1.0),
        entropy=belief.entropy,
        labels=len(votes),
        classes=len(belief.posterior),
        vote_share=sum([answer.label == label for _, answer in votes]) / len(votes),
        accuracy=sum([model.accuracy(name) for name, _ in judged]) / len(judged),
        handling_log_ratio=sum(paces) / len(paces) if paces else None,
    )
