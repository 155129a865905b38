"""The real stages in a real DVC repository, driven once by the Prefect flow: what reruns, what is restored, what a kill costs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prefect_home, warm
from tests.project import ROOT, TINY, change, make_project, make_repository
from tests.tiny import write_photos

pytestmark = pytest.mark.timeout(900)
LAST = ["select", "fit", "tune", "predict", "evaluate", "report"]
FLOW = "import sys; sys.executable = sys.argv.pop(1); from flows.pipeline import main; sys.exit(main())"
"""Its stages run with the `python` beside this one."""


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """DVC and its stages begin at once. Those of tests/flows/test_wheel.py are processes of their own, as a user's are."""
    with warm.python(tmp_path_factory.mktemp("warm")) as python, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(python.parent), prepend=os.pathsep)
        yield


def environment(root: Path) -> dict[str, str]:
    quiet = {"DVC_NO_ANALYTICS": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    own = {"PREFECT_HOME": str(root.parent / "prefect"), "NOLA_DEVICE": "cpu", "NOLA_WORKERS": "2"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "DVC_", "NOLA_"))}
    return {**inherited, **quiet, **own}


def call(root: Path, *arguments: str, timeout: float = 600) -> str:
    """Run Python in the project; what it printed."""
    command = [str(shutil.which("python")), *arguments]
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def flow(root: Path, *arguments: str) -> str:
    """Run the flow; what it printed."""
    return call(root, "-c", FLOW, str(shutil.which("python")), *arguments)


def repro(root: Path, *targets: str) -> tuple[list[str], str]:
    """`dvc repro`: the stages that ran (embed with its role, without the data set), and the output."""
    output = call(root, "-m", "dvc", "repro", *targets)
    ran = re.findall(r"Running stage '(\w+)@\w+?(-clip|-ssl)?'", output)
    return [name + role for name, role in ran], output


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, run by the flow from nothing with no server configured."""
    root = make_project(tmp_path_factory.mktemp("repository") / "p")
    change(root / "params.yaml", "nola", "epochs", value=6)
    make_repository(root)
    prefect_home.fill(root.parent / "prefect")
    assert "blobs" in flow(root, "--max-workers", "2")
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished project: its data, DVC's cache and lock."""
    shutil.copytree(finished, tmp_path / "p", symlinks=True)
    yield tmp_path / "p"
    shutil.rmtree(tmp_path / "p")


def test_the_flow_ran_every_stage_and_then_nothing_is_left_to_do(finished: Path) -> None:
    folder = finished / "data" / "blobs"
    assert json.loads((folder / "metrics.json").read_text())["methods"]
    assert (folder / "report.html").stat().st_size > 50_000
    again = flow(finished)
    assert "13 cached" in again, again
    ran, output = repro(finished)
    assert ran == []
    assert "Stage 'report@blobs' didn't change, skipping" in output


def test_twenty_new_images_are_the_only_ones_embedded(project: Path) -> None:
    for photo in write_photos(project / "new", count=20, seed=77).iterdir():
        photo.rename(project / "photos" / "cat" / f"new-{photo.name}")
    ran, output = repro(project, "embed@blobs-clip", "embed@blobs-ssl")
    assert ran[:1] == ["prepare"] and sorted(ran[1:]) == ["embed-clip", "embed-ssl"]  # DVC is free in the order of the two
    assert "44 images in the clip store, 20 of them embedded now" in output
    assert "44 images in the ssl store, 20 of them embedded now" in output


def test_corrections_rerun_what_they_touch_and_taken_back_everything_comes_from_the_cache(project: Path) -> None:
    measured, file = project / "data" / "blobs" / "metrics.json", project / "data" / "blobs.corrections.csv"
    before = measured.read_text()
    file.write_text("what,name,class\nmerge,bird,dog\nclass,fox,\nimage,cat/000.png,fox\n")
    ran, output = repro(project, "report@blobs")
    assert set(ran) == {"prepare", "describe", "classify", *LAST} and "3 corrections were given" in output
    file.unlink()
    ran, _ = repro(project, "report@blobs")
    assert set(ran) <= {"describe"} and measured.read_text() == before  # whose answers DVC does not cache


