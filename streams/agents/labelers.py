"""The LABELERS agent: evidence on labelers to `streams.labelers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.topics import LABELER_EVIDENCE
from streams.agents.owner import OwnerAgent
from streams.health import HealthState
from streams.labelers import Labelers, LabelersPipeline
from streams.metrics import METRICS
from streams.owner import Owned
from streams.settings import WorkerSettings

if TYPE_CHECKING:
    import faust


class LabelersAgent(OwnerAgent[Labelers]):
    """Feeds a `Labelers`."""

    def __init__(
        self, app: faust.App, settings: WorkerSettings, health: HealthState, fail: Callable[[BaseException], None]
    ) -> None:
        super().__init__(app, "labelers", (LABELER_EVIDENCE.name,), settings, health, fail)

    def show(self, partition: str, owned: Owned[LabelersPipeline]) -> None:
        METRICS.labelers.labels(partition).set(len(owned.pipeline.state.labelers))

    def stop_showing(self, partition: str) -> None:
        super().stop_showing(partition)
        METRICS.labelers.remove(partition)
