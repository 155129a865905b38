"""`nola run`, `nola publish` and `nola server`: what needs Prefect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Datasets
from flows.commands.output import notice
from flows.commands.project import check_datasets, find_project


def run(
    dataset: Datasets = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Stop after this stage, such as tune or tune@digits; may be repeated. Without it: go to the end.",
            show_default=False,
        ),
    ] = None,
    max_workers: Annotated[int, typer.Option(min=1, metavar="N", help="How many stages may run at the same time.")] = 2,
) -> None:
    """Run the pipeline.

    Every stage of every data set is brought up to date, watched by Prefect. What has not changed is not computed again.
    """
    _enter(dataset or [])
    from flows.pipeline import run_pipeline

    run_pipeline(dataset or None, max_workers=max_workers, targets=target or None)


def publish(dataset: Datasets = None) -> None:
    """Send the tables and pictures of finished data sets to Prefect.

    `nola run` does so by itself; this is for results of a plain `dvc repro`.
    """
    _enter(dataset or [])
    from flows.publish import run_publish

    run_publish(dataset or None)


def server(
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Where it listens, on this machine alone.")] = 4200,
) -> None:
    """Start the Prefect interface of this project.

    It needs no network. Runs of this project that begin while it is up report to it.
    """
    _enter()
    from flows.server import serve

    serve(port)


def _enter(datasets: Sequence[str] | None = None) -> None:
    """Go to the project, where DVC's stages have the names they have in dvc.yaml, and set up Prefect before it is imported."""
    root = find_project()
    if datasets is not None:
        check_datasets(root, datasets)
    if root != Path():
        os.chdir(root)
        notice(f"in {Path.cwd()}:")
    from flows.environment import configure

    configure()
