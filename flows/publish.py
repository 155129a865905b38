"""Publish the artifacts of finished data sets to Prefect, after the flow or after a plain `dvc repro`.

python -m flows.publish [--dataset NAME ...]
"""
# ruff: noqa: E402 (what Prefect reads of the environment must be there before it is imported)

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flows.environment import configure, project_root

configure()

from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed

from flows.arguments import add_dataset_argument, guarded
from flows.artifacts import Artifact, artifact_key, dataset_artifacts
from flows.graph import dataset_names
from nola_core.errors import NolaError

PROGRESS_SECONDS = 1.0


def publish_dataset(root: Path, dataset: str) -> int:
    """Send a data set's artifacts to the server; those it has already, unchanged, stay. Returns how many were sent.

    Raises:
        NolaError: a file is missing or cannot be read; nothing is sent then.
    """
    return send(list(dataset_artifacts(root, dataset)))


def send(artifacts: list[Artifact]) -> int:
    """Create the artifacts whose latest version on the server differs; returns how many."""
    with get_client(sync_client=True) as client:
        latest = _latest(client, [artifact.key for artifact in artifacts])
        changed = [artifact for artifact in artifacts if latest.get(artifact.key) != (artifact.type, artifact.data)]
        for artifact in changed:
            client.create_artifact(_request(artifact.key, artifact.type, artifact.data, artifact.description))
    return len(changed)


class Progress:
    """One progress artifact a data set, `digits-progress`: a new version each run, updated at most once a second."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._ids: dict[str, Any] = {}
        self._shown: dict[str, float] = {}

    def show(self, dataset: str, done: int, total: int, tally: str, *, last: bool) -> None:
        """Set the share of stages that are up to date; `tally` says in words what became of those that ended.

        Nothing is left out for lack of time if it is the `last` of the data set.
        """
        if not last and time.monotonic() - self._shown.get(dataset, -math.inf) < PROGRESS_SECONDS:
            return
        self._shown[dataset] = time.monotonic()
        percent = round(100 * done / total, 1)
        text = f"{dataset}: {done} of {total} stages up to date ({tally})"
        if dataset in self._ids:
            self._client.update_artifact(self._ids[dataset], ArtifactUpdate(data=percent, description=text))
        else:
            request = _request(artifact_key(dataset, "progress"), "progress", percent, text)
            self._ids[dataset] = self._client.create_artifact(request).id


def _request(key: str, kind: str, data: str | float, description: str) -> ArtifactCreate:
    return ArtifactCreate(
        key=key, type=kind, data=data, description=description, flow_run_id=flow_run.id, task_run_id=task_run.id
    )


def _latest(client: SyncPrefectClient, keys: list[str]) -> dict[str, tuple[str | None, object]]:
    # Prefect 3.8's own client.read_latest_artifacts sends nulls for filters left out, which the server refuses.
    body = {"artifacts": {"key": {"any_": keys}}, "limit": len(keys)}
    found = client.request("POST", "/artifacts/latest/filter", json=body).json()
    return {artifact["key"]: (artifact["type"], artifact["data"]) for artifact in found}


@flow(name="nola-publish", persist_result=False, log_prints=False)
def publish(datasets: list[str] | None = None) -> State[Any]:
    """Publish what is on disk; a data set that lacks a file is named, and the rest is published."""
    root = project_root()
    logger = get_run_logger()
    problems: list[str] = []
    known = dataset_names(root)
    names = known if datasets is None else datasets
    for dataset in names:
        try:
            if dataset not in known:
                raise NolaError(f"params.yaml has no such data set; it has: {', '.join(known)}.")
            sent = publish_dataset(root, dataset)
        except NolaError as error:
            problems.append(f"{dataset} is not published: {error}")
            logger.error(problems[-1])
        else:
            logger.info("%s: %s", dataset, f"{sent} artifacts published" if sent else "all artifacts are up to date")
    if problems:
        return Failed(message="\n".join(problems), data=problems)
    return Completed(message=f"{len(names)} data sets", data=problems)


def run_publish(datasets: Iterable[str] | None = None) -> None:
    """Run the publishing flow.

    Raises:
        NolaError: a data set could not be published; the others were.
    """
    state = publish(None if datasets is None else list(datasets), return_state=True)
    if not state.is_completed():
        raise NolaError(state.message or "publishing failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows.publish", description="Publish finished data sets to Prefect.")
    add_dataset_argument(parser)
    arguments = parser.parse_args(argv)
    return guarded(lambda: run_publish(arguments.dataset))


if __name__ == "__main__":
    sys.exit(main())
