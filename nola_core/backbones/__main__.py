"""Look at a pair.

python -m nola_core.backbones PAIR           # load both models and print what will be recorded of them
python -m nola_core.backbones PAIR --check   # names, sizes and files; builds and downloads nothing
"""

import argparse
import sys

from nola_core.backbones.check import check_pair
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import Pair, load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.errors import NolaError


def main(argv: list[str] | None = None) -> int:
    """Print model, weights, SHA-256 and transform of both backbones of a pair; 1 with one sentence when one fails."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.backbones", description="Look at a pair of backbones.")
    parser.add_argument("pair", help="the name of a pair, or CLIP+SSL")
    parser.add_argument("--check", action="store_true", help="only look whether it can work; build and download nothing")
    arguments = parser.parse_args(argv)
    try:
        pair = load_pair(arguments.pair)
        if arguments.check:
            for role, files in check_pair(pair).items():
                print(f"{role}: {getattr(pair, role).model}", *files, sep="\n  ")
        else:
            _print_models(pair)
    except NolaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_models(pair: Pair) -> None:
    for role, encoder in (("clip", load_clip(pair.clip).image), ("ssl", load_ssl(pair.ssl))):
        print(f"{role}: {encoder.dim} features")
        for key, value in encoder.meta.items():
            print(f"  {key}: {value}")


if __name__ == "__main__":
    sys.exit(main())
