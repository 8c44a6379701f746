"""The simulator: a seeded annotation operation as a source, with the truth about it. See docs/simulator.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from schemas.events import AnnotationEvent, ReviewEvent
from schemas.times import to_ms
from streams.sources.simulation.answers import answers_of
from streams.sources.simulation.operation import Operation
from streams.sources.simulation.scenario import Scenario, ScenarioError
from streams.sources.simulation.timeline import schedule
from streams.sources.simulation.truth import Truth, truth_of, write
from streams.sources.simulation.workforce import MODEL_HANDLING_SECONDS, Workforce
from streams.sources.source import SourceError

__all__ = ["Scenario", "ScenarioError", "Simulation", "Truth"]

#: Seconds a task beyond the project's median: gaps, idle time, practice and the log-normal's mean above its median.
_ESTIMATE_FACTOR, _ESTIMATE_GAP_SECONDS = 1.06, 5.5


class Simulation:
    """A source of annotations and reviews, the same for the same scenario and seed.

    Events come in **arrival order**. That is event-time order (``submitted_at``, ``reviewed_at``) except that an
    ``ingestion_stall`` holds annotations back and lets them go together, in their own order, when it ends. Event
    times are never changed. The arrival time of an event is therefore the latest event time seen so far.

    Raises:
        ScenarioError: an incident that would hit nobody.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self._answers = [answers_of(project) for project in scenario.projects]
        self._workforce = Workforce(scenario, self._answers, self._random("workforce"))
        self._incidents = schedule(scenario, self._workforce, self._random("incidents"))

    def __iter__(self) -> Iterator[AnnotationEvent | ReviewEvent]:
        return iter(self._operation(for_truth=False))

    def estimate(self) -> int:
        """About how many events there are, from working hours and handling times."""
        start_ms, end_ms = to_ms(self.scenario.start), to_ms(self.scenario.end)
        events = 0.0
        for index, project in enumerate(self.scenario.projects):
            annotations = 0.0
            for labeler in self._workforce.labelers:
                if index in labeler.skills:
                    vendor = labeler.vendor
                    seconds = project.handling_seconds * vendor.pace * _ESTIMATE_FACTOR + _ESTIMATE_GAP_SECONDS
                    if labeler.is_model:
                        seconds = vendor.model_gap_seconds + MODEL_HANDLING_SECONDS
                    annotations += labeler.work_ms(start_ms, end_ms, index) / 1000 / seconds
            events += annotations * (1 + project.review_share + self.scenario.revision_share)
        return round(events)

    def truth(self) -> Truth:
        """What really happened. Runs the simulation once more."""
        operation = self._operation(for_truth=True)
        for _ in operation:
            pass
        return truth_of(self.scenario, self.seed, self._answers, self._workforce.labelers, self._incidents, operation)

    def write_truth(self, path: str | Path) -> None:
        """Write the truth file.

        Raises:
            SourceError: the file cannot be written.
        """
        truth = self.truth()
        try:
            write(truth, path)
        except OSError as error:
            raise SourceError(f"{path}: the truth file cannot be written: {error.strerror or error}") from error

    def _operation(self, *, for_truth: bool) -> Operation:
        return Operation(
            self.scenario,
            self._answers,
            self._workforce,
            self._incidents,
            self._random("operation"),
            for_truth=for_truth,
        )

    def _random(self, part: str) -> Random:
        # Seeding by text goes through SHA-512, not through hash(): the same on every machine and in every process.
        return Random(f"{self.seed}/{self.scenario.name}/{part}")