def test_a_deleted_output_comes_back_and_nothing_behind_it_runs(project: Path) -> None:
    head = project / "data" / "blobs" / "fitted" / "features" / "alignment.safetensors"
    before = head.read_bytes()
    head.unlink()
    ran, output = repro(project)
    assert ran in ([], ["fit"])
    assert head.read_bytes() == before
    assert "'fit@blobs'" in output
    # The same with an empty cache: now the stage itself has to run, and still nothing behind it, for its outs are equal.
    shutil.rmtree(project / ".dvc" / "cache")
    head.unlink()
    ran, _ = repro(project, "--single-item", "fit@blobs")
    assert ran == ["fit"]
    assert head.read_bytes() == before


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_reruns_is_what_changed(project: Path) -> None:
    """One edit after the other in a finished project; test_entries.py has more of them, without running anything."""
    core, definition = project / "nola_core", project / "data" / "blobs.yaml"
    replace(core / "datasets" / "readers" / "folder.py", "from __future__", "# A comment.\nfrom __future__")
    replace(core / "backbones" / "pairs.yaml", "\npairs:\n", "\npairs:\n  mine: {clip: demo, ssl: dino}\n")
    assert repro(project, "report@blobs")[0] == []

    change(definition, "images", "labels", value="none")
    assert repro(project, "report@blobs")[0] == ["prepare", "evaluate", "report"]

    replace(core / "datasets" / "image.py", "BLOCK = 2**20", "BLOCK = 2**19")  # decodes to the same pixels
    ran, output = repro(project, "report@blobs")
    assert set(ran) == {"prepare", "embed-clip", "embed-ssl", "tune", "predict", "report"}
    assert "24 images in the clip store, 24 of them embedded now" in output

    (project / "names.txt").write_text("cat\ndog\nbird\n")
    change(definition, "classes", value="names.txt")
    assert repro(project, "report@blobs")[0] == ["prepare"]
    (project / "names.txt").write_text("cat\ndog\nsparrow\n")
    table = project / "demo" / "descriptions.csv"
    table.write_text(table.read_text().replace("bird,", "sparrow,"))
    assert set(repro(project, "report@blobs")[0]) == {"prepare", "describe", "classify", *LAST}

    weights = project / "demo" / "clip" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"\x00\x3f")
    ran, _ = repro(project, "embed@blobs-clip", "embed@blobs-ssl", "duplicates@blobs", "tune@blobs")
    assert set(ran) >= {"embed-clip", "classify", "tune"} and not {"prepare", "embed-ssl", "duplicates"} & set(ran)


def test_an_edit_in_the_middle_of_a_stage_counts_from_the_next_run_on(project: Path) -> None:
    change(project / "params.yaml", "nola", "epochs", value=4)
    process = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "tune@blobs"], cwd=project, env=environment(project))
    student = project / "data" / "blobs" / "fitted" / "students"
    try:
        deadline = time.monotonic() + 240
        while student.exists() and time.monotonic() < deadline:  # DVC takes it away when the stage begins
            time.sleep(0.01)
        change(project / "params.yaml", "nola", "epochs", value=40)
        assert process.wait(240) == 0
    finally:
        process.kill()
    assert len((project / "data" / "blobs" / "curve.csv").read_text().splitlines()) == 1 + 4
    assert json.loads(call(project, "-m", "dvc", "status", "--json", "tune@blobs").splitlines()[0]) == {}
    call(project, "-m", "nola_core.stages", "resolve")
    assert "tune@blobs" in json.loads(call(project, "-m", "dvc", "status", "--json", "tune@blobs").splitlines()[0])


def test_photographs_that_come_while_prepare_runs_are_not_lost(project: Path) -> None:
    write_photos(project / "new", count=1, seed=9)
    (project / "photos" / "cat" / "000.png").touch()
    process = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "prepare@blobs"], cwd=project, env=environment(project))
    manifest = project / "data" / "blobs" / "manifest.parquet"
    try:
        deadline = time.monotonic() + 240
        while manifest.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        (project / "new" / "000.png").rename(project / "photos" / "cat" / "late.png")
        status = process.wait(240)
    finally:
        process.kill()
    assert status != 0, "a listing that is older than the collection must not be kept"
    ran, output = repro(project, "prepare@blobs")
    assert ran == ["prepare"] and "25 images" in output


def killed(root: Path, *arguments: str, when: Path, count: int) -> None:
    """Start a stage and kill -9 it as soon as `when` (a folder) holds `count` files."""
    process = subprocess.Popen([sys.executable, "-m", "nola_core.stages", *arguments], cwd=root, env=environment(root))
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if when.is_dir() and len([path for path in when.rglob("*") if path.suffix in {".safetensors", ".pt"}]) >= count:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the stage ended before it could be killed"


def test_a_kill_in_the_middle_of_embed_changes_no_bit(project: Path) -> None:
    """Of the digits, which are more than the rows that are kept at a time."""
    shutil.copy(ROOT / "data" / "digits.yaml", project / "data" / "digits.yaml")
    change(project / "data" / "digits.yaml", "backbones", value=TINY)
    change(project / "params.yaml", "datasets", value=["blobs", "digits"])
    _, output = repro(project, "embed@digits-clip")
    assert "1,797 images in the clip store, 1,797 of them embedded now" in output
    folder, cache = project / "data" / "digits" / "features", project / ".nola"
    stores = {path: path.read_bytes() for path in folder.rglob("features.npy")}
    for path in (project / ".dvc" / "cache", cache, folder):
        shutil.rmtree(path)
    killed(project, "embed", "--dataset", "digits", "--role", "clip", when=cache / "rows", count=1)
    assert not (folder / "clip").exists(), "half a store is no store"
    _, output = repro(project, "embed@digits-clip")
    embedded = re.search(r"1,797 images in the clip store, (\S+) of them embedded now", output)
    assert embedded and 0 < int(embedded.group(1).replace(",", "")) < 1797
    assert stores and {path: path.read_bytes() for path in folder.rglob("features.npy")} == stores


def test_a_kill_in_the_middle_of_tune_changes_no_bit(project: Path) -> None:
    folder, cache = project / "data" / "blobs", project / ".nola"
    student, predictions = folder / "fitted" / "students" / "nola.safetensors", folder / "predictions.parquet"
    wanted = [student.read_bytes(), predictions.read_bytes()]
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(cache)
    shutil.rmtree(student.parent)
    predictions.unlink()
    killed(project, "tune", "--dataset", "blobs", when=cache / "checkpoints", count=1)
    assert not student.parent.exists()
    repro(project, "predict@blobs")
    assert [student.read_bytes(), predictions.read_bytes()] == wanted
