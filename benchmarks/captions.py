"""Bad labelers of real captions, found without their answers being known: AUC, and those that the platform missed.

    python -m benchmarks.captions [--data DIR] [--json]

Dutch captions of CrowdFlower (set dutch_descriptions). The system sees what replay would send: labeler, channel, image,
text and times. What researchers said of every sentence, and the platform's ``_tainted``, are read apart from that and
only compared with. Nothing in the ranking was fitted to them.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from detectors.expected_time import ExpectedTimes
from detectors.labeler_suspicion import KINDS, VENDOR, rank_labelers
from detectors.text_traits import Given
from schemas.events import AnnotationEvent
from schemas.labels import canonical
from streams.sources.figure_eight import FigureEight
from streams.sources.source import SourceError
from streams.sources.text_files import read_table
from streams.timed_work import timed_work

REPO = Path(__file__).parents[1]
DATA_VARIABLE = "LABELWATCH_DATA"
FILE: Final = Path("dutch_descriptions") / "crowdflower1-annotated-anonymized.csv.gz"
#: Labelers that somebody would look at.
TOP: Final = 20
#: Resampled sets of labelers behind an interval, and their seed.
DRAWS: Final = 4_000
SEED: Final = 0

Scores = dict[str, float]
"""Labeler to how suspicious it is; more is worse."""


class Truth(NamedTuple):
    """What is hidden from the system."""

    bad: frozenset[str]
    """Labelers most of whose sentences researchers found bad."""
    caught: frozenset[str]
    """Labelers most of whose judgements the platform called tainted."""

    @property
    def missed(self) -> frozenset[str]:
        """Bad ones that the platform missed."""
        return self.bad - self.caught


class Figures(NamedTuple):
    """How well one order of the labelers finds the bad ones. Intervals: 90 %, labelers resampled."""

    auc: float
    low: float
    high: float
    missed_in_top: int
    """Of the bad ones that the platform missed: those among the first `TOP` of all labelers."""
    auc_passed: float
    low_passed: float
    high_passed: float
    missed_in_top_passed: int
    """The same, but only those labelers are ranked whom the platform had nothing against."""


def read_given(path: Path) -> list[Given]:
    """The captions as the system sees them, in order of time, each time held against its forecast.

    Raises:
        SourceError: the file cannot be read.
    """
    model = ExpectedTimes()
    given = []
    for event in FigureEight([path], "captions", "caption"):
        if isinstance(event, AnnotationEvent):
            work = timed_work(event)
            p_value = model.observe(work).p_value
            text = canonical(event.label)
            given.append(Given(work.labeler_id, work.vendor_id, work.task_id, text, work.seconds, p_value))
    return given


def read_truth(path: Path) -> Truth:
    """What researchers and the platform said of the labelers.

    Raises:
        SourceError: the file cannot be read, or lacks a column.
    """
    table = read_table(path)
    labeler_at, category_at, tainted_at = map(table.index, ("_worker_id", "sentence_category", "_tainted"))
    bad: defaultdict[str, list[bool]] = defaultdict(list)
    tainted: defaultdict[str, list[bool]] = defaultdict(list)
    for row in table.rows:
        bad[row.cells[labeler_at]].append(row.cells[category_at] != "OK")
        tainted[row.cells[labeler_at]].append(row.cells[tainted_at] == "true")
    return Truth(_mostly(bad), _mostly(tainted))


def _mostly(verdicts: Mapping[str, Sequence[bool]]) -> frozenset[str]:
    return frozenset(labeler for labeler, said in verdicts.items() if fmean(said) > 0.5)


def rankings(given: Sequence[Given]) -> dict[str, dict[str, Scores]]:
    """Every way to rank the labelers that is reported, by section of the report and by name."""
    found = rank_labelers(given)
    kinds = [*KINDS, VENDOR]
    texts: defaultdict[str, list[int]] = defaultdict(list)
    for one in given:
        texts[one.labeler_id].append(len(one.text))
    return {
        "all": {
            "all evidence": {one.labeler_id: one.total for one in found},
            "without the vendor": {one.labeler_id: one.total - one.kinds[VENDOR] for one in found},
        },
        "kinds": {kind: {one.labeler_id: one.kinds[kind] for one in found} for kind in kinds},
        "traits": {
            f"{kind}: {trait}": {one.labeler_id: one.traits[trait] for one in found}
            for kind, (_, sides) in KINDS.items()
            for trait in sides
        },
        "baselines": {
            "shortest texts first": {who: -fmean(lengths) for who, lengths in texts.items()},
            "most judgements first": {who: float(len(lengths)) for who, lengths in texts.items()},
        },
    }


def measure(scores: Scores, truth: Truth) -> Figures:
    """All figures of one way to rank."""
    passed = {who: score for who, score in scores.items() if who not in truth.caught}
    return Figures(
        *auc_with_interval(scores, truth.bad),
        in_top(scores, truth.missed),
        *auc_with_interval(passed, truth.missed),
        in_top(passed, truth.missed),
    )


def in_top(scores: Scores, wanted: frozenset[str], top: int = TOP) -> int:
    """How many of the wanted are among the first; ties by name.

    >>> in_top({"ann": 3.0, "bob": 2.0, "cat": 1.0}, frozenset({"bob", "cat"}), top=2)
    1
    """
    return len(wanted & set(sorted(scores, key=lambda who: (-scores[who], who))[:top]))


def auc_with_interval(
    scores: Scores, bad: frozenset[str], draws: int = DRAWS, seed: int = SEED
) -> tuple[float, float, float]:
    """Probability that a bad labeler scores above a good one, ties half, with the ends of a 90 % bootstrap interval.

    Bad and good are each resampled; the scores stay, so that how they depend on who else is there is not in it.

    >>> scores = {"ann": 3.0, "bob": 2.0, "cat": 1.0, "dan": 0.5}
    >>> auc_with_interval(scores, frozenset({"ann", "cat"}))
    (0.75, 0.0, 1.0)

    Raises:
        ValueError: nobody is bad, or nobody is good.
    """
    worse = np.array([score for who, score in sorted(scores.items()) if who in bad])
    better = np.array([score for who, score in sorted(scores.items()) if who not in bad])
    if not len(worse) or not len(better):
        raise ValueError("an AUC takes at least one bad and one good labeler")
    above = (worse[:, None] > better) + 0.5 * (worse[:, None] == better)
    generator = np.random.default_rng(seed)
    bad_counts = generator.multinomial(len(worse), np.full(len(worse), 1 / len(worse)), draws)
    good_counts = generator.multinomial(len(better), np.full(len(better), 1 / len(better)), draws)
    drawn = np.einsum("di,ij,dj->d", bad_counts, above, good_counts, optimize=True) / above.size
    low, high = np.quantile(drawn, (0.05, 0.95))
    return float(above.mean()), float(low), float(high)


def chance_in_top(labelers: int, wanted: int) -> float:
    """How many of the wanted are in the top by chance, on average.

    >>> round(chance_in_top(137, 7), 2)
    1.02
    """
    return wanted * min(TOP, labelers) / labelers


def as_table(sections: Mapping[str, Mapping[str, Figures]], sizes: Mapping[str, Any]) -> Table:
    """The figures for people."""
    table = Table(
        title=f"{sizes['bad']} bad of {sizes['labelers']} labelers of {sizes['answers']:,} captions; "
        f"the platform missed {sizes['missed']}",
        caption=f"AUC of bad labelers (.5 is chance) with 90 % bootstrap intervals, and missed ones in the top {TOP}: "
        f"of all labelers (by chance {sizes['chance_in_top']:.1f}), and of the {sizes['passed']} whom the platform "
        f"passed (by chance {sizes['chance_in_top_passed']:.1f}).",
        caption_justify="left",
    )
    table.add_column("labelers ranked by")
    for heading in ("AUC", "90 %", "missed\nin top", "AUC\npassed", "90 %", "missed in\ntop passed"):
        table.add_column(heading, justify="right")
    for rows in sections.values():
        for name, one in rows.items():
            table.add_row(
                name,
                _short(one.auc),
                f"{_short(one.low)}-{_short(one.high)}",
                str(one.missed_in_top),
                _short(one.auc_passed),
                f"{_short(one.low_passed)}-{_short(one.high_passed)}",
                str(one.missed_in_top_passed),
            )
        table.add_section()
    return table


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--data", type=click.Path(path_type=Path), help=f"Folder of the sets; also {DATA_VARIABLE}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(data: Path | None, as_json: bool) -> None:
    folder = data or Path(os.environ.get(DATA_VARIABLE) or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        raise click.ClickException(
            f"{folder}: no such folder. Name the one with the data: --data DIR, or {DATA_VARIABLE}"
        )
    try:
        given, truth = read_given(folder / FILE), read_truth(folder / FILE)
    except SourceError as error:
        raise click.ClickException(str(error)) from None
    labelers = len({one.labeler_id for one in given})
    passed, missed = labelers - len(truth.caught), len(truth.missed)
    sizes = {
        "answers": len(given),
        "labelers": labelers,
        "bad": len(truth.bad),
        "passed": passed,
        "missed": missed,
        "chance_in_top": round(chance_in_top(labelers, missed), 5),
        "chance_in_top_passed": round(chance_in_top(passed, missed), 5),
    }
    sections = {
        section: {name: measure(scores, truth) for name, scores in named.items()}
        for section, named in rankings(given).items()
    }
    if as_json:
        rows = [
            {"section": section, "by": name, **{key: round(value, 5) for key, value in one._asdict().items()}}
            for section, named in sections.items()
            for name, one in named.items()
        ]
        click.echo(json.dumps({**sizes, "top": TOP, "rows": rows}))
        return
    Console(width=None if sys.stdout.isatty() else 110).print(as_table(sections, sizes))


if __name__ == "__main__":
    main()
