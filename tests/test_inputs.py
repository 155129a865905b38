"""The inputs of a stage: written once, read by it, and checked again at its end."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nola_core import inputs
from nola_core.config import Select
from nola_core.errors import NolaError
from nola_core.methods import registry
from nola_core.methods.method import StudentMethod
from nola_core.methods.nola import Options
from nola_core.methods.templates import Templates
from tests.project import ROOT, change
from tests.resolved import entries, make, new_weights, write_audit
from tests.tiny import write_photos

TRAINING = [stage for stage in inputs.STAGES if stage not in ("prepare", "evaluate", "report")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs") / "p")


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A project with a copy of the code, so that the code can be edited."""
    return shutil.copytree(template, tmp_path / "p")


def test_nothing_is_written_when_nothing_changed(project: Path) -> None:
    entries(project)
    file = project / "data" / "inputs" / "blobs.json"
    before = file.stat().st_mtime_ns
    entries(project)
    assert file.stat().st_mtime_ns == before


def test_resolving_loads_neither_torch_nor_pandas(project: Path) -> None:
    code = "import sys; from pathlib import Path; from nola_core import inputs; inputs.write(Path()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "open_clip", "timm", "prefect", "dvc", "matplotlib"} & set(done.stdout.split())


def test_what_is_wrong_with_one_data_set_stays_with_it(project: Path) -> None:
    change(project / "params.yaml", "datasets", value=["blobs", "broken"])
    (project / "data" / "broken.yaml").write_text("images: 3\n")
    shutil.rmtree(project / "nola_core" / "backbones" / "demo" / "ssl")
    found = entries(project, own=True)
    assert set(found["embed ssl"]) == {"problem"} and "demo/ssl does not exist" in found["embed ssl"]["problem"]
    assert "problem" not in found["embed clip"] and "problem" not in found["select"]
    with pytest.raises(NolaError, match="broken"):
        inputs.read(project, "broken", "tune")


def test_a_root_that_is_not_the_working_folder_is_the_same_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    inputs.write(Path(project.name))
    found = json.loads((project / "data" / "inputs" / "blobs.json").read_text())
    assert not any("problem" in entry for entry in found.values())


def test_a_data_set_that_was_taken_out_leaves_no_file(project: Path) -> None:
    entries(project)
    (project / "data" / "inputs" / "gone.json").write_text("{}")
    inputs.write(project)
    assert [path.name for path in (project / "data" / "inputs").iterdir()] == ["blobs.json"]


def test_the_options_are_those_that_were_resolved(project: Path) -> None:
    inputs.write(project)
    change(project / "params.yaml", "nola", "epochs", value=40)
    change(project / "params.yaml", "select", "fraction", value=0.9)
    ((method, options),) = inputs.read(project, "blobs", "tune").methods(project, StudentMethod).values()
    assert method.name == "nola" and isinstance(options, Options) and options.epochs == 3
    assert inputs.read(project, "blobs", "select").options(Select).fraction == 0.2


class Registered(Templates):
    name = "registered"


def test_a_registered_method_is_an_input_with_its_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(Registered())
    change(project / "params.yaml", "methods", value=["registered", "nola"])
    inputs.write(project)
    classify = inputs.read(project, "blobs", "classify")
    assert set(classify.values["methods"]) == {"registered", "cde"}
    inputs.check(project, "blobs", "classify", classify)
    monkeypatch.setattr("inspect.getfile", lambda kind: (_ for _ in ()).throw(TypeError("of a notebook")))
    with pytest.raises(NolaError, match="the code changed"):
        inputs.check(project, "blobs", "classify", classify)
    inputs.write(project)
    inputs.check(project, "blobs", "classify", inputs.read(project, "blobs", "classify"))


def test_an_absent_file_and_entry_say_what_to_do(project: Path) -> None:
    (project / "data" / "inputs" / "blobs.json").unlink(missing_ok=True)
    with pytest.raises(NolaError, match=r"blobs\.json does not exist; run `dvc repro` or `nola run`"):
        inputs.read(project, "blobs", "tune")
    inputs.write(project)
    with pytest.raises(NolaError, match="no entry for the stage fly"):
        inputs.read(project, "blobs", "fly")


@pytest.mark.parametrize(
    ("stage", "edit", "sentence"),
    [
        ("prepare", lambda p: write_photos(p / "photos" / "new", count=1), "the images changed"),
        ("prepare", lambda p: change(p / "data" / "blobs.yaml", "images", "holdout", value=0.5), "data/blobs.yaml changed"),
        ("tune", new_weights, "the weights changed"),
        ("evaluate", write_audit, "the answers of the audit changed"),
    ],
)
def test_a_stage_whose_inputs_changed_meanwhile_keeps_nothing(
    project: Path, stage: str, edit: Callable[[Path], object], sentence: str
) -> None:
    inputs.write(project)
    mine = inputs.read(project, "blobs", stage)
    inputs.check(project, "blobs", stage, mine)
    edit(project)
    with pytest.raises(NolaError, match=sentence):
        inputs.check(project, "blobs", stage, mine)


def test_dvc_yaml_names_entries_that_exist(project: Path) -> None:
    found = entries(project)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(stages) == set(inputs.STAGES)
    for name, stage in stages.items():
        body = stage.get("do", stage)
        ((file, asked),) = body["params"][0].items()
        assert file in ("data/inputs/${item}.json", "data/inputs/${item.dataset}.json")
        wanted = ["embed.${item.role}"] if name == "embed" else [name]
        assert asked == wanted and len(body["params"]) == 1
    assert all("problem" not in entry for entry in found.values())
