"""The flow: every stage of every data set as a Prefect task run, executed and cached by DVC.

python -m flows.pipeline [--dataset NAME ...] [--target STAGE ...] [--max-workers N]
"""
# ruff: noqa: E402 (what Prefect reads of the environment must be there before it is imported)

from __future__ import annotations

import argparse
import logging
import queue
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from flows.environment import configure, gpu_in_use, project_root

configure()

from prefect import Task, flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import RunInput, State, TaskRunResult
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.arguments import add_run_arguments, guarded
from flows.gpu import ensure_gpu_limit, gpu_slot
from flows.graph import Graph, Stage, read_graph
from flows.publish import Progress, publish_dataset
from flows.runner import Outcome, StageRunner, StoppedError
from flows.schedule import Schedule
from flows.session import Results, Session, with_publishing
from flows.summary import print_summary
from nola_core.errors import NolaError

POLL_SECONDS = 5.0


@flow(name="nola", persist_result=False, log_prints=False)
def nola(datasets: list[str] | None = None, max_workers: int = 2, targets: list[str] | None = None) -> State[Any]:
    """Bring data sets up to date: all of them or those named, up to `targets` or to the end.

    A stage that fails stops what needs it and nothing else; the flow then fails and names each failed stage. The result
    is a `Results`; of a run that did not complete, a `PipelineError` that holds them.
    """
    logging.getLogger("prefect.task_runs").addFilter(_says_something)
    root = project_root()
    try:
        if max_workers < 1:
            raise NolaError(f"max_workers must be at least 1, not {max_workers}.")
        graph = with_publishing(read_graph(root, datasets=datasets, targets=targets))
    except NolaError as error:
        return Failed(message=str(error), data=PipelineError(str(error), Results()))
    get_run_logger().info("%s: %d stages, %d out of date", ", ".join(graph.datasets), len(graph.stages), len(graph.stale))
    runner = StageRunner(root)
    slots = ensure_gpu_limit() if gpu_in_use() else 0
    session = Session(
        graph,
        runner,
        publish=partial(publish_dataset, root),
        gpu_slot=partial(gpu_slot, runner.stopping) if slots else nullcontext,
    )
    schedule = Schedule(graph.stages.values(), workers=max_workers, gpu_slots=slots or max_workers)
    try:
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=max_workers)
        with pool, get_client(sync_client=True) as client:
            _drive(graph, session, schedule, pool, client)
    except StoppedError:
        message = "The run was cancelled; the stages that were running have been ended."
        return Cancelled(message=message, data=PipelineError(message, session.ordered()))
    results = session.ordered()
    if results.failures:
        message = "\n".join(results.failures)
        return Failed(message=message, data=PipelineError(message, results))
    return Completed(message=results.tally(), data=results)


class PipelineError(NolaError):
    """The flow did not complete; the message names each failed stage and `results` says what became of all of them."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def _says_something(record: logging.LogRecord) -> bool:
    """Leave out Prefect's first notice of a failed state: an empty traceback, and the next notice says the same."""
    return not record.getMessage().startswith("Task run failed with state")


def _drive(
    graph: Graph, session: Session, schedule: Schedule, pool: ThreadPoolTaskRunner[Any], client: SyncPrefectClient
) -> None:
    """Submit each stage once its upstream has ended; on any exception end the stages that are running."""
    ended: queue.Queue[str] = queue.Queue()
    futures: dict[str, PrefectFuture[Any]] = {}
    progress = Progress(client)
    try:
        while not schedule.done:
            for stage in schedule.take():
                futures[stage.address] = _submit(pool, session, stage, [futures[above] for above in stage.upstream])
                futures[stage.address].add_done_callback(partial(_note, ended, stage.address))
            address = _next(ended, client)
            session.settle(address)
            schedule.finish(address)
            dataset = graph.stages[address].dataset
            so_far = session.results.of(dataset)
            done = sum(result.ok for result in so_far.values())
            total = len(graph.of(dataset))
            progress.show(dataset, done, total, so_far.tally(), last=len(so_far) == total)
    except BaseException:
        session.stop()
        raise


def _submit(
    pool: ThreadPoolTaskRunner[Any], session: Session, stage: Stage, upstream: list[PrefectFuture[Any]]
) -> PrefectFuture[Any]:
    """Start the task run of a stage.

    All of `upstream` has ended; it is named as an input, which draws the graph. `wait_for` would draw it too, but
    leaves the task pending for ever where something upstream was skipped.
    """
    inputs: set[RunInput] = {TaskRunResult(id=future.task_run_id) for future in upstream}
    run: Task[..., Any] = _stage_task(session, stage.name)
    return pool.submit(run, {"address": stage.address, "dataset": stage.dataset}, dependencies={"address": inputs})


def _stage_task(session: Session, name: str) -> Task[[str, str], State[Any]]:
    """The task that executes one stage and reports it as Completed, Cached, Skipped or Failed."""

    @task(name=name, task_run_name="{address}", cache_policy=NO_CACHE, persist_result=False, log_prints=False)
    def stage(address: str, dataset: str) -> State[Any]:
        try:
            result = session.execute(address, get_run_logger().info)
        except StoppedError:
            return Cancelled(message="Ended, because the run was cancelled.")
        if result.outcome is Outcome.FAILED:
            return Failed(message=result.message)
        if result.outcome is Outcome.SKIPPED:
            return Cancelled(name="Skipped", message=result.message)
        return Completed(name="Cached" if result.cached else "Completed", message=result.message)

    return stage


def _note(ended: queue.Queue[str], address: str, _: PrefectFuture[Any]) -> None:
    ended.put(address)


def _next(ended: queue.Queue[str], client: SyncPrefectClient) -> str:
    """The next stage that ends; now and then look whether somebody cancelled the run in the interface."""
    while True:
        try:
            return ended.get(timeout=POLL_SECONDS)
        except queue.Empty:
            state = client.read_flow_run(flow_run.id).state
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                raise StoppedError from None


def run_pipeline(datasets: Iterable[str] | None = None, *, max_workers: int = 2, targets: Iterable[str] | None = None) -> None:
    """Run the flow and print what became of every data set.

    Raises:
        PipelineError: the flow did not complete; the message names each failed stage.
    """
    try:
        outcome: Any = nola(
            datasets=None if datasets is None else list(datasets),
            max_workers=max_workers,
            targets=None if targets is None else list(targets),
        )
    except PipelineError as error:
        print_summary(project_root(), error.results)
        raise
    print_summary(project_root(), outcome)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the pipeline over data sets.")
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    return guarded(lambda: run_pipeline(arguments.dataset, max_workers=arguments.max_workers, targets=arguments.target))


if __name__ == "__main__":
    sys.exit(main())
