"""The commands of `nola describe` and the stage, with a language model and without; and the key, which must be nowhere."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from flows.cli import main
from nola_core.descriptions import describe, read_provided
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.rounds.refine import from_file
from nola_core.descriptions.texts.prompts import load_prompt_set, names
from nola_core.errors import NolaError
from nola_core.files import read_table
from tests.descriptions.conftest import write_classified
from tests.descriptions.llm_server import LLMServer
from tests.project import ROOT, change, run, write_definition, write_yaml
from tests.tiny import write_photos

KEY = "sk-canary-4f7a1c9e2b"


def nola(words: Sequence[str]) -> int:
    return main(["describe", *words])


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classified(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(classified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project up to `classify`, and one stands in it."""
    shutil.copytree(classified, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a class list and the provider llm, and no model configured; one stands in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
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
        assert nola(["plan", "--dataset", "blobs"]) == 0 and not server.log
        assert "0 in the cache, 0 given up, 8 to ask" in capsys.readouterr().out
        assert nola(["ask", "--dataset", "blobs"]) == 0
        assert "8 answers in" in capsys.readouterr().out and "What does a dog fish look like?" in server.prompts()
    monkeypatch.delenv("NOLA_LLM_BASE_URL")
    change(root / "params.yaml", "describe", "mode", value="replay")
    assert run(root, "describe") == 0
    table = read_table(root / "data/blobs/descriptions.parquet")
    assert table["class"].unique().tolist() == ["cat", "DogFish"] and len(table) == 16
    assert set(table["provider"]) == {"llm"} and set(table["model"]) == {"gpt-6-luna-2026"}


def test_a_class_that_corrections_bring_is_asked_about_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(root / "photos" / "cat", count=4)
    with LLMServer() as server:
        configure(monkeypatch, server)
        assert run(root, "prepare") == 0 and run(root, "describe") == 0
        asked = len(server.log)
        (root / "data" / "blobs.corrections.csv").write_text("what,name,class\nclass,fox,\nmerge,bird,dog\n")
        assert run(root, "prepare") == 0 and run(root, "describe") == 0
        assert {"fox" in prompt for prompt in server.prompts(since=asked)} == {True}
    assert read_table(root / "data/blobs/descriptions.parquet")["class"].unique().tolist() == ["cat", "dog", "fox"]


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
    found = Endpoint.from_environment
    monkeypatch.setattr(Endpoint, "from_environment", lambda: replace(found() or Endpoint(), tries=2))
    with LLMServer(rule=lambda body: fault) as server:
        configure(monkeypatch, server)
        assert run(root, "describe") == (1 if fault else 0)
        assert server.log[0]["headers"]["authorization"] == f"Bearer {KEY}"
        if fault is None:
            change(root / "params.yaml", "describe", "temperature", value=0.1)
            assert nola(["batch", "--dataset", "blobs", "--no-wait"]) == 0
            assert (root / "data/blobs/responses/_batches.json").exists()
    printed = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    tables = "".join(str(read_table(path).to_dict()) for path in root.rglob("*.parquet"))
    for place in (printed.out, printed.err, caplog.text, tables, written.decode(errors="replace")):
        assert KEY not in place
    assert fault or "your key is ***" in tables


def test_pandas_reads_the_cache_as_a_folder_whatever_else_is_in_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "data/blobs/responses"
    with LLMServer(faults=["truncated"]) as server:
        configure(monkeypatch, server)
        assert run(root, "describe") == 0
        change(root / "params.yaml", "describe", "temperature", value=0.1)
        assert nola(["batch", "--dataset", "blobs", "--no-wait"]) == 0
    (folder / "_journal.jsonl").write_text("{}")
    (folder / "_rounds").mkdir()
    read_table(root / "data/blobs/classes.parquet").to_parquet(folder / "_rounds" / "round-01.parquet")
    table = pd.read_parquet(folder)
    assert (table["finish_reason"] == "stop").sum() == 8 and len(table) == 9 and table["tokens_in"].min() > 0
    assert {path.name for path in folder.iterdir() if path.suffix != ".parquet"} == {"_batches.json", "_journal.jsonl", "_rounds"}


def test_prompt_sets_are_listed_and_filled_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert nola(["prompts"]) == 0
    listed = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines() if re.match(r"\w+/\d+: ", line)]
    assert listed == [load_prompt_set(name).prompt_version for name in names()]
    assert nola(["prompts", "paper", "--class", "scissors"]) == 0
    assert "  What do scissors look like?\n" in capsys.readouterr().out
    assert nola(["prompts", "papr"]) == 1
    assert "did you mean 'paper'?" in capsys.readouterr().err
    assert nola(["promts"]) == 2
    assert "No such command 'promts'" in capsys.readouterr().err
    assert nola(["--help"]) == 0
    assert "import" in capsys.readouterr().out


