"""`refine`: rounds of questions about the classes CLIP confuses, answered by a model or by hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nola_core.config import load
from nola_core.descriptions import commands, llm
from nola_core.descriptions.confusion import GAP, Answer, ask, confused_pairs, not_asked, read_rounds, write_round
from nola_core.descriptions.prompts import load_prompt_set
from nola_core.descriptions.question import Question
from nola_core.descriptions.responses import Responses
from nola_core.errors import NolaError
from nola_core.files import read_json, read_table, write_json
from nola_core.stages.__main__ import run_stage
from nola_core.stages.paths import Paths


def refine(
    paths: Paths,
    answer: Answer,
    *,
    rounds: int | None = None,
    pairs: int = 10,
    gap: float = GAP,
    prompts: str = "confusion",
    provider: str = "refine",
    model: str = "",
) -> int:
    """Run the rounds that have not been run yet: find confused pairs, ask, add the answers, describe and classify again.

    The answers stay in `responses/_rounds/`, which `describe` reads up to `describe.rounds`; `dvc repro` then runs what follows.

    Args:
        paths: a data set that `classify` has run for.
        answer: answers the questions.
        rounds: how many there may be in all; `describe.rounds` of params.yaml if None, and never more.
        pairs: pairs of classes a round asks about at most, those with the most images first.
        gap: first minus second probability below which an image counts as confused.
        prompts: name or path of a prompt set about pairs.
        provider: who answers, for the record.
        model: the model that answers, for the record.

    Returns:
        How many rounds were run; fewer than asked for when no confused pair is left.

    Raises:
        NolaError: `describe.rounds` is below `rounds`, or zero.
    """
    allowed = load(paths.root).describe.rounds
    rounds = allowed if rounds is None else rounds
    if rounds < 1 or rounds > allowed:
        raise NolaError(
            f"params.yaml lets describe read {allowed} rounds and {rounds} were asked for; "
            f"set describe.rounds to {max(rounds, 1)}, then run `dvc repro` after this."
        )
    folder = paths["responses"] / "_rounds"
    prompt_set = load_prompt_set(prompts, root=paths.root)
    classes = read_table(paths["classes.parquet"])
    known = read_rounds(folder, rounds=rounds)
    first = int(known["round"].max()) + 1 if len(known) else 1
    for number in range(first, rounds + 1):
        predictions = read_table(paths["zero_shot.parquet"], ["split", "method", "margin", "top_classes"])
        mine = predictions[(predictions["method"] == "cde") & (predictions["split"] == "train")]
        fresh = not_asked(confused_pairs(mine, gap=gap), classes, read_rounds(folder, rounds=number)).head(pairs)
        if fresh.empty:
            print(f"round {number}: no pair of classes is left that shares an image less than {gap} apart")
            return number - first
        rows = ask(fresh, classes, answer, prompt_set=prompt_set, number=number, provider=provider, model=model)
        if rows.empty:
            raise NolaError(f"round {number}: all {len(fresh)} pairs were left without an answer, so there is nothing to add.")
        write_round(folder, number, rows)
        names = classes.set_index("class_id")["name"]
        listed = [f"{names[a]} / {names[b]} ({count})" for a, b, count in fresh.itertuples(index=False)]
        print(f"round {number}: {len(rows)} answers about {', '.join(listed)}")
        for stage in ("describe", "classify"):
            run_stage(paths.root, paths.dataset, stage)
    return rounds - first + 1


def from_file(path: Path) -> Answer:
    """Answers from a JSON file, prompt -> texts; prompts it lacks are written into it, with empty lists, to be filled in."""

    def answer(asked: Sequence[Question]) -> list[list[str]]:
        known = read_json(path) if path.is_file() else {}
        if not isinstance(known, dict) or not all(isinstance(texts, list) for texts in known.values()):
            raise NolaError(f"{path} must hold prompt -> [texts].")
        open_ = [question.prompt for question in asked if not known.get(question.prompt)]
        if open_:
            write_json(path, known | {prompt: [] for prompt in open_})
            raise NolaError(
                f"{len(open_)} questions have no answer yet; they stand in {path}: fill in the lists and run this again."
            )
        return [[str(text) for text in known[question.prompt]] for question in asked]

    return answer


def main(argv: list[str]) -> int:
    """Ask what tells apart the classes that CLIP confuses, and add the answers to the descriptions."""
    parser = argparse.ArgumentParser(prog="python -m nola_core.descriptions refine", description=main.__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--rounds", type=int, help="rounds in all (default: describe.rounds of params.yaml)")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of classes a round (default: 10)")
    parser.add_argument("--gap", type=float, default=GAP, help=f"probability gap below which an image counts (default: {GAP})")
    parser.add_argument("--prompts", default="confusion", help="a prompt set about pairs (default: confusion)")
    parser.add_argument("--answers", type=Path, help="JSON, prompt -> texts; open questions go into it (default: ask the model)")
    parser.add_argument("--model", default="", help="what wrote the answers, for the record")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: here)")
    arguments = parser.parse_args(argv)
    paths = Paths(arguments.root, arguments.dataset)
    settings = load(paths.root).describe
    if arguments.answers:
        answer, provider = from_file(arguments.answers), arguments.answers.name
    else:
        model = None if settings.mode == "replay" else commands.endpoint()
        classes = read_table(paths["classes.parquet"])
        answer, provider = llm.answerer(settings, Responses(paths["responses"]), classes, endpoint=model), "llm"
    done = refine(
        paths,
        answer,
        rounds=arguments.rounds,
        pairs=arguments.pairs,
        gap=arguments.gap,
        prompts=arguments.prompts,
        provider=provider,
        model=arguments.model or ("" if arguments.answers else settings.model),
    )
    print(f"{done} rounds run; `dvc repro` brings everything that follows up to date")
    return 0
