"""Record task runs of stages that have nothing to do, without starting Prefect's engine for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State, TaskRun, TaskRunResult
from prefect.states import Completed
from prefect.utilities.engine import emit_task_run_state_change_event

from flows.session import Result


def record_cached(results: Iterable[Result], ids: Mapping[str, UUID], flow_run_id: UUID) -> None:
    """Report each result to the server as a task run in state Cached, with the event that the engine would send last.

    Args:
        results: results of stages that are up to date.
        ids: the task runs, by address, of every stage in `results` and of their upstream stages: the edges of the graph.
        flow_run_id: their flow run.
    """
    for result in results:
        stage = result.stage
        state: State[None] = Completed(name="Cached", message=result.message)
        state.state_details.flow_run_id = flow_run_id
        state.state_details.task_run_id = ids[stage.address]
        times: dict[str, Any] = dict.fromkeys(("expected_start_time", "start_time", "end_time"), state.timestamp)
        run = TaskRun(
            id=ids[stage.address],
            name=stage.address,
            flow_run_id=flow_run_id,
            task_key=stage.name,
            dynamic_key=stage.address,
            task_inputs={"address": [TaskRunResult(id=ids[above]) for above in stage.upstream]},
            state_type=state.type,
            state_name=state.name,
            **times,
        )
        emit_task_run_state_change_event(run, None, state)
