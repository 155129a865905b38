"""`refine`: rounds of questions about the classes CLIP confuses, answered by a model or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nola_core.config import Describe, load
from nola_core.descriptions.asking.answers import collect, sentences
from nola_core.descriptions.asking.cache import Responses
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.rounds.confusion import GAP, Answer, ask, confused_pairs, not_asked, read_rounds, write_round
from nola_core.descriptions.texts.prompts import Question, load_prompt_set
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
        gap: see `confused_pairs`.
        prompts: name or path of a prompt set about pairs.
        provider, model: who answers, for the record.

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
    folder, prompt_set = paths["responses"] / "_rounds", load_prompt_set(prompts, root=paths.root)
    classes = read_table(paths["classes.parquet"])
    names = classes.set_index("class_id")["name"]
    first = 1 + max(read_rounds(folder, rounds=rounds)["round"], default=0)
    for number in range(first, rounds + 1):
        predictions = read_table(paths["zero_shot.parquet"], ["split", "method", "margin", "top_classes"])
        mine = predictions[(predictions["method"] == "cde") & (predictions["split"] == "train")]
        fresh = not_asked(confused_pairs(mine, gap=gap), classes, read_rounds(folder, rounds=number)).head(pairs)
        if fresh.empty:
            print(f"round {number}: no pair of classes is left that shares an image less than {gap} apart")
            return number - first
        rows = ask(fresh, classes, answer, prompt_set=prompt_set, number=number)
        if rows.empty:
            raise NolaError(f"round {number}: none of its {len(fresh)} pairs got an answer, so there is nothing to add.")
        write_round(folder, number, rows.assign(provider=provider, model=model))
        listed = [f"{names[a]} / {names[b]} ({count})" for a, b, count in fresh.itertuples(index=False)]
        print(f"round {number}: {len(rows)} answers about {', '.join(listed)}")
        for stage in ("describe", "classify"):
            run_stage(paths.root, paths.dataset, stage)
    return rounds - first + 1


def from_model(paths: Paths, settings: Describe, *, endpoint: Endpoint | None) -> Answer:
    """Answers from a language model, by way of the response cache; see `collect`."""

    def answer(asked: Sequence[Question]) -> list[list[str]]:
        answers = collect(asked, settings, Responses(paths["responses"]), endpoint=endpoint)
        table = sentences(answers, read_table(paths["classes.parquet"]))
        found = table.groupby(["class", "prompt"])["text"].agg(list).to_dict()
        return [found.get((question.class_name, question.prompt), []) for question in asked]

    return answer


def from_file(path: Path) -> Answer:
    """Answers from a JSON file, prompt -> texts; prompts it lacks are written into it, with empty lists to be filled in."""

    def answer(asked: Sequence[Question]) -> list[list[str]]:
        known = read_json(path) if path.is_file() else {}
        if not isinstance(known, dict) or not all(isinstance(texts, list) for texts in known.values()):
            raise NolaError(f"{path} must hold prompt -> [texts].")
        open_ = [question.prompt for question in asked if not known.get(question.prompt)]
        if open_:
            write_json(path, known | {prompt: [] for prompt in open_})
            raise NolaError(f"{len(open_)} questions have no answer yet; they are in {path}: fill in the lists and run again.")
        return [[str(text) for text in known[question.prompt]] for question in asked]

    return answer
