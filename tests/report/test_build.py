"""The page as a reader gets it: complete, self-contained, and honest in every case."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nola_core.errors import NolaError
from nola_core.files import read_table, write_table
from nola_core.neighbors import DUPLICATES_SCHEMA
from nola_core.report import build
from nola_core.report.content import headline, load
from tests.report.example import SETTINGS, image_of, write_example


def page_of(tmp_path: Path, **options: Any) -> str:
    write_example(tmp_path / "pets", **options)
    return rebuild(tmp_path)


def rebuild(tmp_path: Path) -> str:
    folder = tmp_path / "pets"
    build(
        dataset="pets", folder=folder, settings_dict=SETTINGS, overrides=["tune.epochs=3 (preset paper: 50)"],
        image_of=image_of, output=folder / "report.html", figures_folder=folder / "figures",
    )  # fmt: skip
    return (folder / "report.html").read_text()


def text_of(page: str) -> str:
    """The words of the page, without markup and line breaks."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    words = html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ")
    return " ".join(words.split())


class Checker(HTMLParser):
    """Collects every address and checks that tags close in the order they open."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert tag not in ("script", "iframe")
        if tag not in ("img", "meta", "br", "link", "input", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example with its report."""
    parent = tmp_path_factory.mktemp("usual")
    page_of(parent)
    return parent / "pets"


def test_the_page_is_well_formed_and_needs_nothing_but_itself(usual: Path) -> None:
    page = (usual / "report.html").read_text()
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    pictures = [address for address in checker.addresses if address.startswith("data:image/png;base64,")]
    anchors = [address for address in checker.addresses if address.startswith("#")]
    assert len(pictures) + len(anchors) == len(checker.addresses)
    assert {anchor[1:] for anchor in anchors} == set(checker.ids)
    assert "url(" not in page
    assert "http" not in page

    files = {path.read_bytes() for path in (usual / "figures").iterdir()}
    assert {base64.b64decode(picture.split(",", 1)[1]) for picture in pictures} == files


def test_the_pictures(usual: Path) -> None:
    found = {path.stem: path for path in (usual / "figures").iterdir()}
    plots = {"accuracy", "confusion", "reliability", "class_change", "tuning", "confidence"}
    why = {f"why-{number:02d}" for number in range(12)}
    assert set(found) == plots | why | {"samples-0000", "samples-0001", "samples-0002"}
    with Image.open(found["why-00"]) as image:
        assert max(image.size) <= 96
    for path in found.values():
        assert path.stat().st_size < 300_000
        with Image.open(path) as image:
            assert image.format == "PNG"


def test_what_the_page_says(usual: Path) -> None:
    text = text_of((usual / "report.html").read_text())
    assert "NoLA reads 90.0 % of 30 held-out images correctly; the zero-shot classifier it started from 50.0 %." in text
    change = "+40.0 points (95 % interval +18.7 to +60.8; 12 images won, 0 lost, exact McNemar p < 0.001)."
    assert f"No label was used. The change is {change}" in text
    assert "Preset paper , changed: tune.epochs=3 (preset paper: 50) ." in text
    for fact in ("vit_tiny", "ab" * 32, "resize 32, mean 0.5", "timm 1.0.31", "betas 0.9, 0.999", "seed 7"):
        assert fact in text
    assert "Images of the test split with a near copy in another split: 1; the figures may flatter." in text
    assert "not an image: <b>truncated</b>" in text
    assert "It looks like dog & <wolf>." in text
    assert "does not fall below its teacher's" in text
    assert "is not the best method" not in text


def test_an_answer_is_explained_by_its_nearest_descriptions(usual: Path) -> None:
    """The slow oracle: the surest image's cosines with every description, and the two answers' own."""
    text = text_of((usual / "report.html").read_text())
    predictions = pd.read_parquet(usual / "predictions.parquet").query("split == 'test' and method == 'nola'")
    surest = predictions.sort_values("probability", ascending=False).iloc[0]
    store = usual / "features/clip/test"
    row = pd.read_parquet(store / "index.parquet")["image_id"].tolist().index(surest["image_id"])
    feature = np.load(store / "features.npy")[row].astype(np.float64)
    cosines = np.eye(4)[:3] @ feature / np.linalg.norm(feature)
    names = ["cat", "dog & <wolf>", "owl"]
    first, second = surest["top_classes"][:2]
    answer, other = names[first], names[second]
    assert (
        f"Second answer {answer} 50.0 % {cosines[first]:.3f} It looks like {answer}. "
        f"{other} 30.0 % {cosines[second]:.3f} It looks like {other}."
    ) in text
    assert "1 of 3 descriptions are nearer to another class than to their own" in text


