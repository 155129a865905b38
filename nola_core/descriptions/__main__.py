"""Commands about class descriptions: `python -m nola_core.descriptions COMMAND`."""

from __future__ import annotations

import sys

from nola_core.descriptions.commands import app
from nola_core.errors import NolaError


def main(argv: list[str] | None = None) -> int:
    """Run one command; 1 and one sentence on stderr when the input is wrong."""
    try:
        app(argv)
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
