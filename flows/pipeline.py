"""The flow: every stage of every data set as a Prefect task run, executed and cached by DVC.

python -m flows.pipeline [--dataset NAME ...] [--target STAGE ...] [--max-workers N]
"""
# ruff: noqa: E402 (Prefect reads environment variables on import, so they must be set first)

from __future__ import annotations

import argparse
import logging
import queue
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from flows.environment import configure, gpu_in_use, gpu_names
from flows.project import project_root, require_project

configure()

from prefect import Task, flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import RunInput, State, TaskRunResult
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.arguments import add_run_arguments, guarded
from flows.cached import record_cached
from flows.gpu import Devices, ensure_gpu_limit, gpu_slot
from flows.graph import Graph, Stage, read_graph
from flows.inputs import prepare_inputs
from flows.interrupts import INTERRUPTS
from flows.locking import StoppedError, run_lock
from flows.progress import Progress
from flows.publish import publish_dataset, published
from flows.runner import Outcome, StageRunner
from flows.schedule import Schedule
from flows.server import expect_records, use_server
from flows.session import PUBLISH, Results, Session, with_publishing
from flows.summary import print_summary
from nola_core.errors import NolaError

AGAIN = "Start `nola run` again to continue: finished stages are not repeated."
POLL_SECONDS = 5.0


@flow(name="nola", persist_result=False, log_prints=False)
def nola(datasets: list[str] | None = None, max_workers: int = 2, targets: list[str] | None = None) -> State[Any]:
    """Bring data sets up to date: all or the named ones, up to `targets` or to the end.

    A failed stage stops only the stages that need it; the flow then fails and names each failed stage. The result is a `Results`.
    A run that does not complete raises a `PipelineError` that contains them.
    """
    logging.getLogger("prefect.task_runs").addFilter(_says_something)
    root = project_root()
    session: Session | None = None
    try:
        if max_workers < 1:
            raise NolaError(f"max_workers must be at least 1, not {max_workers}.")
        with INTERRUPTS.heard():
            prepare_inputs(root)
            graph = with_publishing(read_graph(root, datasets=datasets, targets=targets, notify=get_run_logger().info))
        with get_client(sync_client=True) as client:
            settled = _settled(root, graph, client)
            pending = [stage for stage in graph.stages.values() if stage not in settled]
            devices = gpu_names() if any(stage.gpu for stage in pending) and gpu_in_use() else None
            slots = max_workers if devices is None else ensure_gpu_limit(len(devices))
            runner = StageRunner(root)
            session = Session(
                graph,
                runner,
                publish=partial(publish_dataset, root),
                gpu_slot=None if devices is None else partial(gpu_slot, runner.stopping, Devices(devices)),
            )
            ids = _record_settled(graph, session, settled)
            expect_records(str(flow_run.id), len(settled))
            _drive(graph, session, Schedule(pending, workers=max_workers, gpu_slots=slots), ids, client)
    except NolaError as error:
        return Failed(message=str(error), data=PipelineError(str(error), Results()))
    except (StoppedError, KeyboardInterrupt, TerminationSignal) as why:
        interrupted = not isinstance(why, StoppedError)
        message = f"{'Interrupted' if interrupted else 'Cancelled'}: the running stages were stopped. {AGAIN}"
        results = session.ordered() if session else Results()
        return Cancelled(message=message, data=PipelineError(message, results, interrupted=interrupted))
    results = session.ordered()
    if results.failures:
        message = "\n".join(results.failures)
        return Failed(message=f"{message}\n{AGAIN}", data=PipelineError(message, results))
    return Completed(message=results.tally(), data=results)


class PipelineError(NolaError):
    """The flow did not complete.

    The message names each failed stage, `results` contains the outcome of all stages, and `interrupted` says whether the user
    pressed Ctrl-C.
    """

    def __init__(self, message: str, results: Results, *, interrupted: bool = False) -> None:
        super().__init__(message)
        self.results = results
        self.interrupted = interrupted


def _says_something(record: logging.LogRecord) -> bool:
    """Drop Prefect's first message about a failed state: an empty traceback, and the next message says the same."""
    return not record.getMessage().startswith("Task run failed with state")


def _settled(root: Path, graph: Graph, client: SyncPrefectClient) -> list[Stage]:
    """The stages that have nothing to do, including publishing if the server already has everything."""
    stages = graph.settled()
    finished = [stage.dataset for stage in stages if stage.name == PUBLISH]
    there = published(client, root, finished) if finished else set()
    return [stage for stage in stages if stage.name != PUBLISH or stage.dataset in there]


