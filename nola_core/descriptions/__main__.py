"""Commands about class descriptions: `python -m nola_core.descriptions COMMAND`."""

from __future__ import annotations

import importlib
import sys

from nola_core.errors import NolaError

COMMANDS = {
    "prompts": ("nola_core.descriptions.prompts", "list the prompt sets, or print one"),
    "import": ("nola_core.descriptions.importers", "turn published descriptions into a table for one class list"),
    "plan": ("nola_core.descriptions.commands:plan", "what a language model would be asked, and what it would cost"),
    "ask": ("nola_core.descriptions.commands:ask", "ask it for what is missing, whatever describe.mode says"),
    "batch": ("nola_core.descriptions.commands:batch", "the same by the Batch API"),
    "caption": ("nola_core.descriptions.captions", "captions of images, or of four images each"),
    "refine": ("nola_core.descriptions.refine", "ask what tells confused classes apart"),
}
"""Command -> the module and function (`main` unless named) that takes its arguments, and its purpose."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 1 and one sentence on stderr when the input is wrong."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] not in COMMANDS:
        print("usage: python -m nola_core.descriptions COMMAND [-h]\n")
        print("\n".join(f"  {name:10} {purpose}" for name, (_, purpose) in COMMANDS.items()))
        return 0 if words and words[0] in ("-h", "--help") else 2
    try:
        module, _, function = COMMANDS[words[0]][0].partition(":")
        status: int = getattr(importlib.import_module(module), function or "main")(words[1:])
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
