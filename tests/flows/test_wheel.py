"""The wheel in an environment of its own, in an empty folder, without this checkout: from `nola init` to the report."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from nola_core.backbones.pairs import PACKAGE
from tests.project import ROOT
from tests.wheel import build_wheel

pytestmark = pytest.mark.timeout(600)  # the project of these tests is run once, under whichever comes first

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGES = 50

Call = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def call(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run a command of an environment that has the wheel, and the other packages of this one; returns its stdout.

    The environment is not activated, and nothing says where this checkout is.
    """
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    words = ["--quiet", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), *words], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    # A path of a .pth file is searched last, and the .pth files there, an editable install among them, are not read.
    (site / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n")
    ours = ("PYTHON", "PREFECT_", "DVC_", "NOLA_", "VIRTUAL_ENV", "COLUMNS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"PATH": f"{Path(str(shutil.which('git'))).parent}{os.pathsep}{os.defpath}", "NOLA_DEVICE": "cpu"}

    def called(folder: Path, command: str, *words: str, status: int = 0) -> str:
        done = subprocess.run([home / "bin" / command, *words], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return called


@pytest.fixture(scope="module")
def project(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made, filled and run by the wheel, in a folder with a space and a letter that is not ASCII."""
    here = tmp_path_factory.mktemp("somewhere")
    photographs, root = here / "photographs", here / "für mich"
    photographs.mkdir()
    for number, pixels in enumerate(load_digits().images[:IMAGES]):
        Image.fromarray((pixels * 15.9).astype("uint8")).save(photographs / f"{number:03d}.png")
    assert call(here, "nola", "init", root.name) == f"{root}\n"
    options = ("--classes", ",".join(CLASSES), "--template", "a photo of the digit {}.", "--backbones", "demo")
    assert call(root / "data", "nola", "add", "digits", "../../photographs", *options) == "../data/digits.yaml\n"
    settings = root / "params.yaml"
    assert settings.read_text().count("epochs: 50") == 2
    settings.write_text(settings.read_text().replace("epochs: 50", "epochs: 2"))
    assert call(root / "data", "nola", "run").splitlines()[-1] == str(root / "data" / "digits" / "report.html")
    return root


def test_the_wheel_holds_every_file_that_is_no_code(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for folder in ("nola_core", "flows") for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert wanted <= names
    assert {name.split("/")[0] for name in names - wanted} == {wheel.stem.split("-py")[0] + ".dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {path.suffix for path in (PACKAGE / "demo").rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_the_package_is_the_one_of_the_wheel(call: Call, tmp_path: Path) -> None:
    code = "import nola_core, flows, sys; print(*(package.__file__.startswith(sys.prefix) for package in (nola_core, flows)))"
    assert call(tmp_path, "python", "-c", code) == "True True\n"


def test_a_project_runs_from_an_empty_folder_to_its_report(project: Path) -> None:
    folder = project / "data" / "digits"
    assert (folder / "report.html").stat().st_size > 50_000
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert (predictions.groupby("method")["image_id"].nunique() == IMAGES).all()
    assert set(predictions["class_id"]) <= set(range(len(CLASSES)))


def test_commands_work_from_any_folder_of_it(project: Path, call: Call) -> None:
    assert call(project / "data" / "digits", "nola", "inspect", "predictions", "digits", "--csv", "all.csv") == "all.csv\n"
    assert len((project / "data" / "digits" / "all.csv").read_text().splitlines()) == 1 + IMAGES


def test_its_model_predicts_other_images_by_command_and_in_python(project: Path, call: Call, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    for number, pixels in enumerate(load_digits().images[IMAGES : IMAGES + 10]):
        Image.fromarray((pixels * 15.9).astype("uint8")).save(new / f"{IMAGES + number:03d}.png")
    (new / "torn.png").write_bytes(b"")
    table = tmp_path / "predictions.parquet"
    assert call(project / "data", "nola", "predict", "digits", str(new), "-o", str(table)) == f"{table}\n"
    rows = pd.read_parquet(table)
    assert rows["image"].tolist() == [*(f"{IMAGES + number:03d}.png" for number in range(10)), "torn.png"]
    assert rows["reason"].notna().tolist() == [False] * 10 + [True] and rows["class"][:10].isin(CLASSES).all()
    model, image = project / "data" / "digits" / "model", new / "050.png"
    code = f"import nola_core; print(*nola_core.load({str(model)!r}).predict([{str(image)!r}])[['class', 'probability']].iloc[0])"
    shown, probability = call(tmp_path, "python", "-c", code).split()  # outside of the project
    assert (shown, float(probability)) == (rows["class"][0], pytest.approx(float(rows["probability"][0]), abs=1e-6))
