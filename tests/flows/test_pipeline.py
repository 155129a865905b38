from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.states import Cancelling

from flows.graph import read_graph
from flows.pipeline import AGAIN, PipelineError, main, nola, run_pipeline
from flows.publish import run_publish
from flows.runner import StageRunner
from flows.session import Results
from nola_core.errors import NolaError

ADDRESSES = "prepare@{} embed@{}-clip embed@{}-ssl select@{} tune@{} evaluate@{} report@{} publish@{}"


def addresses(*datasets: str) -> set[str]:
    return {address for dataset in datasets for address in ADDRESSES.replace("{}", dataset).split()}


def last_flow_run() -> Any:
    with get_client(sync_client=True) as client:
        named = FlowFilter(name=FlowFilterName(any_=["nola"]))
        return client.read_flow_runs(flow_filter=named, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def task_runs(flow_run_id: UUID) -> list[Any]:
    with get_client(sync_client=True) as client:
        of_flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        return client.read_task_runs(flow_run_filter=of_flow_run, sort=TaskRunSort.NAME_ASC, limit=200)


def task_states(flow_run_id: UUID, expected: int) -> dict[str, str]:
    """Task run name -> state name on the server, once all have arrived there."""
    deadline = time.monotonic() + 20
    while True:
        states = {run.name: run.state for run in task_runs(flow_run_id) if run.state is not None}
        if (len(states) == expected and all(state.is_final() for state in states.values())) or time.monotonic() > deadline:
            return {name: str(state.name) for name, state in states.items()}
        time.sleep(0.2)


def edges(flow_run_id: UUID) -> set[tuple[str, str]]:
    """The edges of the graph in the interface: (upstream, task run)."""
    with get_client(sync_client=True) as client:
        graph = client.request("GET", "/flow_runs/{id}/graph-v2", path_params={"id": flow_run_id}).json()
    names = {name: node["label"] for name, node in graph["nodes"]}
    return {(names[above["id"]], node["label"]) for _, node in graph["nodes"] for above in node["parents"]}


def artifact(key: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.request("GET", "/artifacts/{key}/latest", path_params={"key": key}).json()


@pytest.mark.usefixtures("prefect_server")
def test_two_data_sets_then_all_cached(make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repo(digits="", Leaves="unlabelled")
    monkeypatch.setenv("NOLA_DEVICE", "cuda")  # the toy has no use for one, but takes the slot
    results: Any = nola(max_workers=3)
    assert {result.outcome.value for result in results.values()} == {"run"}
    assert set(results) == addresses("digits", "Leaves")
    assert len((root / "ran.log").read_text().splitlines()) == 14
    states = task_states(last_flow_run().id, 16)
    assert states == dict.fromkeys(addresses("digits", "Leaves"), "Completed")
    drawn = edges(last_flow_run().id)
    assert ("embed@digits-clip", "select@digits") in drawn and len(drawn) == 16
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name("gpu")
    assert (limit.limit, limit.active_slots) == (1, 0)

    metrics = json.loads(artifact("digits-metrics")["data"])
    assert [row["method"] for row in metrics] == ["Zero-shot", "Alignment head", "Nearest", "NoLA"]
    assert metrics[3]["top-1"] == "62.5 %" and metrics[3]["gain"] == "+12.5"
    assert artifact("digits-progress")["data"] == 100
    assert "![accuracy](data:image/png;base64," in artifact("digits-summary")["data"]
    first = str(last_flow_run().id)
    assert artifact("digits-metrics")["flow_run_id"] == first

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"{arguments} are fresh and were run or drawn")

    with monkeypatch.context() as patched:
        patched.setattr(StageRunner, "run", refuse)
        patched.setattr("flows.artifacts.dataset_artifacts", refuse)
        again: Any = nola()
    assert {result.outcome.value for result in again.values()} == {"unchanged"}
    assert task_states(last_flow_run().id, 16) == dict.fromkeys(addresses("digits", "Leaves"), "Cached")
    assert edges(last_flow_run().id) == drawn, "Cached or not, the picture is the same"
    assert artifact("digits-progress")["flow_run_id"] == first, "where nothing runs there is no progress to show"
    assert read_graph(root).stale == frozenset()

    parameters = yaml.safe_load((root / "params.yaml").read_text())
    parameters["select"]["fraction"] = 0.5
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    changed: Any = nola(datasets=["digits"])
    ran = [address for address, result in changed.items() if not result.cached]
    assert ran == ["select@digits"]  # it wrote what it wrote before, so nothing follows
    assert changed.tally() == "1 run, 7 cached"
    assert set(task_states(last_flow_run().id, 8)) == addresses("digits")
    assert edges(last_flow_run().id) == {edge for edge in drawn if "@digits" in edge[0]}


@pytest.mark.usefixtures("prefect_server")
def test_a_failing_stage_stops_its_own_data_set_only(make_repo: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    make_repo(digits="fail-embed", leaves="")
    status = main(["--target", "select", "--target", "embed@digits-ssl", "--max-workers", "2"])
    assert status == 1
    printed = capsys.readouterr()
    sentence = "embed found no images in digits; add some."
    assert printed.err.splitlines()[-2:] == [
        f"error: embed@digits-clip: {sentence}",
        f"error: embed@digits-ssl: {sentence}",
    ]
    assert "1 run, 2 failed, 1 skipped" in printed.out and "3 run" in printed.out
    run = last_flow_run()
    assert run.state.name == "Failed" and sentence in run.state.message and AGAIN in run.state.message
    assert task_states(run.id, 7) == {
        "prepare@digits": "Completed",
        "embed@digits-clip": "Failed",
        "embed@digits-ssl": "Failed",
        "select@digits": "Skipped",
        "prepare@leaves": "Completed",
        "embed@leaves-clip": "Completed",
        "select@leaves": "Completed",
    }
    failed = [str(task.state.message) for task in task_runs(run.id) if task.state.name == "Failed"]
    assert len(failed) == 2 and all(message.startswith(sentence) and message.endswith(AGAIN) for message in failed)
    with pytest.raises(NolaError, match="no data set 'birds'"):
        run_pipeline(["birds"])
    with pytest.raises(PipelineError, match="max_workers must be at least 1") as refused:
        run_pipeline(max_workers=0)
    assert refused.value.results == Results()


@pytest.mark.parametrize("how", ["interface", "signal", "two signals"])
def test_cancelling_ends_the_stages(make_repo: Callable[..., Path], prefect_server: str, how: str) -> None:
    root = make_repo(digits="hang-prepare" + (" deaf" if how == "two signals" else ""))
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline"],
        cwd=root,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    try:
        deadline = time.monotonic() + 90
        while not (root / "pids.txt").is_file() or len((root / "pids.txt").read_text().split()) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        pids = [int(pid) for pid in (root / "pids.txt").read_text().split()]
        if how == "interface":
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(last_flow_run().id, Cancelling())
        else:
            process.send_signal(signal.SIGINT)
        if how == "two signals":  # the first one waits for a stage that does not want to end
            time.sleep(2)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (1 if how == "interface" else 130)
    finally:
        process.kill()
    assert "Traceback" not in errors
    if how != "interface":
        assert errors.splitlines()[-1] == f"Interrupted: the running stages were stopped. {AGAIN}"
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)
    state = last_flow_run().state
    assert state.is_cancelled() and not state.is_crashed() and state.name == "Cancelled"
    why = "Cancelled" if how == "interface" else "Interrupted"
    assert state.message == f"{why}: the running stages were stopped. {AGAIN}", "the interface says how to go on"
    assert task_states(last_flow_run().id, 1) == {"prepare@digits": "Cancelled"}


def test_outside_a_project_it_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("flows.pipeline.use_server", refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NolaError, match=r"is not inside a NoLA project: go to one, which holds params\.yaml"):
        run_pipeline()
    monkeypatch.setattr("flows.publish.use_server", refuse)
    with pytest.raises(NolaError, match=r"is not inside a NoLA project"):
        run_publish()
