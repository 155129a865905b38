"""`plan`, `ask` and `batch`: the language model beside the stage, so that its answers are there when the stage runs.

python -m nola_core.descriptions plan --dataset pets             # what it would cost; touches nothing
python -m nola_core.descriptions ask --dataset pets              # live
python -m nola_core.descriptions batch --dataset pets --no-wait  # submit or fetch, and return
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nola_core.config import Describe, load
from nola_core.descriptions import llm, prompts
from nola_core.descriptions.endpoint import Endpoint
from nola_core.descriptions.question import Question
from nola_core.descriptions.responses import Responses
from nola_core.errors import NolaError
from nola_core.files import read_table
from nola_core.stages.paths import Paths


def plan(argv: list[str]) -> int:
    """Print what a language model would be asked for a data set, and what it would cost."""
    parser = command("plan", str(plan.__doc__))
    questions, settings, responses = _inputs(parser.parse_args(argv))
    print("\n".join(llm.plan(questions, settings, responses).lines(settings)))
    return 0


def ask(argv: list[str]) -> int:
    """Ask a language model for the answers that are not in the cache of a data set."""
    parser = command("ask", str(ask.__doc__))
    questions, settings, responses = _inputs(parser.parse_args(argv))
    rows = llm.collect(questions, settings.model_copy(update={"mode": "live"}), responses, endpoint=endpoint())
    print(f"{len(rows):,} answers in {responses.folder}")
    return 0


def batch(argv: list[str]) -> int:
    """Have them answered by the Batch API."""
    parser = command("batch", str(batch.__doc__))
    parser.add_argument("--no-wait", action="store_true", help="submit or fetch, and return; run again later")
    arguments = parser.parse_args(argv)
    questions, settings, responses = _inputs(arguments)
    changed = settings.model_copy(update={"mode": "batch"})
    rows = llm.collect(questions, changed, responses, endpoint=endpoint(), wait=not arguments.no_wait)
    print(f"{len(rows):,} answers in {responses.folder}")
    return 0


def command(name: str, purpose: str) -> argparse.ArgumentParser:
    """The options all commands about a data set share."""
    parser = argparse.ArgumentParser(prog=f"python -m nola_core.descriptions {name}", description=purpose)
    parser.add_argument("--dataset", required=True, help="a name under `datasets:` in params.yaml")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    return parser


def endpoint() -> Endpoint:
    """The configured endpoint.

    Raises:
        NolaError: there is none.
    """
    found = Endpoint.from_environment()
    if found is None:
        raise NolaError("no language model is configured: set OPENAI_API_KEY, or NOLA_LLM_BASE_URL for one of your own.")
    return found


def _inputs(arguments: argparse.Namespace) -> tuple[Sequence[Question], Describe, Responses]:
    settings = load(arguments.root).describe
    paths = Paths(arguments.root, arguments.dataset)
    classes = read_table(paths["classes.parquet"])
    questions = prompts.questions(prompts.load_prompt_set(settings.prompts, root=arguments.root), classes)
    if settings.provider != "llm":
        print(f"describe.provider is {settings.provider}: the stage reads what is asked here only when it is llm")
    return questions, settings, Responses(paths["responses"])
