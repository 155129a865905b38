"""Programs of the documentation other than `nola`: they run in the sandbox, or what reads their words reads them.

Packages come from the sandbox's own folder instead of an index, models from a hub of the tests, `server` is this machine.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.docs import briefly
from tests.docs.hub import Hub
from tests.project import ROOT

UNRUN = {
    "make demo": "tests/test_demo_run.py runs it",
    "docker": "no container runtime where NoLA is developed; docs/machines.md says so",
}
"""Beginning of commands that do not run here -> why not. Their words are read."""


def unrun(words: Sequence[str]) -> str | None:
    """The key of `UNRUN` for a command, if it does not run here."""
    text = " ".join(words)
    return next((start for start in UNRUN if text.startswith(start)), None)


def read(words: Sequence[str]) -> None:
    """Check the words of a command of `UNRUN`."""
    if words[0] == "make":
        call("make", "--dry-run", "--directory", str(ROOT), *words[1:])
    elif "--target" in words:
        target = words[words.index("--target") + 1]
        assert f" AS {target}\n" in (ROOT / "Dockerfile").read_text(), f"{shlex.join(words)}: the Dockerfile has no {target}"


def call(*words: str, folder: Path | None = None, **environment: str) -> str:
    """Run a program to its end; what it printed."""
    done = subprocess.run(words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Programs:
    """Runs them in the working directory, with a folder that stands for the user's home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        git = {
            f'url "file://{home}/project"': {"insteadOf": "ssh://server/projects/pets"},
            "user": {"name": "me", "email": "me@example.org"},
        }
        lines = [f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) for section, keys in git.items()]
        (home / ".gitconfig").write_text("".join(lines))

    def run(self, words: list[str]) -> str:
        """Run a program; what it printed.

        Raises:
            AssertionError: it failed, or there is no way to run it.
        """
        name = Path(words[0]).name
        known = {
            "dvc": self._dvc,
            "git": self._git,
            "hf": self._hf,
            "make": self._make,
            "pip": self._pip,
            "pytest": self._pytest,
            "python": self._module,
            "python3.11": self._venv,
            "source": self._source,
            "ssh": self._ssh,
        }
        assert name in known, f"no way to run `{shlex.join(words)}`: see tests/docs/programs.py"
        return known[name](words)

    def _dvc(self, words: list[str]) -> str:
        share = str(self.home / "share")
        where = [word.replace("/mnt/share", share) for word in words[1:]]
        if words[1] == "pull":  # once the machine that the project was cloned from has pushed its results, too
            for others in (["remote", "add", "--default", "store", f"{share}/pets"], ["push"]):
                call("python", "-m", "dvc", *others, folder=self.home / "project")
        return call("python", "-m", "dvc", *where, BROWSER="true")

    def _git(self, words: list[str]) -> str:
        if words[1] != "show":
            return call(*words)
        (commit,) = (word for word in words if re.fullmatch("[0-9a-f]{7}", word))
        there = subprocess.run(["git", "cat-file", "-e", commit], cwd=ROOT, capture_output=True).returncode == 0
        if not there:
            pytest.skip("this copy has no history, which a page shows")
        return call(*words, folder=ROOT, COLUMNS="80")

    def _hf(self, words: list[str]) -> str:
        role = "clip" if "clip" in words[2] else "ssl"
        files = {path.name: path.read_bytes() for path in (self.home / "weights" / role).iterdir()}
        with Hub(files) as hub:
            return call(*words, HF_ENDPOINT=hub.url, HF_HOME=str(self.home / "hub"), HF_HUB_OFFLINE="0")

    def _make(self, words: list[str]) -> str:
        """The Makefile's own recipe with this environment, in a checkout of empty packages and one test, which leaves a mark."""
        root, marker = self.home / "small", self.home / "small" / "ready"
        for package in ("nola_core", "flows", "demo", "benchmarks", "tests"):
            (root / package).mkdir(parents=True, exist_ok=True)
            (root / package / "__init__.py").write_text('"""A package."""\n')
        test = 'from pathlib import Path\n\n\ndef test_it() -> None:\n    Path("tested").touch()\n'
        (root / "tests" / "test_it.py").write_text(test)
        for name in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, root / name)
        marker.touch()
        alone = {name: "" for name in os.environ if name.startswith("MAKE")}  # this may be `make test` itself
        said = call(*words, f"BIN={sys.prefix}/bin", f"READY={marker}", folder=root, **alone)
        assert (root / "tested").is_file() or "test" not in words, f"{shlex.join(words)} has not run the tests"
        (root / "tested").unlink(missing_ok=True)
        return said

    def _module(self, words: list[str]) -> str:
        """`python -m`."""
        assert words[1] == "-m", f"no way to run `{shlex.join(words)}`"
        return briefly.run(words[2:], self.home)

    def _venv(self, words: list[str]) -> str:
        return call(sys.executable, *words[1:])

    def _pip(self, words: list[str]) -> str:
        """Without an index, and without what a package needs: this environment has it."""
        active = os.environ.get("VIRTUAL_ENV")
        quiet = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_FIND_LINKS": str(self.home)}
        if words[1] in ("download", "wheel"):  # in a checkout; what it makes is then carried here
            made = call(sys.executable, "-m", "pip", *words[1:], folder=self.home / "checkout", **quiet)
            shutil.copytree(self.home / "checkout" / "wheels", "wheels", dirs_exist_ok=True)
            return made
        if "/" in words[0]:
            return call(*words, **quiet)
        if active:
            return call(f"{active}/bin/pip", *words[1:], **quiet)
        return call(sys.executable, "-m", "pip", *words[1:], **quiet, PIP_TARGET=str(self.home / "installed"))

    def _pytest(self, words: list[str]) -> str:
        return call(sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", *words[1:], folder=ROOT)

    def _source(self, words: list[str]) -> str:
        """Take over the variables that a script sets; `python` stays the one of the tests, which has all packages."""
        script = words[1] if Path(words[1]).is_file() else f"{sys.prefix}/bin/activate"
        assert words[1] == ".venv/bin/activate" or script == words[1], f"there is no {words[1]}"
        first = os.environ["PATH"].split(os.pathsep)[0]
        said = subprocess.run(
            ["bash", "-c", f"source {shlex.quote(script)} && env -0"], capture_output=True, text=True, check=True
        )
        os.environ.update(dict(line.split("=", 1) for line in said.stdout.split("\0") if "=" in line))
        os.environ["PATH"] = first + os.pathsep + os.environ["PATH"]
        return ""

    def _ssh(self, words: list[str]) -> str:
        """Its own parser reads it, if it is here; what runs on the other machine is not its affair."""
        return call("ssh", "-G", *words[1:]) if shutil.which("ssh") else ""