def test_import_writes_the_table_that_the_stage_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "published.json"
    source.write_text(json.dumps({"Dogs": ["A dog."], "cat": ["A cat, grey."], "cow": ["A cow."]}))
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    classes = pd.DataFrame({"class_id": [0, 1], "name": ["dog", "cat"], "display_name": ["dog", "cat"]})
    words = ["import", str(source), "--classes", str(tmp_path / "names.txt"), "--out"]
    for name in ("out.csv", "out.parquet"):
        assert nola([*words, str(tmp_path / name)]) == 0
        table = describe(read_provided(tmp_path / name), classes, source=name)
        assert table[["class", "text"]].to_numpy().tolist() == [["dog", "A dog."], ["cat", "A cat, grey."]]
    assert "names of no class, left out: 1: cow" in capsys.readouterr().out
    (tmp_path / "names.txt").write_text("dog\ncat\nhen\n")
    assert nola([*words, str(tmp_path / "none.csv")]) == 1
    assert "leaves 1 class without a description" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_caption_images_and_groups(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["caption", "--dataset", "blobs", "--subject", "animal", "--kind"]
    with LLMServer() as server:
        monkeypatch.setenv("NOLA_LLM_BASE_URL", server.url)
        assert nola([*words, "image", "--limit", "1", "--plan"]) == 0 and not server.log
        assert "1 answers of gpt-6-luna (chat): 0 in the cache, 0 given up, 1 to ask" in capsys.readouterr().out
        assert nola([*words, "image", "--limit", "1"]) == 0 and len(server.log) == 1
        assert nola([*words, "group"]) == 0
        groups = len(server.log) - 1
        assert groups and server.prompts()[-1].startswith("Describe the common visual attributes of the animal in all")
        assert nola([*words, "image", "--limit", "1"]) == 0 and len(server.log) == 1 + groups, "what is known is not asked"
        change(project / "params.yaml", "describe", "max_cost", value=0.006)
        assert nola([*words, "image"]) == 1 and len(server.log) == 1 + groups, "a picture may cost 50,000 tokens"
        assert "stopped before describe.max_cost = $0.006 is crossed" in capsys.readouterr().err
    table = read_table(project / "data" / "blobs" / "captions.parquet")
    assert table["kind"].value_counts().to_dict() == {"image": 1, "group": groups}
    assert set(table["image_ids"].map(len)) == {1, 4} and table["text"].str.len().min() > 0


def test_refine_takes_answers_from_a_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "answers.json"
    words = ["refine", "--dataset", "blobs", "--answers", str(file), "--pairs", "1", "--gap", "1"]
    assert nola([*words, "--rounds", "3"]) == 1
    assert "lets describe read 2 rounds and 3 were asked for; set describe.rounds to 3" in capsys.readouterr().err
    assert nola([*words, "--rounds", "1"]) == 1
    assert "2 questions have no answer yet; they are in" in capsys.readouterr().err
    open_ = json.loads(file.read_text())
    assert len(open_) == 2 and all(texts == [] for texts in open_.values())
    file.write_text(json.dumps({prompt: ["It has spots."] for prompt in open_}))
    assert nola([*words, "--rounds", "1", "--model", "me"]) == 0
    table = read_table(project / "data" / "blobs" / "descriptions.parquet")
    assert table.loc[table["text"] == "It has spots.", "provider"].tolist() == ["answers.json"] * 2
    file.write_text("[]")
    with pytest.raises(NolaError, match=r"must hold prompt -> \[texts\]"):
        from_file(file)([])


def test_refine_asks_the_model_and_replays_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / "data" / "blobs"
    words = ["refine", "--dataset", "blobs", "--pairs", "1", "--gap", "1", "--rounds", "1"]
    zero_shot = (folder / "zero_shot.parquet").read_bytes()
    with LLMServer() as server:
        monkeypatch.setenv("NOLA_LLM_BASE_URL", server.url)
        assert nola(words) == 0
        asked = server.prompts()
    assert len(asked) == len(set(asked)) == 2 and all("that cannot be seen on" in prompt for prompt in asked)
    assert "1 rounds run; `dvc repro` brings everything" in capsys.readouterr().out
    found = read_table(folder / "descriptions.parquet")
    assert (found["provider"] == "llm").sum() == 4 and found["text"].str.match(r"answer [\d.]+ (one|two)$").sum() == 4
    monkeypatch.delenv("NOLA_LLM_BASE_URL")
    change(project / "params.yaml", "describe", "mode", value="replay")
    (folder / "responses" / "_rounds" / "round-01.parquet").unlink()
    (folder / "zero_shot.parquet").write_bytes(zero_shot)
    assert nola(words) == 0
    assert read_table(folder / "descriptions.parquet").equals(found), "the same answers, from the cache"
