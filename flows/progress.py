"""Progress artifacts for data sets."""

from __future__ import annotations

import math
import time
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactUpdate

from flows.artifact_key import artifact_key
from flows.publish import request

PROGRESS_SECONDS = 1.0


class Progress:
    """One progress artifact per data set, `digits-progress`: a new version each run, updated at most once a second."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._ids: dict[str, Any] = {}
        self._shown: dict[str, float] = {}

    def show(self, dataset: str, done: int, total: int, tally: str, *, last: bool) -> None:
        """Set the share of stages that are up to date; `tally` describes the outcomes of finished stages.

        The `last` update of a data set is always sent.
        """
        if not last and time.monotonic() - self._shown.get(dataset, -math.inf) < PROGRESS_SECONDS:
            return
        self._shown[dataset] = time.monotonic()
        percent = round(100 * done / total, 1)
        text = f"{dataset}: {done} of {total} stages up to date ({tally})"
        if dataset in self._ids:
            self._client.update_artifact(self._ids[dataset], ArtifactUpdate(data=percent, description=text))
        else:
            created = self._client.create_artifact(request(artifact_key(dataset, "progress"), "progress", percent, text))
            self._ids[dataset] = created.id
