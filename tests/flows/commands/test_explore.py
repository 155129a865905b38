"""The command in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.explore.example import write_explored

ROOT = Path(__file__).parent.parent.parent.parent


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())", "explore", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_prints_the_address_serves_the_page_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    write_explored(tmp_path)
    command = start(tmp_path, "toy", "--images", "12", "--no-browser")
    assert command.stdout is not None
    address = command.stdout.readline().strip()
    with urllib.request.urlopen(address + "about") as reply:
        about = json.load(reply)
    assert (about["images"], about["whole"]) == (12, 30)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate()
    assert command.returncode == 0
    assert "12 images of 30, drawn at random; --images shows more" in said and "Traceback" not in said


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    write_explored(tmp_path, pictures=False)
    command = start(tmp_path, "tyo", "--no-browser")
    out, said = command.communicate()
    assert (command.returncode, out) == (1, "") and said == "error: there is no data set 'tyo'; there are: toy.\n"