def _record_settled(graph: Graph, session: Session, settled: list[Stage]) -> dict[str, UUID]:
    """Report the stages that have nothing to do; returns the task run of each."""
    kept = session.keep(settled)
    ids = {result.stage.address: uuid4() for result in kept}
    record_cached(kept, ids, UUID(flow_run.id))
    for dataset, count in Counter(stage.dataset for stage in settled).items():
        get_run_logger().info("%s: %d of %d stages have nothing to do", dataset, count, len(graph.of(dataset)))
    return ids


def _drive(graph: Graph, session: Session, schedule: Schedule, ids: dict[str, UUID], client: SyncPrefectClient) -> None:
    """Submit each stage when its upstream has ended; on any exception stop the running stages.

    Args:
        graph: all stages.
        session: executes them.
        schedule: decides which stage is next, until it is empty.
        ids: the task runs of the stages that are not in the schedule; those of the others are added.
        client: the client of the server.
    """
    if schedule.done:
        return
    ended: queue.Queue[str] = queue.Queue()
    progress = Progress(client)
    pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=schedule.workers)
    with pool:
        try:
            while not schedule.done:
                for stage in schedule.take():
                    future = _submit(pool, session, stage, [ids[above] for above in stage.upstream])
                    ids[stage.address] = future.task_run_id
                    future.add_done_callback(partial(_note, ended, stage.address))
                expect_records(str(flow_run.id), len(ids))
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


def _submit(pool: ThreadPoolTaskRunner[Any], session: Session, stage: Stage, upstream: list[UUID]) -> PrefectFuture[Any]:
    """Start the task run of a stage.

    All stages in `upstream` have ended. They are passed as inputs so that Prefect draws the graph. `wait_for` would draw it too,
    but leaves the task pending forever if an upstream stage was skipped.
    """
    inputs: set[RunInput] = {TaskRunResult(id=task_run) for task_run in upstream}
    run: Task[..., Any] = _stage_task(session, stage.name)
    return pool.submit(run, {"address": stage.address, "dataset": stage.dataset}, dependencies={"address": inputs})


def _stage_task(session: Session, name: str) -> Task[[str, str], State[Any]]:
    """The task that runs one stage and reports it as Completed, Cached, Skipped or Failed."""

    @task(name=name, task_run_name="{address}", cache_policy=NO_CACHE, persist_result=False, log_prints=False)
    def stage(address: str, dataset: str) -> State[Any]:
        try:
            result = session.execute(address, get_run_logger().info)
        except StoppedError:
            return Cancelled(message="Stopped because the run was cancelled or interrupted.")
        if result.outcome is Outcome.FAILED:
            return Failed(message=f"{result.message}\nSee the log of this task run for details. {AGAIN}")
        if result.outcome is Outcome.SKIPPED:
            return Cancelled(name="Skipped", message=result.message)
        return Completed(name="Cached" if result.cached else "Completed", message=result.message)

    return stage


def _note(ended: queue.Queue[str], address: str, _: PrefectFuture[Any]) -> None:
    ended.put(address)


def _next(ended: queue.Queue[str], client: SyncPrefectClient) -> str:
    """Wait for the next stage that ends; check regularly whether the run was cancelled in the interface."""
    while True:
        try:
            with INTERRUPTS.heard():
                return ended.get(timeout=POLL_SECONDS)
        except queue.Empty:
            state = client.read_flow_run(flow_run.id).state
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                raise StoppedError from None


def run_pipeline(datasets: Iterable[str] | None = None, *, max_workers: int = 2, targets: Iterable[str] | None = None) -> None:
    """Run the flow and print the result for every data set.

    Waits for another run of this project. Starts a temporary server if there is none.

    Raises:
        NolaError: the working directory is not in a project, or no server can be started.
        PipelineError: the flow did not complete; the message names each failed stage.
        KeyboardInterrupt: the run was interrupted; everything it had started has ended.
    """
    root = require_project()
    names, stages = (None if chosen is None else list(chosen) for chosen in (datasets, targets))
    with INTERRUPTS.installed(), ExitStack() as stack:
        try:
            with INTERRUPTS.heard():
                stack.enter_context(run_lock(root, _say))
                use_server()
            outcome: Any = nola(datasets=names, max_workers=max_workers, targets=stages)
        except PipelineError as error:
            if not error.interrupted:
                print_summary(root, error.results)
                raise
            _say(str(error))
            raise KeyboardInterrupt from None
        except KeyboardInterrupt:
            _say(f"Interrupted. {AGAIN}")
            raise
        print_summary(root, outcome)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run the pipeline over data sets.")
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    return guarded(lambda: run_pipeline(arguments.dataset, max_workers=arguments.max_workers, targets=arguments.target))


if __name__ == "__main__":
    sys.exit(main())
