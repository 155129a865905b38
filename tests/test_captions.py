"""Captions: which images go together, what is sent, and that the cache knows them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nola_core import captions
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.errors import NolaError
from tests.descriptions.asking.test_live import KEY, Run, settings_of
from tests.descriptions.llm_server import LLMServer, images_of

IMAGES = pd.DataFrame({"image_id": [f"i{n}" for n in range(12)], "sha256": [f"{n:064x}" for n in range(12)]})
CLASSES = pd.DataFrame({"class_id": [0, 1, 2], "name": ["cat", "dog", "emu"]})
PREDICTED = IMAGES[["image_id"]].assign(class_id=[0] * 6 + [1] * 4 + [2] * 2)


def open_image(image_id: str) -> Image.Image:
    return Image.new("RGB", (40, 20), (int(image_id[1:]) * 20, 0, 0))


def test_groups_hold_every_image_of_a_class_and_of_no_other() -> None:
    made = captions.group_captions(IMAGES, PREDICTED, CLASSES, subject="pet", seed=1)
    assert [(c.class_id, c.question.class_name, len(c.image_ids)) for c in made] == [(0, "cat", 4), (0, "cat", 4), (1, "dog", 4)]
    cats = made[0].image_ids + made[1].image_ids
    assert set(cats) == {f"i{n}" for n in range(6)} and len(set(made[1].image_ids)) == 4
    assert made == captions.group_captions(IMAGES.iloc[::-1], PREDICTED, CLASSES, subject="pet", seed=1)
    assert made[0].question.prompt.startswith("Describe the common visual attributes of the pet in all the photos")


def test_a_grid_shows_the_images_in_reading_order() -> None:
    pixels = np.asarray(captions.grid([open_image(f"i{n}") for n in (1, 4, 7, 10)]))
    centres = [pixels[y, x, 0] for y in (128, 384) for x in (128, 384)]
    assert centres == [20, 80, 140, 200] and pixels[0, 0].tolist() == [255, 255, 255]


def test_captions_are_asked_with_the_picture_and_cached_by_its_hash(tmp_path: Path) -> None:
    run = Run(tmp_path / "responses")
    single = captions.image_captions(IMAGES.head(3), subject="texture")
    groups = captions.group_captions(IMAGES, PREDICTED, CLASSES, seed=1)
    made = single + groups
    questions = [caption.question for caption in made]
    with LLMServer() as server:
        endpoint = Endpoint(base_url=server.url, key=KEY, concurrency=1)
        load = captions.image_loader(made, open_image)
        found = answers.collect(questions, settings_of(), run.responses, endpoint=endpoint, load_image=load)
        sent = [Image.open(io.BytesIO(base64.b64decode(images_of(e["body"])[0].split(",")[1]))) for e in server.log]
        assert [picture.size for picture in sent] == [(40, 20)] * 3 + [(512, 512)] * 3
        assert "response_format" not in server.log[0]["body"]
    table = captions.caption_table(made, found)
    assert (
        table["kind"].tolist() == ["image"] * 3 + ["group"] * 3 and table["class_id"].isna().tolist() == [True] * 3 + [False] * 3
    )
    assert table["image_ids"].tolist()[0] == ("i0",) and table["text"].str.startswith("answer").all()
    assert len(run(None, questions, mode="replay")) == 6
    with pytest.raises(NolaError, match="3 answers are not in the cache"):
        run(None, [caption.question for caption in captions.image_captions(IMAGES.head(3))], mode="replay")
