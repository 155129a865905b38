"""The beds' variants, a cell of a made bed, and the page made of cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import beds, methods, methods_page
from nola_core import text_classifier
from nola_core.methods.collection import Texts

COST = {"images": 9, "zero_shot": 50.0, "seconds": 1.0, "peak_mb": 100}
NAMES = [f"thing {n}" for n in range(8)]


def made_bed() -> beds.Bed:
    """Eight classes in 12 dimensions, 30 train images and 5 test images of each; the text is right about nearly all."""

    def encode(texts: Sequence[str]) -> Tensor:
        return torch.eye(8, 12)[[int(text.split()[-1]) for text in texts]]

    def part(images: int, seed: int) -> beds.Part:
        draw = torch.Generator().manual_seed(seed)
        labels = torch.arange(8 * images) % 8
        rows = normalize(torch.eye(8, 12)[labels] + 0.2 * torch.randn(8 * images, 12, generator=draw), dim=1).half().numpy()
        return beds.Part({"clip": rows, "ssl": rows}, labels.numpy())

    patterns = ["a photo of {}"]
    texts = Texts(NAMES, text_classifier.fill(patterns, NAMES), [[] for _ in NAMES], encode, 20.0, patterns)
    return beds.Bed("digits", "made : made", texts, lambda seed: (part(30, seed), part(5, seed + 100)))


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> beds.Bed:
    made = made_bed()
    monkeypatch.setattr(methods, "_bed", lambda name: made)
    return made


def test_the_variants_are_what_the_protocol_says(bed: beds.Bed) -> None:
    counts = {one: np.sort(np.bincount(bed.draw(one, 0).train.labels, minlength=8))[::-1] for one in beds.VARIANTS}
    assert counts["whole"].tolist() == counts["weak"].tolist() == [30] * 8
    assert counts["tail"][0] == 30 and counts["tail"][-1] == round(30 / 20)
    assert counts["half"].tolist() == [30] * 4 + [0] * 4 and counts["quarter"].tolist() == [30] * 2 + [0] * 6
    assert counts["three"].tolist() == [3] * 8 and counts["ten"].tolist() == [10] * 8
    assert bed.draw("weak", 0).collection.spaces["ssl"].dim == bed.draw("weak", 0).test.spaces["ssl"].shape[1] == 8
    some = bed.draw("half", 1)
    assert set(some.test.labels) == set(some.train.labels) and len(some.collection.names) == 8
    again = bed.draw("half", 1)
    assert np.array_equal(some.train.labels, again.train.labels) and not np.array_equal(counts["half"], again.train.labels)


def test_a_cell_is_run_once_and_transductive_answers_have_their_own_row(bed: beds.Bed, tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    file.write_text(",".join(methods.CELLS) + "\n")
    settings: methods.Settings = {"templates": [{}], "evidence": [{}, {"weight": 0.0}]}
    for _ in range(2):
        methods.task("digits", "whole", [0], settings, file, False)
    cells = methods.read(file)
    assert cells["method"].tolist() == ["templates"] + ["evidence"] * 4
    assert cells["protocol"].tolist() == ["inductive", *["inductive", "transductive"] * 2]
    assert cells["images"].tolist() == [40, 40, 240, 40, 240]
    assert (cells["top1"] >= cells["zero_shot"] - 1).all()
    assert cells["top1"].tolist()[-2:] == cells["zero_shot"].tolist()[-2:] and cells["options"].tolist()[-1] == '{"weight": 0.0}'


def test_the_race_scores_every_method_on_the_train_images(bed: beds.Bed, tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    file.write_text(",".join(methods.CELLS) + "\n")
    methods.task("digits", "ten", [0], {"gda_em": [{}], "evidence": [{}]}, file, True)
    cells = methods.read(file)
    assert cells["protocol"].tolist() == ["train", "train"] and cells["images"].tolist() == [80, 80]


def rows(method: str, *top1: float) -> list[dict[str, object]]:
    told: dict[str, object] = {
        "dataset": "digits",
        "method": method,
        "options": "",
        "protocol": "inductive",
        "images": 9,
        "zero_shot": 50.0,
    }
    return [
        {**told, "variant": variant, "seed": seed, "top1": value, **COST}
        for variant, value in zip(("whole", "tail"), top1, strict=True)
        for seed in (0, 1)
    ]


def test_the_page_counts_cells_behind_zero_shot_and_keeps_what_was_written_around_it(tmp_path: Path) -> None:
    cells = pd.DataFrame([*rows("templates", 50, 50), *rows("turtle", 60, 48.9), *rows("zlap", 49.1, 49.1)])[methods.CELLS]
    methods_page.write(cells, tmp_path)
    page = tmp_path / "methods.md"
    page.write_text(page.read_text().replace("# Methods", "# Methods\n\nWhat came out."))
    methods_page.write(cells, tmp_path)
    text = page.read_text()
    assert text.count("What came out.") == text.count(methods_page.BEGIN) == 1
    told = methods_page.means(pd.read_csv(tmp_path / "methods.csv").astype({"variant": str})).set_index("method")
    assert [told[column]["turtle"] for column in ("gain", "worst", "behind")] == [4.4, "-1.1 (digits, tail)", "1 of 2"]
    assert told["behind"]["zlap"] == "0 of 2" and told.index[0] == "turtle"
    table = pd.read_csv(tmp_path / "methods.csv")
    assert list(table.columns) == methods_page.COLUMNS and set(table["seeds"]) == {"0 1"}
    assert (tmp_path / "methods.png").stat().st_size > 1000
