"""A home folder with a small finished project, in which the commands and examples of the documentation run.

Everything runs in this process: `nola` by its own entry point, servers until they have answered one request. What does not run
here is in `ELSEWHERE`, with the reason; its words are parsed all the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import typer
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from flows.cli import app, main
from flows.starter import make_project
from nola_core.adaptation import adapt
from nola_core.backbones.pairs import load_pair
from nola_core.stages.__main__ import main as run_stage
from tests.descriptions.llm_server import LLMServer
from tests.project import ORDER, ROOT, change
from tests.tiny import write_clip, write_photos, write_ssl

DIGITS = "zero,one,two,three,four,five,six,seven,eight,nine"
ELSEWHERE = {
    r"nola adapt ~": "README.md and quickstart.md run it; tests/flows/commands/test_adapt.py",
    r"nola run": "tests/flows/test_wheel.py runs it with the same fifty digits; here its results are put in place",
    r"nola server": "ten seconds: tests/flows/test_server.py starts it",
    r"nola backbones offline$": "loads 120 MB: tests/flows/commands/test_backbones.py and tests/backbones load pairs",
    r"nola export .*--to onnx": "ten seconds: tests/flows/commands/test_export.py",
    r"nola inspect unknown \w+ --group": "fifty digits have no such group: tests/flows/commands/test_inspect.py",
    r"nola status": "needs a run by DVC: tests/flows/commands/test_status.py",
    r"nola catalog (prepare|check)|nola add \w+ \S+ --catalog": "needs a data set: tests/flows/commands/test_catalog.py",
    r"dvc ": "its own parser reads the words; tests/test_pipeline.py and tests/flows run it",
    r"make ": "minutes, or a server; the target is looked for",
    r"\S*pip |python3.11 -m venv|source ": "installs: tests/flows/test_wheel.py does so",
    r"python -m ": "minutes; the module is looked for, and its options in its text",
    r"pytest ": "the tests run by themselves; their files are looked for",
    r"git ": "about a repository of one's own, or the history of this one",
    r"hf |vllm ": "programs that are not here, and need a network",
    r"docker ": "no container runtime here; the target is looked for in the Dockerfile",
    r"ssh ": "needs a second machine; a `nola` command in it is parsed",
}
"""Pattern of commands that do not run here -> why not, and what checks them instead. Every other command runs."""
UNCOMPARED = {
    "nola doctor": "it describes the machine",
}
"""Commands that run but whose output is not held against the page, and why."""
STANDS_FOR = {"0003": "003.png"}
"""A word of the docs -> what stands for it here: the image ids of the whole digits are others."""


def build(home: Path) -> None:
    """Make the home folder: images, the project `project` with the finished data sets `digits` and `pets`."""
    root, images = home / "project", load_digits().images
    for folder, numbers in ((home / "photographs", range(50)), (root / "digits", range(40)), (home / "others", range(50, 54))):
        folder.mkdir(parents=True)
        for number in numbers:
            picture = Image.fromarray((images[number] * 15.9).astype("uint8"))
            picture.save(folder / (f"{number - 50}.png" if folder.name == "others" else f"{number:03d}.png"))
    for number, name in enumerate(("cat", "dog", "guinea pig")):
        write_photos(home / "photos" / name, count=100, seed=number)
    for folder in (home / "new-photos", home / "more-photos", root / "photos", root / "scans"):
        write_photos(folder, count=4, seed=9)
    for name in ("scan.png", "new.jpg"):
        Image.open(root / "scans" / "000.png").save(root / name)
    write_clip(root / "weights" / "clip")
    write_ssl(root / "weights" / "ssl")
    tiny = {role: {"model": f"local-dir:weights/{role}"} for role in ("clip", "ssl")}
    (root / "FILE.json").write_text(json.dumps({name: [f"the shape of a {name}"] for name in DIGITS.split(",")}))
    make_project(root)
    params = root / "params.yaml"
    change(params, "nola", "epochs", value=2)
    with here(root):
        template = "a photo of the digit {}."
        quietly("add", "digits", "../photographs", "--classes", DIGITS, "--template", template, "--backbones", "demo")
        quietly("add", "pets", "../photos", "--classes", "cat,dog,guinea pig", "--labels", "folders")
        change(root / "data" / "pets.yaml", "backbones", value=tiny)
        run("resolve")
        for dataset in ("digits", "pets"):
            for stage in ORDER:
                name, *role = stage.split()
                run(name, "--dataset", dataset, *(["--role", *role] if role else []))
            run("evaluate", "--dataset", dataset)
    change(params, "describe", "provider", value="llm")
    change(params, "describe", "rounds", value=1)


@contextlib.contextmanager
def here(folder: Path) -> Iterator[None]:
    """A context in which this is the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def quietly(*words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(words) == 0, said.getvalue()


def run(*words: str) -> None:
    """Run a stage in the working directory."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        assert run_stage(list(words)) == 0, said.getvalue()


class Sandbox:
    """A copy of the home folder for one page; the working directory is the project, or the folder that the page starts in."""

    def __init__(self, home: Path, server: LLMServer) -> None:
        self.home, self.server = home, server
        self.names: dict[str, Any] = {}
        """What the Python of the page has defined."""

    def execute(self, command: str, *, status: int = 0) -> str | None:
        """Run a command; its output with the folder called /home/me, or None if it is checked without being run."""
        for pattern in ELSEWHERE:
            if re.match(pattern, command):
                self._check(command)
                return None
        words = [_at_home(STANDS_FOR.get(word, word)) for word in shlex.split(command)]
        first, rest = words[0], words[1:]
        if first == "export":
            self._export(*rest)
            return ""
        if first == "cd":
            os.chdir(rest[0])
            return ""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            if first == "python" and rest[0] == "-c":
                exec(rest[1], {"__name__": "__main__"})
                done = 0
            elif first == "nola":
                done = self._nola(rest, output)
            else:
                raise AssertionError(f"no way to run `{command}`: see tests/docs/sandbox.py")
        said = output.getvalue().replace(str(self.home), "/home/me")
        assert done == status or command.startswith("nola doctor"), f"`{command}` ended with {done}:\n{said}"
        return said

    def _nola(self, words: list[str], output: io.StringIO) -> int:
        if (
            words[0] == "add"
            and Path("params.yaml").is_file()
            and words[1] in yaml.safe_load(Path("params.yaml").read_text())["datasets"]
        ):
            quietly("remove", words[1])  # its results stay
        if words[0] == "audit" and "--table" in words:
            _judge(Path(words[words.index("--table") + 1]))
        if words[0] == "explore" or (words[0] == "audit" and "--table" not in words):
            return _served(words, output)
        status = main(words)
        if status and "--answers" in words:  # it has written what is to be answered
            file = Path(words[words.index("--answers") + 1])
            file.write_text(json.dumps({question: ["It is round."] for question in json.loads(file.read_text())}))
            status = main(words)
        return status

    def _export(self, assignment: str) -> None:
        """Set a variable; an address of a language model becomes that of the tests' server."""
        name, _, value = assignment.partition("=")
        os.environ[name] = self.server.url if name.endswith("BASE_URL") else "a-key" if value == "..." else value

    def _check(self, command: str) -> None:
        """What can be said about a command without running it."""
        words = shlex.split(command, comments=True)
        if words[0] == "nola":
            parse(words[1:])
            if words[1] == "run":
                self._finish()
        elif words[0] == "dvc":
            _parse_dvc(words[1:])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif words[0] == "pytest":
            assert all((ROOT / word.partition("::")[0]).exists() for word in words[1:] if not word.startswith("-")), command
        elif words[0] == "python":
            _check_module(words[words.index("-m") + 1 :])
        elif words[0] == "docker" and "--target" in words:
            assert f" AS {words[words.index('--target') + 1]}\n" in (ROOT / "Dockerfile").read_text(), command
        elif words[0] == "ssh" and "nola" in words:
            parse(words[words.index("nola") + 1 :])

    def _finish(self) -> None:
        """Put the results of the data sets in place, as a run would."""
        finished = self.home / "project" / "data"
        for name in _datasets():
            if not (Path("data") / name).exists() and (finished / name).exists():
                shutil.copytree(finished / name, Path("data") / name)
                Path("data/inputs").mkdir(exist_ok=True)
                shutil.copy(finished / "inputs" / f"{name}.json", "data/inputs")


def quick_adapt(images: Any, class_names: Any, *, backbones: str) -> Any:
    """`nola_core.adapt` with tiny towers instead of the pair that is named, and tuning nothing; call it in the project."""
    load_pair(backbones)
    tiny = {role: {"model": f"local-dir:weights/{role}"} for role in ("clip", "ssl")}
    settings = {"methods": ["zero_shot"], "text_classifier": "zero_shot", "final": "zero_shot"}
    return adapt(images, class_names, backbones=tiny, settings=settings, quiet=True)


def _datasets() -> list[str]:
    """Those of the project in the working directory."""
    names: list[str] = yaml.safe_load(Path("params.yaml").read_text())["datasets"]
    return names


def _at_home(word: str) -> str:
    """A word as the shell passes it on."""
    return str(Path(word).expanduser()) if word.startswith("~/") else word


def parse(words: list[str]) -> None:
    """Have the real command line read these words; an unknown command or option, or a missing argument, is an error."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("nola", list(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None, words
        context = command.make_context(name, rest, parent=context)


def _parse_dvc(words: list[str]) -> None:
    from dvc.cli import parse_args

    parse_args(words)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for word in words:
        if "@" in word:
            assert word.partition("@")[0] in stages, f"dvc {' '.join(words)}: there is no stage {word}"


def _check_module(words: list[str]) -> None:
    spec = importlib.util.find_spec(words[0])
    assert spec is not None and spec.origin, words
    text = Path(spec.origin).read_text()
    if words[0].split(".")[0] in ("demo", "benchmarks", "flows"):
        assert all(f'"{word}"' in text for word in words[1:] if word.startswith("--")), words


def _judge(table: Path) -> None:
    """Fill in the answers of an audit, if its table is there."""
    if table.is_file():
        rows = pd.read_csv(table)
        rows["answer"] = "cat"
        rows.to_csv(table, index=False)


def _served(words: list[str], output: io.StringIO) -> int:
    """Run a command that serves a page, and be its visitor: an audit is answered, an explorer gets Ctrl-C once it was read."""
    problems: list[str] = []
    ended = threading.Event()

    def visit() -> None:
        while not (found := re.search(r"http://127\.0\.0\.1:\S+", output.getvalue())) and not ended.wait(0.02):
            pass
        if found is None:
            return  # the command has ended by itself
        try:
            _get(found[0])
            if words[0] == "audit":
                _answer(found[0])
        except Exception as error:
            problems.append(repr(error))
        if problems or words[0] != "audit":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        status = main([*words, "--no-browser"])
    finally:
        ended.set()
        visitor.join()
        signal.signal(signal.SIGINT, before)
    assert not problems, problems
    return status


def _answer(address: str) -> None:
    """Judge every image of an audit to be of the first of its five classes."""
    while question := json.loads(_get(f"{address}state")).get("question"):
        _post(f"{address}answer", {"place": question["place"], "verdict": "class", "class": question["options"][0][0]})
    _post(f"{address}answer", {"finish": True})


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as reply:
        return bytes(reply.read())


def _post(address: str, said: dict[str, Any]) -> None:
    request = urllib.request.Request(address, json.dumps(said).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()
