"""The three rooms import one way only, and planning starts quickly: what only asking needs is imported then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nola_core import descriptions
from nola_core.fingerprint import Package

ROOMS = ("texts", "asking", "rounds")


@pytest.mark.parametrize("room", ROOMS[:-1])
def test_a_room_imports_from_those_before_it(room: str) -> None:
    folder = Path(descriptions.__file__).parent / room
    modules = [f"nola_core.descriptions.{room}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) >= 2
    reached = Package().reached(modules)
    for later in ROOMS[ROOMS.index(room) + 1 :]:
        assert not {name for name in reached if name.startswith(f"nola_core.descriptions.{later}")}


def test_the_stage_does_not_depend_on_what_only_refine_and_captions_need() -> None:
    reached = Package().reached(["nola_core.stages.describe"])
    assert "nola_core.descriptions.rounds.confusion" in reached
    assert not reached & {"nola_core.descriptions.rounds.refine", "nola_core.captions"}


@pytest.mark.parametrize("module", ["flows.commands.describe", "nola_core.descriptions.asking.answers"])
def test_planning_needs_neither_torch_nor_the_sdk(module: str) -> None:
    code = f"import sys, {module}; print(*({{'torch', 'openai', 'open_clip'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
