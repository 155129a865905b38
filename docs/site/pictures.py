"""The pictures of the docs: the real pages of a small project, photographed in Chromium.

    python -m docs.site.pictures      # or: make pictures

It takes 600 handwritten digits, runs the preset `best` on them, audits fifty of them with scikit-learn's labels as the answers,
and writes docs/pictures/*.png. A minute on two quiet cores; needs Chromium and its driver.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import yaml
from PIL import Image
from sklearn.datasets import load_digits

from flows.cli import main as nola
from nola_core.datasets.opener import image_opener
from nola_core.explore.collection import read
from nola_core.explore.page import Page as Explorer
from nola_core.local_server import served
from nola_core.stages.__main__ import main as run_stage
from nola_core.trust.judging import opened
from nola_core.trust.page import Page as Audit
from nola_core.trust.page import served as audit_served
from tests.browser import Browser, browser

OUT = Path(__file__).resolve().parents[1] / "pictures"
ROOT = OUT.parents[1]
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGES, LABELS = 600, 50
STAGES = (
    "prepare",
    "describe",
    "embed --role clip",
    "embed --role ssl",
    "duplicates",
    "classify",
    "select",
    "fit",
    "tune",
    "predict",
)
LARGEST = 250_000
"""Bytes of a picture."""
COLOURS = (256, 128, 64, 32)


def main() -> None:
    """Make the project and take all pictures."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = make_project(Path(folder) / "my-project")
        os.chdir(root)
        with browser() as window:
            window.hide_scrollbars()
            take_audit(window, root)
            stages(root, "evaluate", "report")
            take_explorer(window, root)
            take_report(window, root)
        nola(["inspect", "contact-sheet", "digits", "--class", "seven", "--out", "sevens.png"])
        save("selected", Path("sevens.png").read_bytes())


def make_project(root: Path) -> Path:
    """A project with the data set `digits`, run as far as its predictions."""
    images = root.parent / "numbers"
    images.mkdir()
    for number, pixels in enumerate(load_digits().images[:IMAGES]):
        picture = Image.fromarray((pixels * 15.9).astype("uint8"))
        picture.resize((32, 32), Image.Resampling.BICUBIC).save(images / f"{number:03d}.png")  # 8 x 8 pixels would look coarse
    nola(["init", str(root)])
    os.chdir(root)
    words = ["add", "digits", "../numbers", "--classes", ",".join(CLASSES), "--backbones", "demo"]
    for template in yaml.safe_load((ROOT / "data" / "digits.yaml").read_text())["templates"]:
        words += ["--template", template]
    nola([*words, "--descriptions", str(ROOT / "demo" / "descriptions.csv")])
    nola(["config", "--preset", "best"])
    settings = yaml.safe_load((root / "params.yaml").read_text())
    settings["methods"] = ["zero_shot", "templates", "cde", "alignment", "evidence"]
    (root / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    stages(root, *STAGES)
    return root


def stages(root: Path, *names: str) -> None:
    """Run stages in this process."""
    for name in names:
        stage, *role = name.split()
        for words in (["resolve"], [stage, "--dataset", "digits", *role]):
            if run_stage([*words, "--root", str(root)]):
                raise SystemExit(f"the stage {name} failed")


def take_audit(window: Browser, root: Path) -> None:
    """Picture of a question; then every question gets its true answer."""
    truth = load_digits().target
    with (
        opened(root, "digits", labels=LABELS, seed=1) as judging,
        audit_served(Audit(judging, "digits", image_opener(root, "digits"))) as page,
    ):
        for _ in range(12):
            question = judging.question
            if question is not None:
                judging.answer(question.image_id, "class", CLASSES[truth[int(Path(question.image_id).stem)]])
        window.emulate(width=900, height=640)
        window.open(page)
        window.wait("return state && state.question && document.querySelector('#view img')?.naturalWidth > 0")
        save("audit", window.picture())
        while (question := judging.question) is not None:
            judging.answer(question.image_id, "class", CLASSES[truth[int(Path(question.image_id).stem)]])


def take_explorer(window: Browser, root: Path) -> None:
    """Picture of the map with one image chosen, where the methods disagree."""
    page = Explorer(read(root, "digits"), image_opener(root, "digits"), root / ".nola" / "maps", root=root)
    page.draw_map()
    with served(page.answer, told=page.told) as address:
        window.emulate(width=1280, height=800)
        window.open(address)
        window.wait("return window.nola && document.querySelector('.tile img')?.naturalWidth > 0")
        window.run("document.querySelectorAll('.tile')[3].click()")
        window.wait("return document.querySelectorAll('#details .similar .tile img').length > 3")
        window.wait("return [...document.querySelectorAll('.tile img')].slice(0, 8).every(one => one.naturalWidth > 0)")
        window.run("nola.map.render()")
        save("explore", window.picture())


def take_report(window: Browser, root: Path) -> None:
    """Picture of the first screens of the report."""
    window.emulate(width=1100, height=1000)
    window.open((root / "data" / "digits" / "report.html").as_uri())
    window.wait("return document.readyState === 'complete'")
    save("report", window.picture())


def save(name: str, picture: bytes) -> None:
    """Write docs/pictures/<name>.png with as many colours as fit into `LARGEST`."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in COLOURS:
        file = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST:
            break
    (OUT / f"{name}.png").write_bytes(file.getvalue())
    print(f"docs/pictures/{name}.png: {image.width} x {image.height}, {colours} colours, {file.tell() / 1000:.0f} kB")


if __name__ == "__main__":
    main()
