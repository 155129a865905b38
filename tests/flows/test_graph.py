from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import nola_core.stages
from flows.graph import GPU_STAGES, Stage, read_graph
from flows.project import dataset_names
from nola_core.errors import NolaError


def repro(root: Path, address: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "-s", address], cwd=root, check=True)


def test_graph_is_the_one_of_dvc_yaml(make_repo: Callable[..., Path]) -> None:
    root = make_repo(**{"digits": "", "digits-clip": ""})
    graph = read_graph(root)
    assert graph.datasets == ["digits", "digits-clip"]
    assert len(graph.stages) == 14
    assert graph.settled() == []
    assert graph.stages["embed@digits-clip"] == Stage("embed@digits-clip", "embed", "digits", ("prepare@digits",), gpu=True)
    assert graph.stages["embed@digits-clip-clip"].dataset == "digits-clip"
    assert graph.stages["select@digits-clip"].dataset == "digits-clip"
    assert set(graph.stages["tune@digits"].upstream) == {"embed@digits-ssl", "select@digits"}
    seen: set[str] = set()
    for stage in graph.stages.values():
        assert seen.issuperset(stage.upstream), f"{stage.address} comes before its upstream"
        seen.add(stage.address)
    assert graph.stale == set(graph.stages)
    assert dataset_names(root) == graph.datasets

    repro(root, "prepare@digits")
    graph = read_graph(root, datasets=["digits"])
    assert set(graph.stages) - graph.stale == {"prepare@digits"}
    assert [stage.address for stage in graph.settled()] == ["prepare@digits"]
    assert graph.datasets == ["digits"]
    partial = read_graph(root, datasets=["digits"], targets=["select"])
    assert list(partial.stages) == ["prepare@digits", "embed@digits-clip", "select@digits"]


def test_what_does_not_exist_is_named(make_repo: Callable[..., Path], tmp_path: Path) -> None:
    root = make_repo(digits="")
    with pytest.raises(NolaError, match="no data set 'birds'; it has: digits"):
        read_graph(root, datasets=["birds"])
    with pytest.raises(NolaError, match=r"no stage 'tunee'.*it has: prepare, embed, select, tune, evaluate, report"):
        read_graph(root, targets=["tunee"])
    (root / "dvc.yaml").write_text("stages: {a: {matrix: 3}}\n")
    with pytest.raises(NolaError, match="DVC cannot read the pipeline"):
        read_graph(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NolaError, match="DVC cannot read the pipeline"):
        read_graph(tmp_path / "empty")
    with pytest.raises(NolaError, match=r"params\.yaml cannot be read"):
        dataset_names(tmp_path / "empty")


def test_a_stage_of_no_data_set_is_no_part_of_the_graph(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="")
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    resolve = {"cmd": "echo {} > data/inputs.json", "outs": ["data/inputs.json"], "always_changed": True}
    pipeline["stages"]["resolve"] = resolve
    pipeline["stages"]["select"]["deps"].append("data/inputs.json")
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    graph = read_graph(root)
    assert graph.datasets == ["digits"] and "resolve" not in graph.stages
    assert graph.stages["select@digits"].upstream == ("embed@digits-clip",)


def test_data_sets_may_be_a_list_of_names(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("datasets: [digits, leaves]\n")
    assert dataset_names(tmp_path) == ["digits", "leaves"]


def test_every_stage_that_asks_for_the_device_or_for_neighbours_holds_a_slot() -> None:
    folder = Path(nola_core.stages.__path__[0])
    uses = re.compile(r"\bdevice\(\)|\bnear_duplicates\(|\bknn\w*\(")
    found = {path.stem for path in folder.glob("[a-z]*.py") if uses.search(path.read_text())}
    assert {"embed", "duplicates", "classify", "tune", "predict"} <= found <= GPU_STAGES
    assert "evaluate" in GPU_STAGES  # its k-NN probe is a module below it


def test_a_command_at_work_is_waited_for(make_repo: Callable[..., Path]) -> None:
    root = make_repo(digits="wait-prepare")
    other = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "prepare@digits"], cwd=root)
    said: list[str] = []

    def let_go(sentence: str) -> None:
        said.append(sentence)
        (root / "go").touch()

    try:
        deadline = time.monotonic() + 60
        while not (root / "waits-prepare").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        graph = read_graph(root, notify=let_go)
    finally:
        (root / "go").touch()
        other.wait(60)
    assert len(said) == 1 and f"(process {other.pid}, since " in said[0]
    assert "prepare@digits" not in graph.stale
