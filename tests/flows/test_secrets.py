"""The API key of a language model does not appear in Prefect's parameters, logs, artifacts or database."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from prefect import get_client
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

from flows.pipeline import nola
from tests.descriptions.llm_server import LLMServer
from tests.project import ROOT, change, make_repository, write_definition, write_yaml

KEY = "sk-canary-7d3e5a90b1"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the real code and the real stage `describe`, a class list and the provider llm."""
    root = make_repository(tmp_path)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    write_yaml(root / "dvc.yaml", {"stages": {"describe": stages["describe"]}})
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = ["blobs"]
    params["describe"].update(provider="llm", prompts="prompts/own.yaml")
    write_yaml(root / "params.yaml", params)
    own = {"version": 1, "about": "test", "form": "sentences", "samples": 1, "prompts": ["Describe {a} {c}"]}
    write_yaml(root / "prompts" / "own.yaml", own)
    write_definition(root, "blobs", descriptions=None)
    (root / "data" / "blobs").mkdir()
    classes = pd.DataFrame({"class_id": [0, 1], "name": ["cat", "dog"], "display_name": ["cat", "dog"]})
    classes.astype({"class_id": "int32"}).to_parquet(root / "data" / "blobs" / "classes.parquet")
    monkeypatch.chdir(root)
    monkeypatch.setenv("NOLA_DEVICE", "cpu")
    monkeypatch.setenv("PYTHONPATH", str(root))
    return root


def logged(sentence: str) -> str:
    """All logs on Prefect's server, after `sentence` has arrived there."""
    deadline = time.monotonic() + 20
    while True:
        with get_client(sync_client=True) as client:
            logs = "\n".join(log.message for log in client.read_logs(limit=200, offset=0))
        if sentence in logs or time.monotonic() > deadline:
            return logs
        time.sleep(0.2)


@pytest.mark.usefixtures("prefect_server")
def test_the_key_stays_out_of_prefect(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.descriptions.llm_server.answer", lambda body, number: f'{{"sentences": ["{number}: your key is {KEY}"]}}'
    )
    with LLMServer() as server:
        monkeypatch.setenv("NOLA_LLM_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        results: Any = nola()
        assert [result.outcome.value for name, result in results.items() if name.startswith("describe")] == ["run"]
        assert {entry["headers"]["authorization"] for entry in server.log} == {f"Bearer {KEY}"}
        server.rule = lambda body: "401"  # an answer that contains the key
        change(project / "params.yaml", "describe", "temperature", value=0.1)
        nola(return_state=True)
    logs = logged("Incorrect API key provided: ***")
    assert "2 descriptions of 2 classes" in logs and "refuses the key" in logs and "Incorrect API key provided: ***" in logs
    with get_client(sync_client=True) as client:
        flow_runs, task_runs, artifacts = (
            client.request("POST", f"/{kind}/filter", json={}) for kind in ("flow_runs", "task_runs", "artifacts")
        )
    assert len(task_runs.json()) >= 2 and any(run["parameters"] for run in flow_runs.json())
    database = Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).split("///")[1])
    files = [*database.parent.glob(f"{database.name}*"), *Path(os.environ["PREFECT_HOME"]).rglob("*"), *project.rglob("*")]
    assert database in files
    for place in (logs, flow_runs.text, task_runs.text, artifacts.text):
        assert KEY not in place
    for path in files:
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
