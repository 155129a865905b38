"""Publish the artifacts of finished data sets to Prefect, after the flow or after a plain `dvc repro`.

python -m flows.publish [--dataset NAME ...]
"""
# ruff: noqa: E402 (what Prefect reads of the environment must be there before it is imported)

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flows.environment import configure
from flows.project import project_root, require_project

configure()

from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed

from flows.arguments import add_dataset_argument, guarded
from flows.artifact_key import PICTURES, artifact_key
from flows.project import dataset_names
from flows.server import use_server
from nola_core.errors import NolaError

FILES = ("metrics.json", "label_free.json", "names.json", "pseudo_labels.parquet", "classes.parquet", "per_class.csv")
"""What the artifacts of a data set are made of, beside the picture of its summary."""
MARK = "fingerprint"
PAGE = 200  # more the server does not send at once


def publish_dataset(root: Path, dataset: str) -> int:
    """Send a data set's artifacts to the server; those it has already, unchanged, stay. Returns how many were sent.

    Raises:
        NolaError: a file is missing or cannot be read; nothing is sent then.
    """
    from flows.artifacts import dataset_artifacts  # pandas, which a run that publishes nothing does without

    mark = fingerprint(root, dataset)  # before the files are read: one that changes meanwhile is published again
    artifacts = list(dataset_artifacts(root, dataset))
    with get_client(sync_client=True) as client:
        latest = _latest(client, [artifact.key for artifact in artifacts])
        summary = artifact_key(dataset, "summary")
        changed = [
            artifact
            for artifact in artifacts
            if latest.get(artifact.key, {}).get("data") != artifact.data
            or latest[artifact.key]["type"] != artifact.type
            or (artifact.key == summary and _mark(latest[summary]) != mark)
        ]
        for artifact in sorted(changed, key=lambda artifact: artifact.key == summary):  # the mark after all it stands for
            metadata = {MARK: mark} if artifact.key == summary and mark else None
            client.create_artifact(request(artifact.key, artifact.type, artifact.data, artifact.description, metadata))
    return len(changed)


def published(client: SyncPrefectClient, root: Path, datasets: Iterable[str]) -> set[str]:
    """The data sets whose files are those of the last publication on this server: one request, and no picture is drawn.

    An artifact that somebody deleted in the interface is not missed here; `nola publish` brings it back.
    """
    marks = {dataset: mark for dataset in datasets if (mark := fingerprint(root, dataset)) is not None}
    latest = _latest(client, [artifact_key(dataset, "summary") for dataset in marks])
    return {dataset for dataset, mark in marks.items() if _mark(latest.get(artifact_key(dataset, "summary"), {})) == mark}


def fingerprint(root: Path, dataset: str) -> str | None:
    """Hash of all that the artifacts of a data set are made of, their code among it; None if a file is missing."""
    folder = root / "data" / dataset
    if not (folder / "report.html").is_file():
        return None
    figures = [picture for name in PICTURES if (picture := folder / "figures" / f"{name}.png").is_file()]
    digest = hashlib.sha256(str(folder).encode())
    try:
        for path in (Path(__file__).with_name("artifacts.py"), *(folder / name for name in FILES), *figures):
            with path.open("rb") as file:
                digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    except OSError:
        return None
    return digest.hexdigest()


def request(key: str, kind: str, data: str | float, description: str, metadata: dict[str, str] | None = None) -> ArtifactCreate:
    """A new version of an artifact, of the flow and task run this is called in."""
    runs = {"flow_run_id": flow_run.id, "task_run_id": task_run.id}
    return ArtifactCreate(key=key, type=kind, data=data, description=description, metadata_=metadata, **runs)


def _mark(artifact: dict[str, Any]) -> str | None:
    return (artifact.get("metadata_") or {}).get(MARK)


def _latest(client: SyncPrefectClient, keys: list[str]) -> dict[str, dict[str, Any]]:
    """Key -> the latest version on the server."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(keys), PAGE):
        # Prefect 3.8's own client.read_latest_artifacts sends nulls for filters left out, which the server refuses.
        body = {"artifacts": {"key": {"any_": keys[start : start + PAGE]}}, "limit": PAGE}
        answer = client.request("POST", "/artifacts/latest/filter", json=body).json()
        found |= {artifact["key"]: artifact for artifact in answer}
    return found


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
    require_project()
    use_server()
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
