"""What a description is worth: the fast path against the plain definition, and what is flagged and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from nola_core import description_quality as quality
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.description_quality import assess, named_classes, separation
from nola_core.files import write_table
from tests.tiny import write_clip


def example(classes: int, each: int, *, seed: int = 0, width: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit features round the directions of their classes, class ids in mixed order, sums of two templates a class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=generator)
    ids = torch.arange(classes).repeat(each)[torch.randperm(classes * each, generator=generator)]
    features = normalize(centres[ids] + 0.8 * torch.randn(len(ids), width, generator=generator), dim=-1)
    filled = centres[:, None] + 0.3 * torch.randn(classes, 2, width, generator=generator)
    return features, ids, normalize(filled, dim=-1).sum(dim=1)


def described(*rows: tuple[int, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["class_id", "text"])


@pytest.mark.parametrize(("classes", "neighbors"), [(7, 3), (4, 9), (2, 1)])
def test_separation_is_its_definition(classes: int, neighbors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow oracle: sentence by sentence in float64, each class's mean taken anew without it."""
    monkeypatch.setattr(quality, "CHUNK", 5)
    features, ids, templates = example(classes, 4)
    own, rival, rival_cosine, margin = separation(features, ids, templates, neighbors=neighbors)
    f, t = features.double().numpy(), templates.double().numpy()

    def embedding(class_id: int, without: int = -1) -> np.ndarray:
        total = t[class_id] + sum(f[row] for row in range(len(f)) if ids[row] == class_id and row != without)
        return total / np.linalg.norm(total)

    phi = [embedding(class_id) for class_id in range(classes)]
    for row, mine in enumerate(ids.tolist()):
        others = sorted((c for c in range(classes) if c != mine), key=lambda c: -float(phi[c] @ phi[mine]))[:neighbors]
        cosines = {c: float(f[row] @ phi[c]) for c in others}
        alone = float(f[row] @ embedding(mine, without=row))
        assert own[row] == pytest.approx(alone, abs=1e-5)
        assert rival[row] == max(cosines, key=lambda c: cosines[c])
        assert rival_cosine[row] == pytest.approx(max(cosines.values()), abs=1e-5)
        assert margin[row] == pytest.approx(alone - np.mean(list(cosines.values())), abs=1e-5)


def test_names_are_found_as_whole_words_longest_first() -> None:
    names = ["lion", "sea lion", "cat", "water lily", "747-400"]
    texts = ["A sea lion.", "The lions hunt a cat", "Cattle scatter", "Water-lilies bloom", "a 747 400", "SEA LION, lion", ""]
    assert named_classes(texts, names) == [{1}, {0, 2}, set(), {3}, {4}, {0, 1}, set()]


CLASSES = pd.DataFrame({"class_id": [0, 1], "name": ["cat", "sea_dog"], "display_name": ["cat", "sea dog"]})
EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
ROWS = described((0, "A cat."), (0, "a  CAT"), (0, "It is like a sea dog"), (0, "A cat runs"), (0, "A cat sits"), (1, "Sea dogs"))


def assessed(keep: str, rows: pd.DataFrame = ROWS, features: torch.Tensor | None = None) -> pd.DataFrame:
    if features is None:
        features = torch.stack([EAST, EAST, NORTH, EAST, EAST, NORTH])
    return assess(
        rows, CLASSES, features=features, templates=torch.stack([EAST, NORTH]), tokens=[4, 80, 7, 77, 5, 5][: len(rows)],
        context_length=77, neighbors=5, keep=keep,  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_is_flagged(tmp_path: Path) -> None:
    table = assessed("all")
    assert table["truncated"].tolist() == [False, True, False, False, False, False]
    assert table["repeats"].tolist() == ["", "A cat.", "", "", "", ""]
    assert table["names_own"].tolist() == [True, True, False, True, True, True]
    assert table["names_others"].tolist() == [[], [], ["sea_dog"], [], [], []]
    assert table["rival"].tolist() == ["sea_dog"] * 5 + ["cat"]
    assert table["kept"].all()
    assert quality.findings(table) == [
        "1 of 6 descriptions have more tokens than CLIP reads; their ends are cut off",
        "1 of 6 descriptions say the same as an earlier one of their class",
        "1 of 6 descriptions do not name their class",
        "1 of 6 descriptions name another class",
        "1 of 6 descriptions are nearer to another class than to their own",
    ]
    write_table(tmp_path / "q.parquet", table, quality.SCHEMA)


def test_separating_keeps_what_is_nearer_to_its_class() -> None:
    table = assessed("separating")
    assert table["kept"].tolist() == [True, False, False, True, True, True]
    assert table["why"].tolist()[1:3] == ["left out: repeats an earlier one", "left out: nearer to its rival"]
    assert quality.findings(table)[-1] == "2 of 6 descriptions are left out of the class-description embedding"


def test_a_class_keeps_its_best_sentences_even_if_none_separates_it() -> None:
    rows = described(*((0, f"text {number}") for number in range(5)))
    angles = torch.tensor([1.5, 1.3, 1.4, 1.45, 1.35])
    table = assessed("separating", rows, torch.stack([angles.cos(), angles.sin()], dim=1))
    few = table.sort_values("margin", ascending=False)
    assert table["kept"].sum() == quality.LEAST
    assert few["kept"].tolist() == [True] * 3 + [False] * 2


def test_tokens_are_counted_beyond_what_the_tower_reads(tmp_path: Path) -> None:
    clip = load_clip(ClipSpec(model=f"local-dir:{write_clip(tmp_path / 'clip')}", pretrained=None, sha256=None))
    texts = ["a dog", "", " ".join(["dog"] * 14), " ".join(["dog"] * 15), " ".join(["dog"] * 60)]
    assert clip.context_length == 16
    assert clip.token_counts(texts, batch_size=2) == [4, 2, 16, 17, 62]
    cut, whole = clip.encode_texts([texts[4], texts[2]])
    assert torch.equal(cut, whole), "what is beyond is cut off"
