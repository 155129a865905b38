"""Every code block of the README and the docs: commands run, examples run, settings are valid, shown output is what comes out."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import nola_core
from nola_core import corrections
from nola_core.backbones.pairs import load_pair
from nola_core.config import Settings, load
from nola_core.datasets.definition import check_definition
from nola_core.descriptions.texts.prompts import load_prompt_set
from nola_core.files import read_json
from tests import warm
from tests.descriptions.llm_server import LLMServer
from tests.docs.home import build, quick_adapt, quietly
from tests.docs.pages import PAGES, Block, blocks, commands
from tests.docs.programs import UNRUN
from tests.docs.sandbox import UNCOMPARED, Sandbox
from tests.project import ROOT, change
from tests.wheel import build_wheel

pytestmark = pytest.mark.timeout(600)  # the first page waits for the home folder

EXAMPLES = ROOT / "docs" / "contributing.md"
"""Its Python and its pair are worked examples, which test_examples.py runs."""
STARTS_AT_HOME = ("project.md", "quickstart.md")
"""Pages whose commands begin outside of a project."""
ASKS_A_MODEL = "descriptions.md"
"""The page whose project has a language model write the descriptions."""
SETTINGS = {*Settings.model_fields, "transclip", "soft", "nola", "nearest_mean"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder that every page gets a copy of, in the place where it was made: it holds absolute paths."""
    folder = tmp_path_factory.mktemp("docs") / "me"
    build(folder, build_wheel(tmp_path_factory.mktemp("wheel")))
    return Path(shutil.copytree(folder, folder.parent / "as built"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with warm.python(tmp_path_factory.mktemp("warm")) as python:
        yield python


@pytest.fixture(scope="module")
def server() -> Iterator[LLMServer]:
    with LLMServer() as running:
        yield running


@pytest.fixture
def sandbox(
    built: Path, python: Path, server: LLMServer, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    home = built.parent / "me"
    shutil.rmtree(home)
    shutil.copytree(built, home)
    monkeypatch.chdir(home / "project")
    monkeypatch.setattr(nola_core, "adapt", quick_adapt)
    before = dict(os.environ)
    ours = {"HOME": str(home), "COLUMNS": "250", "NOLA_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"}
    os.environ.update(ours, PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}", NOLA_LLM_BASE_URL=server.url)
    running = Sandbox(home, python)
    yield running
    running.close()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_are_true(page: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name in STARTS_AT_HOME:
        monkeypatch.chdir(sandbox.home)
    elif page.parent.name == "demo":
        monkeypatch.chdir(ROOT)
    elif page.name == ASKS_A_MODEL:
        quietly("remove", "pets")
        change(Path("params.yaml"), "describe", "provider", value="llm")
        change(Path("params.yaml"), "describe", "rounds", value=1)
    outputs: list[str] = []
    for block in blocks(page):
        if block.kind in ("commands", "transcript"):
            for command, shown in commands(block):
                said = sandbox.execute(command, shown)
                outputs.append(said or "")
                if said is not None and not any(command.startswith(start) for start in UNCOMPARED):
                    assert not (missing := unseen(shown, said)), (
                        f"{block.place}: `{command}` does not print {missing!r} but\n{said}"
                    )
        elif block.kind == "yaml":
            check_yaml(block, sandbox.home)
        elif block.kind == "csv":
            corrections.path_of(sandbox.home, "pets").parent.mkdir(exist_ok=True)
            corrections.path_of(sandbox.home, "pets").write_text(block.text)
            outputs.append(corrections.sentence(corrections.read(sandbox.home, "pets").counts))
        elif block.kind == "python":
            if page != EXAMPLES:
                exec(compile(block.text, block.place, "exec"), sandbox.names)
        else:
            assert any(not unseen(block.text.splitlines(), said) for said in outputs), (
                f"{block.place}: no command here prints this"
            )


@pytest.mark.parametrize(
    "wrong",
    [
        "nola run --datset pets",
        "nola status --dataset",
        "make everything",
        "make demo --everything",
        "python -m benchmarks.accuracy --sead 1",
        "python -m benchmarks.nothing",
        "docker build --target tpu .",
        "ssh -L 1:127.0.0.1:1 machine nola explor digits",
        "cat params.yaml",
    ],
)
def test_wrong_words_are_found(wrong: str, tmp_path: Path) -> None:
    with pytest.raises((Exception, SystemExit), match=r"."):
        Sandbox(tmp_path, tmp_path).execute(wrong)


def test_what_does_not_run_is_on_some_page() -> None:
    shown = [command for page in PAGES for block in blocks(page) for command, _ in commands(block)]
    for start in (*UNRUN, *UNCOMPARED):
        assert any(command.startswith(start) for command in shown), f"{start}: no page has it; remove it from tests/docs"


def unseen(shown: list[str], said: str) -> str:
    """The first shown line that is not in the output, in this order; empty if all are.

    `...` stands for anything. Numbers may be others; words may not.
    """
    lines = iter([plain(line) for line in re.split(r"[\r\n]+", said)])
    for line in filter(str.strip, shown):
        pattern = ".*".join(map(re.escape, plain(line).split("...")))
        if not any(re.fullmatch(pattern, one) for one in lines):
            return line
    return ""


def plain(line: str) -> str:
    """One space between words, and # for every number."""
    return re.sub(r"\d[\d,]*(\.\d+)?", "#", " ".join(line.split()))


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (["3 images", "...", "a/b.csv"], ""),
        (["40 images"], ""),
        (["3 photos"], "3 photos"),
        (["a/b.csv", "3 images"], "3 images"),
        (["wrote ... c"], ""),
    ],
)
def test_output_is_compared_by_words_and_order(shown: list[str], missing: str) -> None:
    assert unseen(shown, "reading\n12 images\nwrote a, b, c\na/b.csv\n") == missing


def check_yaml(block: Block, home: Path) -> None:
    """Settings, a definition, a prompt set, or a file that NoLA writes."""
    root = home / "project"
    for text in re.split(r"(?m)^(?=backbones:)", block.text):  # alternatives
        values = yaml.safe_load(text) or {}
        if not values:
            continue
        if "prompts" in values:
            (root / "prompts").mkdir(exist_ok=True)
            (root / "prompts" / "mine.yaml").write_text(text)
            assert load_prompt_set("prompts/mine.yaml", root=root).version == values["version"]
        elif "dataset" in values:
            check_metrics(values, read_json(home / "metrics.json"))
        elif "pairs" in values and block.page == EXAMPLES:
            continue
        elif values.keys() == {"tune"} and "code" in values["tune"]:
            assert values["tune"].keys() == read_json(root / "data" / "inputs" / "pets.json")["tune"].keys()
        elif values.keys() <= SETTINGS:
            check_settings(values, root)
        else:
            base = yaml.safe_load((root / "data" / "digits.yaml").read_text())
            assert check_definition({**base, **values}, name="digits", root=root), block.place
            load_pair(values.get("backbones") or "paper")


def check_settings(values: dict[str, object], root: Path) -> None:
    """They are accepted in params.yaml, with the example of a method in place."""
    (example,) = (one.text for one in blocks(EXAMPLES) if one.kind == "python" and "class NearestMean" in one.text)
    (root / "methods").mkdir(exist_ok=True)
    (root / "methods" / "nearest_mean.py").write_text(example)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key, value in values.items():
        params[key] = {**params[key], **value} if isinstance(value, dict) and key in params else value
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    load(root)


def check_metrics(shown: dict[str, object], real: dict[str, object]) -> None:
    """The keys of the example are those of the file."""
    assert shown.keys() == real.keys()
    for key in ("in_force", "pseudo_labels", "probes", "names", "unknown"):
        assert shown[key].keys() == real[key].keys(), key  # type: ignore[attr-defined]
