"""Prompt sets: each that comes with NoLA reads well, a wrong one of the user's is named by file and prompt."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nola_core.descriptions.texts.prompts import fill, load_prompt_set, names, questions
from nola_core.errors import NolaError

CLASSES = pd.DataFrame({"class_id": [0, 1], "name": ["AnnualCrop", "jeans"], "display_name": ["annual crop", "jeans"]})
OWN = {"version": 3, "about": "ours", "form": "plain", "samples": 2, "prompts": ["Draw {a} {c}"]}


def written(folder: Path, **changes: object) -> str:
    (folder / "mine.yaml").write_text(yaml.safe_dump({**OWN, **changes}))
    return "mine.yaml"


@pytest.mark.parametrize("name", names())
def test_every_set_reads_well_for_every_kind_of_name(name: str) -> None:
    prompt_set = load_prompt_set(name)
    for c in ("hour glass", "dog", "water lilies", "the digit {seven}"):
        for prompt in prompt_set.texts:
            text = fill(prompt, c=c, c2="owls")
            assert c in text and "  " not in text and "|" not in text
            assert not re.search(r"\b(a|an) (water|owls|the)\b|\ba hour|\ban dog", text)
            assert not re.search(r"does water|do (an|a) |water lilies looks", text)


def test_the_published_wording() -> None:
    filled = [fill(prompt, c="ewer") for prompt in load_prompt_set("paper").texts]
    assert filled == [
        "Describe what a ewer looks like",
        "How can you identify a ewer?",
        "What does a ewer look like?",
        "Describe an image from the internet of a ewer",
        "A caption of an image of a ewer:",
    ]
    assert fill(load_prompt_set("paper").prompts[2], c="jeans") == "What do jeans look like?"
    assert len(load_prompt_set("satellite").prompts) == 6


def test_questions_ask_every_prompt_about_every_class() -> None:
    asked = questions(load_prompt_set("paper"), CLASSES)
    assert [question.class_name for question in asked] == ["AnnualCrop"] * 5 + ["jeans"] * 5
    assert asked[0].prompt == "Describe what an annual crop looks like"
    assert {(q.prompt_version, q.samples, q.form) for q in asked} == {("paper/1", 5, "plain")}
    with pytest.raises(NolaError, match="prompt set 'confusion' compares two classes"):
        questions(load_prompt_set("confusion"), CLASSES)


def test_a_set_of_the_users(tmp_path: Path) -> None:
    own = load_prompt_set(written(tmp_path, instruction="Name {c}."), root=tmp_path)
    assert [q.prompt for q in questions(own, CLASSES)] == ["Draw an annual crop Name annual crop.", "Draw jeans Name jeans."]
    assert own.prompt_version == "mine/3"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"prompts": ["Draw {b} {c}"]},
            "prompt 'Draw {b} {c}' has the unknown place {b}; known are {a}, {c} and {singular|plural}.",
        ),
        ({"prompts": ["Draw {c} or {c2}"]}, "has the unknown place {c2}"),
        ({"prompts": ["Draw {a|} {c}"]}, "has the unknown place {a|}"),
        ({"prompts": ["Draw {}"]}, "has the unknown place {}"),
        ({"prompts": ["Draw {c"]}, "has a brace without its partner"),
        ({"prompts": ["Draw a dog"]}, "lacks {c}, where the class name goes"),
        ({"prompts": ["Draw {a} big {c}"]}, "must have {c} right after {a}"),
        ({"prompts": []}, "prompts = []: List should have at least 1 item"),
        ({"instruction": "{x}"}, "instruction '{x}' has the unknown place {x}"),
        ({"form": "essay"}, "form = 'essay': must be 'sentences', 'attributes' or 'plain'"),
        ({"sample": 3}, "unknown key 'sample': did you mean 'samples'?"),
    ],
)
def test_a_wrong_set_is_one_sentence(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(NolaError, match=re.escape(sentence)) as caught:
        load_prompt_set(written(tmp_path, **changes), root=tmp_path)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_set_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"no prompt set 'texture'; did you mean 'textures'\?"):
        load_prompt_set("texture")
    with pytest.raises(NolaError, match=r"nowhere.yaml does not exist"):
        load_prompt_set("nowhere.yaml", root=tmp_path)
