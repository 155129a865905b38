"""Load a pair and print what would be recorded of it: `python -m nola_core.backbones PAIR`."""

import argparse
import sys

from nola_core.backbones import load_clip, load_pair, load_ssl
from nola_core.errors import NolaError


def main(argv: list[str] | None = None) -> int:
    """Print model, weights, SHA-256 and transform of both backbones of a pair; 1 with one sentence when one fails."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.backbones", description=__doc__)
    parser.add_argument("pair")
    arguments = parser.parse_args(argv)
    try:
        pair = load_pair(arguments.pair)
        for role, encoder in (("clip", load_clip(pair.clip).image), ("ssl", load_ssl(pair.ssl))):
            print(f"{role}: {encoder.dim} features")
            for key, value in encoder.meta.items():
                print(f"  {key}: {value}")
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
