"""`nola completion`: the printed script makes a real shell complete names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands.project import complete_method
from tests.flows.commands.conftest import Nola

BASH = r"""
eval "$(nola completion bash)"
COMP_WORDS=(nola inspect predictions pets --method cd)
COMP_CWORD=5
_nola_completion nola
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete "), ("zsh", "#compdef nola"), ("fish", "complete --command nola")]
)
def test_each_shell_has_its_script(nola: Nola, shell: str, says: str) -> None:
    script = nola("completion", shell)[0]
    assert script.startswith(says) or says in script
    assert f"_NOLA_COMPLETE=complete_{shell}" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, capture_output=True).stderr == ""


def test_another_shell_is_refused(nola: Nola) -> None:
    assert "'tcsh'" in nola("completion", "tcsh", status=2)[1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_a_method(tmp_path: Path) -> None:
    program = tmp_path / "nola"
    call = "import sys, flows.cli; sys.exit(flows.cli.main())"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(call)} "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": path}
    done = subprocess.run(["bash", "-c", BASH], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["cde"], done.stderr


def test_methods_of_the_project_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "cdx.py").touch()
    assert complete_method("cd") == ["cde", "cdx"] and complete_method("nothing") == []
