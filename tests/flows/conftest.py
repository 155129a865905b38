"""A toy project: a git and DVC repository with quick stages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

MakeRepo = Callable[..., Path]

STAGES = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

name, dataset = sys.argv[1:3]
here = Path("data") / dataset
here.mkdir(parents=True, exist_ok=True)
mood = Path(f"src/{dataset}.txt").read_text().split()
with open("ran.log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")

def table(path, columns):
    import pyarrow, pyarrow.parquet
    pyarrow.parquet.write_table(pyarrow.table(columns), here / path)

print(f"{name} of {dataset} at work")
if f"fail-{name}" in mood:
    print(f"error: {name} found no images in {dataset}; add some.", file=sys.stderr)
    sys.exit(1)
if f"raise-{name}" in mood:
    raise ValueError("the toy broke")
if f"wait-{name}" in mood:
    Path(f"waits-{name}").write_text(str(os.getpid()))
    while not Path("go").exists():
        time.sleep(0.05)
if f"device-{name}" in mood:  # two such stages at once tell each other that they are
    Path(f"device-{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    deadline = time.monotonic() + 60
    while len(list(Path().glob("device-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
if f"hang-{name}" in mood:
    if "deaf" in mood:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path("pids.txt").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(300)
if name == "prepare":
    table("classes.parquet", {"class_id": [0, 1], "name": ["zero", "one"], "display_name": ["zero", "one"]})
elif name == "embed":
    (here / f"{sys.argv[3]}.txt").write_text("features")
elif name == "select":
    ids = list(range(300))
    table("pseudo_labels.parquet", {
        "image_id": [f"img{i:03d}" for i in ids], "class_id": [int(i >= 250) for i in ids],
        "confidence": [1 - i / 400 for i in ids], "margin": [0.5] * 300,
        "rank": [i + 1 if i < 250 else i - 249 for i in ids],
        "selected": [i < 20 or 250 <= i < 270 for i in ids], "why": ["top"] * 300})
    scores = {"neighbors_ssl": 0.75, "answer_nuclear_norm": 0.9, "mean_prediction_entropy": 0.6, "images": 300}
    told = {"images": 300, "wins": 0.52, "ranks": {"zero": 0.2, "one": 0.9}, "described": False}
    (here / "names.json").write_text(json.dumps(told))
    (here / "label_free.json").write_text(json.dumps({"test": {"zero_shot": scores, "nola": scores}}))
elif name == "tune":
    (here / "student.txt").write_text("student")
elif name == "evaluate":
    score = lambda top1: {"top1": top1, "top5": 0.99, "mean_per_class": top1, "ece": 0.05}
    top1 = {"zero_shot": 0.5, "alignment": 0.6, "nearest": 0.55, "nola": 0.625}
    methods = {} if "unlabelled" in mood else {method: score(value) for method, value in top1.items()}
    known = {"zero_shot": ("Zero-shot", "text"), "alignment": ("Alignment head", "features"),
             "nearest": ("Nearest", "features"), "nola": ("NoLA", "student")}
    listed = [{"name": n, "title": t, "summary": "made up", "kind": k} for n, (t, k) in known.items()]
    in_force = {"methods": listed, "text_classifier": "zero_shot", "teacher": "alignment", "final": "nearest"}
    (here / "metrics.json").write_text(json.dumps({
        "dataset": dataset, "split": "test", "protocol": "inductive", "in_force": in_force, "images": 100, "classes": 2,
        "methods": methods, "splits": {"test": methods}, "pseudo_labels": {"selected": 40, "candidates": 300}, "probes": {},
        "label_free": {}}))
    accuracy = lambda method, by_class: by_class if method == "nearest" else 0.5
    rows = [f"test,{m},{c},{n},50,{accuracy(m, a)},50" for m in methods for c, n, a in ((0, "zero", 0.8), (1, "one", 0.45))]
    header = "split,method,class_id,class,images,accuracy,predicted"
    (here / "per_class.csv").write_text("\\n".join([header, *rows]) + "\\n")
elif name == "report":
    from PIL import Image
    (here / "figures").mkdir()
    Image.effect_noise((640, 480), 60).convert("RGB").save(here / "figures" / "accuracy.png")
    (here / "report.html").write_text("<h1>report</h1>")
"""

PIPELINE = """
stages:
  prepare:
    foreach: ${datasets}
    do:
      cmd: python stages.py prepare ${item}
      deps: ['src/${item}.txt']
      outs: ['data/${item}/classes.parquet']
  embed:
    matrix: {dataset: '${datasets}', role: [clip, ssl]}
    cmd: python stages.py embed ${item.dataset} ${item.role}
    deps: ['data/${item.dataset}/classes.parquet']
    outs: ['data/${item.dataset}/${item.role}.txt']
  select:
    matrix: {dataset: '${datasets}'}
    cmd: python stages.py select ${item.dataset}
    deps: ['data/${item.dataset}/clip.txt']
    params: [select.fraction]
    outs: ['data/${item.dataset}/pseudo_labels.parquet', 'data/${item.dataset}/label_free.json',
           'data/${item.dataset}/names.json']
  tune:
    matrix: {dataset: '${datasets}'}
    cmd: python stages.py tune ${item.dataset}
    deps: ['data/${item.dataset}/ssl.txt', 'data/${item.dataset}/pseudo_labels.parquet']
    outs: ['data/${item.dataset}/student.txt']
  evaluate:
    matrix: {dataset: '${datasets}'}
    cmd: python stages.py evaluate ${item.dataset}
    deps: ['data/${item.dataset}/student.txt']
    outs: ['data/${item.dataset}/metrics.json', 'data/${item.dataset}/per_class.csv']
  report:
    matrix: {dataset: '${datasets}'}
    cmd: python stages.py report ${item.dataset}
    deps: ['data/${item.dataset}/metrics.json']
    outs: ['data/${item.dataset}/report.html', 'data/${item.dataset}/figures']
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git and DVC repository, to be copied: DVC takes longer to make one."""
    root = tmp_path_factory.mktemp("repository")
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=root, check=True)
    return root


def write_repo(repository: Path, root: Path, **moods: str) -> Path:
    """A toy project with data sets (name -> mood, e.g. `fail-tune`) in a copy of the repository."""
    shutil.copytree(repository, root)
    (root / "src").mkdir()
    (root / "stages.py").write_text(STAGES)
    (root / "dvc.yaml").write_text(PIPELINE)
    for dataset, mood in moods.items():
        (root / "src" / f"{dataset}.txt").write_text(mood or "well")
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": list(moods), "select": {"fraction": 0.3}}))
    return root


@pytest.fixture
def make_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> MakeRepo:
    """Create a toy project, see `write_repo`, and change to it."""

    def make(**moods: str) -> Path:
        root = write_repo(repository, tmp_path / "project", **moods)
        monkeypatch.chdir(root)
        monkeypatch.setenv("NOLA_DEVICE", "cpu")
        return root

    return make
