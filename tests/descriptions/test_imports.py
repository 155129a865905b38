"""Planning and listing start quickly: what only asking or computing needs is imported then."""

from __future__ import annotations

import subprocess
import sys


def test_the_commands_are_there_without_torch_and_without_the_sdk() -> None:
    code = "import sys, nola_core.descriptions.commands; print(*({'torch', 'openai', 'open_clip'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