def test_renamed_classes_and_cut_descriptions_are_shown(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    path = tmp_path / "pets/classes.parquet"
    shown = ["cat", "n01440764", "night owl"]
    pd.read_parquet(path).assign(display_name=shown).to_parquet(path)
    path = tmp_path / "pets/description_quality.parquet"
    pd.read_parquet(path).assign(truncated=[True, False, True]).to_parquet(path)
    text = text_of(rebuild(tmp_path))
    assert "2 of 3 are rewritten Class In texts dog & <wolf> n01440764 owl night owl" in text
    assert "CLIP cannot know what these names mean: the class n01440764." in text
    assert "CLIP reads only the beginning of 2 of 3 descriptions" in text


def test_names_like_formulas_are_text_to_a_spreadsheet_and_themselves_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ['=HYPERLINK("x")', "-owl", "'@cat"]
    monkeypatch.setattr("tests.report.example.NAMES", names)
    text = text_of(page_of(tmp_path))
    assert all(f" {name} " in text for name in names)
    for path, columns in (("per_class.csv", ["class"]), ("plots/confusion.csv", ["actual", "predicted"])):
        table = pd.read_csv(tmp_path / "pets" / path)
        for column in columns:
            assert set(table[column]) == {f"'{name}" for name in names}


def test_names_and_reasons_cannot_inject_markup(usual: Path) -> None:
    page = (usual / "report.html").read_text()
    assert "<wolf>" not in page
    assert "<b>truncated" not in page


def test_a_loss_is_called_one(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, student=0.3))
    assert "NoLA did not help here: it reads 30.0 % of 30 held-out images correctly" in text
    assert "The change is −20.0 points" in text
    assert "NoLA is not the best method here: Zero-shot 50.0 %, Descriptions (CDE) 60.0 %, Alignment head 70.0 %." in text
    assert "the nuclear norm of the predicted classes fell from 0.800 to 0.400" in text


def test_a_gain_of_nine_images_against_two_is_not_called_real(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    ids = [f"{number:03d}" for number in range(500)]
    answers = {"zero_shot": [0] * 450 + [1] * 50, "nola": [0] * 448 + [1] * 2 + [0] * 9 + [1] * 41}
    parts = [pd.DataFrame({"image_id": ids, "method": method, "class_id": given}) for method, given in answers.items()]
    metrics = tables.metrics | {"labelled": 500, "images": 500, "methods": {"zero_shot": {"top1": 0.9}, "nola": {"top1": 0.914}}}
    some = replace(tables, predictions=pd.concat(parts), truth=pd.Series(0, index=ids), metrics=metrics)
    assert headline(some)[-1].replace("\u00a0", " ") == (
        "The change is +1.4 points (95 % interval −0.1 to +3.3; 9 images won, 2 lost, exact McNemar p = 0.065, "
        "so it could be chance)."
    )


def test_no_change_is_called_none(tmp_path: Path) -> None:
    write_example(tmp_path / "pets", student=0.5)
    first = headline(load(tmp_path / "pets"))[0].replace("\u00a0", " ")
    assert first == (
        "NoLA made no difference here: it and the zero-shot classifier it started from both read 50.0 % of 30 held-out "
        "images correctly."
    )


def test_partly_labelled_images_it_learnt_on_are_called_so(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    metrics = tables.metrics | {"protocol": "transductive", "labelled": 12}
    first = headline(replace(tables, metrics=metrics))[0].replace("\u00a0", " ")
    assert first.startswith("NoLA reads 90.0 % of the 12 labelled images it learnt on correctly;")


def test_without_ground_truth_and_descriptions(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, truth=False, described=False))
    assert "No class descriptions: templates alone, because describe.provider is llm, but no language model was" in text
    assert "NoLA put 30 held-out images into 3 classes. No ground truth is known here" in text
    assert "40.0 % of its answers differ from those of the zero-shot classifier it started from." in text
    assert "Top-1" not in text
    assert not re.search(r"[✓✗]|\d right|of them right", text)
    assert "correctly" not in text
    found = {path.stem for path in (tmp_path / "pets/figures").iterdir()}
    assert found == {"class_counts", "tuning", "confidence", "samples-0000", "samples-0001", "samples-0002"}


def test_building_again_gives_the_same_bytes_and_removes_old_pictures(usual: Path) -> None:
    first = (usual / "report.html").read_text()
    stale = usual / "figures/samples-0099.png"
    stale.write_bytes(b"old")
    assert rebuild(usual.parent) == first
    assert not stale.exists()


def test_a_missing_table_is_one_sentence_and_leaves_no_page(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    (tmp_path / "pets/curve.csv").unlink()
    with pytest.raises(NolaError, match=r"curve\.csv does not exist"):
        rebuild(tmp_path)
    assert not (tmp_path / "pets/report.html").exists()
    assert not (tmp_path / "pets/figures").exists()


def test_where_not_all_images_were_compared_the_page_says_what_share_of_pairs_was_found(usual: Path, tmp_path: Path) -> None:
    assert "compared with every other" not in (usual / "report.html").read_text()
    write_example(tmp_path / "pets")
    path = tmp_path / "pets" / "near_duplicates.parquet"
    write_table(path, read_table(path), DUPLICATES_SCHEMA, note="approximate search lists 9 of the 10 pairs")
    assert "Not every image was compared with every other: approximate search lists 9 of the 10 pairs." in text_of(
        rebuild(tmp_path)
    )
