"""Commands about class descriptions: `python -m nola_core.descriptions COMMAND`."""

from __future__ import annotations

import importlib
import sys

from nola_core.errors import NolaError

COMMANDS = {
    "prompts": ("nola_core.descriptions.prompts", "list the prompt sets, or print one"),
    "import": ("nola_core.descriptions.importers", "turn published descriptions into a table for one class list"),
    "refine": ("nola_core.descriptions.refine", "ask what tells confused classes apart"),
}
"""Command -> the module whose `main(argv)` runs it, and its purpose."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 1 and one sentence on stderr when the input is wrong."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] not in COMMANDS:
        print("usage: python -m nola_core.descriptions COMMAND [-h]\n")
        print("\n".join(f"  {name:10} {purpose}" for name, (_, purpose) in COMMANDS.items()))
        return 0 if words and words[0] in ("-h", "--help") else 2
    try:
        status: int = importlib.import_module(COMMANDS[words[0]][0]).main(words[1:])
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
