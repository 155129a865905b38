"""The stage and the commands with a language model, and the key that must be nowhere."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nola_core.descriptions import llm
from nola_core.descriptions.__main__ import main
from nola_core.descriptions.client import Client
from nola_core.descriptions.endpoint import Endpoint
from nola_core.errors import NolaError
from nola_core.files import read_table
from tests.descriptions.llm_server import LLMServer
from tests.project import ROOT, change, run, write_definition, write_yaml

KEY = "sk-canary-4f7a1c9e2b"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a class list and the provider llm, and no model configured."""
    for name in ("NOLA_LLM_KEY", "OPENAI_API_KEY", "NOLA_LLM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = ["blobs"]
    params["describe"].update(provider="llm", prompts="prompts/own.yaml")
    write_yaml(tmp_path / "params.yaml", params)
    write_definition(tmp_path, "blobs", descriptions=None)
    prompts = ["Describe {a} {c}", "What does {a} {c} look like?"]
    own = {"version": 1, "about": "test", "form": "sentences", "samples": 2, "prompts": prompts}
    write_yaml(tmp_path / "prompts" / "own.yaml", own)
    folder = tmp_path / "data" / "blobs"
    folder.mkdir(parents=True)
    classes = pd.DataFrame({"class_id": [0, 1], "name": ["cat", "DogFish"], "display_name": ["cat", "dog fish"]})
    classes.astype({"class_id": "int32"}).to_parquet(folder / "classes.parquet")
    return tmp_path


def configure(monkeypatch: pytest.MonkeyPatch, server: LLMServer) -> None:
    monkeypatch.setenv("NOLA_LLM_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_without_a_model_the_stage_falls_back_to_templates(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "describe") == 0
    assert capsys.readouterr().out.startswith("no descriptions: templates alone (nothing in the cache and no language model")
    assert read_table(root / "data/blobs/descriptions.parquet").empty


def test_ask_then_replay_in_the_stage(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with LLMServer() as server:
        configure(monkeypatch, server)
        assert main(["plan", "--dataset", "blobs", "--root", str(root)]) == 0 and not server.log
        assert "0 in the cache, 0 given up, 8 to ask" in capsys.readouterr().out
        assert main(["ask", "--dataset", "blobs", "--root", str(root)]) == 0
        assert "8 answers in" in capsys.readouterr().out and "What does a dog fish look like?" in server.prompts()
    monkeypatch.delenv("NOLA_LLM_BASE_URL")
    change(root / "params.yaml", "describe", "mode", value="replay")
    assert run(root, "describe") == 0
    table = read_table(root / "data/blobs/descriptions.parquet")
    assert table["class"].unique().tolist() == ["cat", "DogFish"] and len(table) == 16
    assert set(table["provider"]) == {"llm"} and set(table["model"]) == {"gpt-6-luna-2026"}


@pytest.mark.parametrize("fault", [None, "401", "500"])
def test_the_key_is_nowhere(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fault: str | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(
        "tests.descriptions.llm_server.answer", lambda body, number: f'{{"sentences": ["{number}: your key is {KEY}"]}}'
    )
    monkeypatch.setattr(llm, "Client", partial(Client, tries=2))
    with LLMServer(rule=lambda body: fault) as server:
        configure(monkeypatch, server)
        assert run(root, "describe") == (1 if fault else 0)
        assert server.log[0]["headers"]["authorization"] == f"Bearer {KEY}"
        if fault is None:
            change(root / "params.yaml", "describe", "temperature", value=0.1)
            assert main(["batch", "--dataset", "blobs", "--root", str(root), "--no-wait"]) == 0
            assert (root / "data/blobs/responses/_batches.json").exists()
    printed = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    tables = "".join(str(read_table(path).to_dict()) for path in root.rglob("*.parquet"))
    for place in (printed.out, printed.err, caplog.text, tables, written.decode(errors="replace")):
        assert KEY not in place
    assert fault or "your key is ***" in tables


def test_an_endpoint_comes_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoint.from_environment() is None
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = Endpoint.from_environment()
    assert found is not None and found.host == "api.openai.com" and KEY not in repr(found)
    for name, value in (
        ("NOLA_LLM_BASE_URL", "http://me:a-password@gpu.local:8000/v1"),
        ("NOLA_LLM_RPM", "500"),
        ("NOLA_LLM_KEY", "none"),
    ):
        monkeypatch.setenv(name, value)
    found = Endpoint.from_environment()
    assert found is not None and (found.host, found.requests_per_minute, found.key) == ("gpu.local", 500, "none")
    assert found.redact("none of http://me:a-password@gpu.local") == "none of http://me:***@gpu.local"
    for name, value in (
        ("NOLA_LLM_RPM", "many"),
        ("NOLA_LLM_BASE_URL", "localhost:8000"),
        ("NOLA_LLM_BASE_URL", "http://[::1"),
        ("NOLA_LLM_KEY", "sk-ü"),
    ):
        with monkeypatch.context() as changed, pytest.raises(NolaError, match=name):
            changed.setenv(name, value)
            Endpoint.from_environment()


def test_pandas_reads_the_cache_as_a_folder_whatever_else_is_in_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "data/blobs/responses"
    with LLMServer(faults=["truncated"]) as server:
        configure(monkeypatch, server)
        assert run(root, "describe") == 0
        change(root / "params.yaml", "describe", "temperature", value=0.1)
        assert main(["batch", "--dataset", "blobs", "--root", str(root), "--no-wait"]) == 0
    (folder / "_journal.jsonl").write_text("{}")
    (folder / "_rounds").mkdir()
    read_table(root / "data/blobs/classes.parquet").to_parquet(folder / "_rounds" / "round-01.parquet")
    table = pd.read_parquet(folder)
    assert (table["finish_reason"] == "stop").sum() == 8 and len(table) == 9 and table["tokens_in"].min() > 0
    assert {path.name for path in folder.iterdir() if path.suffix != ".parquet"} == {"_batches.json", "_journal.jsonl", "_rounds"}


def test_a_prompt_set_that_dvc_does_not_watch_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mine.yaml", "prompts/../mine.yaml", str(root / "prompts" / "own.yaml")):
        change(root / "params.yaml", "describe", "prompts", value=name)
        assert run(root, "describe") == 1
        said = capsys.readouterr().err
        assert f"describe.prompts = '{name}': a prompt set of your own must lie in prompts/" in said
    assert "prompts" in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["describe"]["do"]["deps"]
