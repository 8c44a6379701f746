"""What the model is measured beside: majority vote, and crowd-kit's batch methods on the same labels."""

from __future__ import annotations

import importlib.util
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from streams.evaluate.dataset import Dataset
from streams.evaluate.forecast import Forecast, Opinion

if TYPE_CHECKING:
    import pandas as pd

GLAD: Final = "glad"


def majority(data: Dataset) -> Opinion:
    """The label given most often; a tie goes to the label that sorts first. Confidence is its share of the labels.

    A labeler is taken to be as good as the share of labels that are the majority's.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for given in data.labels:
        votes[given.task_id][given.label] += 1
    tasks = {}
    for task, counts in votes.items():
        label, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        tasks[task] = Forecast(label, count / counts.total())
    agreed: dict[str, list[bool]] = defaultdict(list)
    for given in data.labels:
        agreed[given.labeler_id].append(tasks[given.task_id].label == given.label)
    return Opinion(tasks, {labeler: sum(marks) / len(marks) for labeler, marks in agreed.items()})


def crowd_kit_is_here() -> bool:
    """Whether the batch methods can be run."""
    return importlib.util.find_spec("crowdkit") is not None


@contextmanager
def _quiet() -> Iterator[None]:
    """crowd-kit 1.4 calls pandas in ways that pandas 3 warns about, on every step of every method."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def dawid_skene(data: Dataset) -> Opinion:
    """Batch Dawid-Skene (1979); a labeler's accuracy is the diagonal of the confusion, weighted by the classes."""
    with _quiet():
        from crowdkit.aggregation import DawidSkene

        model = DawidSkene().fit(_frame(data))
    prior = model.priors_
    labelers: dict[str, float] = defaultdict(float)
    for labeler, label in model.errors_.index:
        labelers[labeler] += float(prior.get(label, 0.0) * model.errors_[label].get((labeler, label), 0.0))
    return Opinion(_forecasts(model.probas_), dict(labelers))


def one_coin(data: Dataset) -> Opinion:
    """Batch one-coin Dawid-Skene (Zhang et al. 2016)."""
    with _quiet():
        from crowdkit.aggregation import OneCoinDawidSkene

        model = OneCoinDawidSkene().fit(_frame(data))
    return Opinion(_forecasts(model.probas_), _plain(model.skills_))


def glad(data: Dataset) -> Opinion:
    """GLAD (Whitehill et al. 2009); labelers by its alpha."""
    with _quiet():
        from crowdkit.aggregation import GLAD as Glad

        model = Glad().fit(_frame(data))
    return Opinion(_forecasts(model.probas_), _plain(model.alphas_))


#: Method to what computes it, in the order in which reports show them. All but the first need crowd-kit.
METHODS: Final[Mapping[str, Callable[[Dataset], Opinion]]] = {
    "majority": majority,
    "dawid_skene": dawid_skene,
    "one_coin": one_coin,
    GLAD: glad,
}
TITLES: Final[Mapping[str, str]] = {
    "majority": "majority vote",
    "dawid_skene": "Dawid-Skene",
    "one_coin": "one-coin Dawid-Skene",
    GLAD: "GLAD",
}


def available(*, with_glad: bool = True) -> list[str]:
    """Names of the methods that can be run here."""
    if not crowd_kit_is_here():
        return ["majority"]
    return [name for name in METHODS if with_glad or name != GLAD]


def _frame(data: Dataset) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [(given.task_id, given.labeler_id, given.label) for given in data.labels], columns=["task", "worker", "label"]
    )


def _forecasts(probabilities: pd.DataFrame) -> dict[str, Forecast]:
    """The likeliest label a task; a tie goes to the label that sorts first."""
    ordered = probabilities[sorted(probabilities.columns)].fillna(0.0)
    best, confidence = ordered.idxmax(axis=1), ordered.max(axis=1)
    return {task: Forecast(str(best[task]), float(confidence[task])) for task in ordered.index}


def _plain(values: Any) -> dict[str, float]:
    return {str(labeler): float(value) for labeler, value in values.items()}
