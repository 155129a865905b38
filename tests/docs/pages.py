"""The pages of the documentation and their code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from markdown_it import MarkdownIt

from tests.project import ROOT

PAGES = sorted(
    [ROOT / "README.md", ROOT / "demo" / "README.md", ROOT / "flows" / "starter" / "README.md", *ROOT.glob("docs/*.md")]
)
PROGRAMS = {
    *("nola", "dvc", "make", "python", "python3.11", "pip", "pytest", "docker", "ssh", "hf"),
    *("export", "source", "cd", "git"),
}
"""What a block of commands may begin with."""


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        kind: `transcript` ($ commands with their output), `commands`, `yaml` (or JSON), `csv`, `python`, or `text`.
        line: where it begins, from 1.
    """

    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Those of a page, in order; a fence may name its language, otherwise the text tells it."""
    found = [token for token in MarkdownIt().parse(page.read_text()) if token.type in ("fence", "code_block")]
    named = {"python": "python", "yaml": "yaml", "json": "yaml", "text": "text", "csv": "csv"}
    return [
        Block(page, token.map[0] + 1, named.get(token.info.strip()) or kind_of(token.content), token.content)
        for token in found
        if token.map
    ]


def kind_of(text: str) -> str:
    """The kind of a block without a language."""
    first = text.lstrip().split("\n")[0]
    if first.startswith("$ "):
        return "transcript"
    if re.match(r"[\w./-]+", first) and re.split(r"[\s=]", first)[0].rsplit("/", 1)[-1] in PROGRAMS:
        return "commands"
    try:
        values = yaml.safe_load(text)
        if isinstance(values, dict) and all(re.fullmatch(r"[\w./-]+", str(key)) for key in values):
            return "yaml"
    except yaml.YAMLError:
        pass
    try:
        compile(text, "", "exec")
        return "python"
    except SyntaxError:
        return "text"


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """(command, output that is shown) for each command; continued lines are joined, comments taken away."""
    found: list[tuple[str, list[str]]] = []
    lines = block.text.replace("\\\n", " ").splitlines()
    for line in lines:
        if block.kind == "commands" or line.startswith("$ "):
            command = re.sub(r"\s+#\s.*", "", line.removeprefix("$ ")).strip()
            if command:
                found.append((command, []))
        elif found:
            found[-1][1].append(line)
    return found
