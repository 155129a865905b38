"""The page as a reader gets it: complete, self-contained, and honest in every case."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
import pytest
from markupsafe import Markup
from PIL import Image

from nola_core.errors import NolaError
from nola_core.files import read_json, read_table, write_json, write_table
from nola_core.methods.method import InForce, Listed
from nola_core.neighbors import DUPLICATES_SCHEMA
from nola_core.report import build as report
from nola_core.report.build import Run, build, draw
from nola_core.report.headline import result
from nola_core.report.samples import judged
from nola_core.report.tables import load
from nola_core.trust import proportions
from tests.report.example import LADDER, SETTINGS, image_of, in_force_of, write_example
from tests.report.reading import Checker, text_of


def page_of(tmp_path: Path, **options: Any) -> str:
    write_example(tmp_path / "pets", **options)
    return rebuild(tmp_path)


def rebuild(tmp_path: Path) -> str:
    folder = tmp_path / "pets"
    run = Run("pets", SETTINGS, ["nola.epochs=3 (preset paper: 50)"], ["a photo of a {}."], {"fit@pets": 62.4, "report@pets": 9})
    build(run, folder=folder, image_of=image_of, output=folder / "report.html", figures_folder=folder / "figures")
    return (folder / "report.html").read_text()


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In tests about words, plots are made but not saved, which takes longest."""
    if "usual" not in request.fixturenames:
        monkeypatch.setattr(report, "save", lambda figure, path: path.touch())
        monkeypatch.setattr(report, "inlined", lambda figure, name: Markup("<svg></svg>"))


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
    pictures = [
        address for address in checker.addresses if address.startswith(("data:image/jpeg;base64,", "data:image/png;base64,"))
    ]
    anchors = [address for address in checker.addresses if address.startswith("#")]
    assert len(pictures) + len(anchors) == len(checker.addresses)
    assert {anchor[1:] for anchor in anchors} <= set(checker.ids)
    assert len(checker.ids) == len(set(checker.ids)), "an anchor leads to one place"
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "http:" not in page and "https:" not in page


def test_the_pictures(usual: Path) -> None:
    found = {path.stem: path for path in (usual / "figures").iterdir()}
    plots = {"accuracy", "confusion", "reliability", "class_change", "tuning", "confidence"}
    assert set(found) == plots | {"map-before", "map-after"}
    for path in found.values():
        assert path.stat().st_size < 300_000
        with Image.open(path) as image:
            assert image.format == "PNG"
    page = (usual / "report.html").read_text()
    assert len(re.findall("<svg", page)) == len(plots) - 1, "the bars of the accuracies are the page's own"
    assert base64.b64encode(found["map-after"].read_bytes()).decode() in page


def test_what_the_page_says(usual: Path) -> None:
    text = text_of((usual / "report.html").read_text())
    assert "NoLA classifies 90.0 % of 30 held-out images correctly; the baseline, Zero-shot, 50.0 %." in text
    change = "+40.0 points (95 % interval +18.7 to +60.8; 12 images won, 0 lost, exact McNemar p < 0.001)."
    assert f"The difference is {change}" in text
    assert "NoLA sorts 90 images into 3 classes. No label was used." in text
    assert "It reads features of vit_tiny and vit_tiny, with the preset paper and 1 setting changed." in text
    assert "Preset paper , changed: nola.epochs=3 (preset paper: 50) . Seed 7 ." in text
    assert "fit feature methods 1 min 2 s" in text and "tune students not recorded" in text and "together 1 min 2 s" in text
    assert "No language model was asked." in text
    assert "nola run --dataset pets" in text and "a photo of a {}." in text
    for fact in (
        "vit_tiny",
        "ab" * 32,
        "resize 32, mean 0.5",
        "timm 1.0.31",
        "betas 0.9, 0.999",
        "seed 7",
        f"pillow {PIL.__version__}",
    ):
        assert fact in text
    assert "1 image of the test split has a near copy in another split, so the accuracies may be too high." in text
    assert "not an image: <b>truncated</b>" in text
    assert "It looks like dog & <wolf>." in text
    assert "the predictions of NoLA are no less varied than the teacher's" in text
    assert "is not the most accurate method" not in text
    assert "NoLA learns from the predictions of the teacher, Alignment head." in text
    assert "The candidates are predictions of the text classifier, Descriptions (CDE), for the train images." in text
    for described in (
        "Text method, baseline: CLIP with each class name in one sentence",
        "Text method, text classifier: CLIP with templates and class descriptions",
        "Feature method, teacher: head on self-supervised features",
        "Student, final method: CLIP with visual prompts",
    ):
        assert described in text


def test_a_method_is_shown_by_what_is_listed_of_it(tmp_path: Path) -> None:
    """Its predictions and its entry in the list are all there is of it."""
    listed = in_force_of("zero_shot", "nearest", "cde", "alignment", "nola", final="nearest")
    page = page_of(tmp_path, in_force=listed, accuracies={"nearest": 0.8})
    text = text_of(page)
    assert "Nearest <k> classifies 80.0 % of 30 held-out images correctly; the baseline, Zero-shot, 50.0 %." in text
    assert "Nearest <k> Feature method, final method: vote of the nearest neighbours 80.0 %" in text
    assert "NoLA Student: CLIP with visual prompts" in text
    assert "Nearest <k> is not the most accurate method here: NoLA 90.0 %." in text
    assert "Errors of Nearest <k>" in text
    assert "Predictions of Nearest <k> on the test split, each with its probability," in text
    assert "<k>" not in page, "a title is text, not markup"
    assert "80.0 % 80.0 %" in text.split("Top-1 accuracy on every split")[1], "its row of splits"


def test_without_a_student_and_with_another_baseline_the_page_speaks_of_neither(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, in_force=in_force_of("templates", "cde", "alignment", final="cde")))
    assert "No gain: Descriptions (CDE) and the baseline, Templates, both classify 60.0 %" in text
    assert not re.search(r"NoLA (learns|Student|classifies)|Zero-shot|Tuning|Guard|over the epochs|No epoch", text)
    assert not (tmp_path / "pets/figures/tuning.png").exists()


@pytest.mark.parametrize("truth", [True, False])
def test_one_method_is_compared_with_nothing(tmp_path: Path, truth: bool) -> None:
    text = text_of(page_of(tmp_path, in_force=in_force_of("cde", final="cde"), truth=truth))
    first = (
        "classifies 60.0 % of 30 held-out images correctly." if truth else "sorts 90 images into 3 classes. No label was used."
    )
    assert f"Descriptions (CDE) {first}" in text
    assert "Text method, baseline, text classifier, final method: CLIP with templates" in text
    assert not re.search(r"Gain|points|differ from|Tuning|Only the baseline|Disagreements", text)
    assert not (tmp_path / "pets/figures/class_change.png").exists()


def test_of_many_methods_all_are_in_the_tables_and_those_with_a_role_in_the_panels(tmp_path: Path) -> None:
    more = tuple(Listed(f"m{number}", f"Method {number}", "another", "features") for number in range(20))
    listed = InForce(LADDER.methods + more, "cde", "m3", "nola")
    write_example(tmp_path / "pets", in_force=listed, accuracies={f"m{number}": 1.0 for number in range(20)})
    tables = load(tmp_path / "pets")
    drawn = draw(tables, judged(tables.pseudo_labels, tables.truth), 15)
    panels = [axes.get_title(loc="left").strip() for axes in drawn["reliability"].axes]
    assert panels == ["Zero-shot", "Descriptions (CDE)", "NoLA", "Method 3"]
    bars = drawn["accuracy"].axes[0].get_yticklabels()
    assert [bar.get_text() for bar in bars] == [one.title for one in listed.methods]
    assert [bar.get_text() for bar in bars if bar.get_fontweight() == "bold"] == ["NoLA"]
    text = text_of(rebuild(tmp_path))
    assert all(f"Method {number} Feature method" in text for number in range(20))
    assert "Only the baseline, the text classifier, the teacher and the final method are shown" in text
    assert "Method 3 100.0 %, Method 4 100.0 % and 15 more." in text


def test_a_teacher_that_is_not_run_goes_by_its_name(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, in_force=in_force_of("zero_shot", "nola", final="nola", teacher="label_vote")))
    assert "NoLA learns from the predictions of the teacher, label vote." in text
    assert "Guard" not in text


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
    sure, less = (100 * value for value in surest["top_probabilities"][:2])
    assert (
        f"{answer} {sure:.0f} % {cosines[first]:.3f} It looks like {answer}. "
        f"{other} {less:.1f} % {cosines[second]:.3f} It looks like {other}."
    ) in text.split("Descriptions nearest to an image")[1]
    assert "1 of 3 descriptions are nearer to another class than to their own" in text


def test_renamed_classes_and_cut_descriptions_are_shown(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    path = tmp_path / "pets/classes.parquet"
    shown = ["cat", "n01440764", "night owl"]
    pd.read_parquet(path).assign(display_name=shown).to_parquet(path)
    path = tmp_path / "pets/description_quality.parquet"
    pd.read_parquet(path).assign(truncated=[True, False, True]).to_parquet(path)
    text = text_of(rebuild(tmp_path))
    assert "2 of 3 differ Class In texts dog & <wolf> n01440764 owl night owl" in text
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
    assert (
        "NoLA is worse than the baseline, Zero-shot: it classifies 30.0 % of 30 held-out images correctly, the baseline 50.0 %."
    ) in text
    assert "The difference is −20.0 points" in text
    assert (
        "NoLA is not the most accurate method here: Alignment head 70.0 %, Descriptions (CDE) 60.0 % and Zero-shot 50.0 %."
    ) in text
    assert "Consider the predictions of the teacher, Alignment head, instead." in text
    assert "the nuclear norm of the predicted classes fell from 0.800 to 0.400" in text
    assert (
        "It is not an accuracy; it compares methods. Of two methods, the one with the higher neighbors_ssl was more accurate"
        in text
    )
    assert "Mean confidence" not in text, "which could be read as an accuracy"


def test_a_gain_of_nine_images_against_two_is_not_called_real(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    ids = [f"{number:03d}" for number in range(500)]
    given = {"zero_shot": [0] * 450 + [1] * 50, "nola": [0] * 448 + [1] * 2 + [0] * 9 + [1] * 41}
    answers = pd.DataFrame(given, index=ids)
    metrics = tables.metrics | {"labelled": 500, "images": 500, "methods": {"zero_shot": {"top1": 0.9}, "nola": {"top1": 0.914}}}
    some = replace(tables, answers=answers, truth=pd.Series(0, index=ids), metrics=metrics)
    assert result(some)[-1].replace("\u00a0", " ") == (
        "The difference is +1.4 points (95 % interval −0.1 to +3.3; 9 images won, 2 lost, exact McNemar p = 0.065, "
        "so it could be chance)."
    )


def test_no_change_is_called_none(tmp_path: Path) -> None:
    write_example(tmp_path / "pets", student=0.5)
    first = result(load(tmp_path / "pets"))[0].replace("\u00a0", " ")
    assert first == ("No gain: NoLA and the baseline, Zero-shot, both classify 50.0 % of 30 held-out images correctly.")


def test_partly_labelled_train_images_are_called_so(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    metrics = tables.metrics | {"protocol": "transductive", "labelled": 12}
    first = result(replace(tables, metrics=metrics))[0].replace("\u00a0", " ")
    assert first.startswith("NoLA classifies 90.0 % of 12 labelled train images correctly;")


def test_without_ground_truth_and_descriptions(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, truth=False, described=False))
    assert "No class descriptions: templates alone, because describe.provider is llm, but no language model was" in text
    assert "not measured accuracy" in text and "The accuracy was not measured: there is no ground truth." in text
    assert "Measure the accuracy Judge fifty images, which takes five minutes." in text and "nola audit pets --labels 50" in text
    assert "97 % of them are nearer to a name than to as many nouns taken at random." in text
    assert "80.0 % of the images are predicted to be what most of their ten nearest neighbours are predicted to be" in text
    assert "NoLA and Zero-shot predict different classes for 12 of 30 images. Below" in text
    assert "40.0 % of the predictions differ from those of the baseline, Zero-shot." in text
    assert "Student, final method: CLIP with visual prompts" in text
    assert "Top-1" not in text
    assert not re.search(r"[✓✗]|\d right|of them right", text)
    assert "correctly" not in text
    found = {path.stem for path in (tmp_path / "pets/figures").iterdir()}
    assert found == {"class_counts", "tuning", "confidence", "map-before", "map-after"}


def test_building_again_gives_the_same_bytes_and_removes_old_pictures(usual: Path) -> None:
    first = (usual / "report.html").read_text()
    stale = usual / "figures/samples.png"
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


@pytest.mark.parametrize("truth", [True, False])
def test_an_audit_is_told_with_its_interval_and_what_was_left_out(tmp_path: Path, truth: bool) -> None:
    write_example(tmp_path / "pets", truth=truth)
    path = tmp_path / "pets" / "metrics.json"
    audit = {"accuracy": 0.913, "low": 0.81, "high": 0.97, "labels": 50, "skipped": 2, "newcomers": 0}
    write_json(path, read_json(path) | {"audit": audit})
    text = text_of(rebuild(tmp_path))
    assert (
        "95 % interval 81.0 % to 97.0 %, measured on 50 images by a person; 2 more could not be judged" in text
        and "91.3 %" in text
    )
    assert "not measured" not in text and "cannot say" not in text


@pytest.mark.parametrize(
    ("left_out", "said"), [(0, "count by the methods' own answers"), (3, ", and 3 images are left out of the accuracy. They")]
)
def test_a_corrected_result_is_not_called_label_free(tmp_path: Path, left_out: int, said: str) -> None:
    write_example(tmp_path / "pets")
    path = tmp_path / "pets" / "metrics.json"
    given = {"images": 4, "merges": 1, "classes": 0, "taught": 3, "reported": 3, "left_out": left_out}
    write_json(path, read_json(path) | {"corrections": given})
    text = text_of(rebuild(tmp_path))
    assert "5 corrections were given (4 images, 1 merged class): not label-free" in text and "No label was used" not in text
    assert said in text and "The class list is not the one of before" in text


def test_a_group_that_fits_no_name_is_shown_with_its_nearest_names(tmp_path: Path) -> None:
    page = page_of(tmp_path, unnamed=True)
    words = text_of(page)
    assert "12 images look alike and fit none of the names. They are shown below." in words
    assert "Group 1: 12 images · nearest names: dog & <wolf> 75 %, cat 25 %" in words
    assert "nola inspect unknown pets --group 1" in words


def test_without_a_group_the_page_says_so(tmp_path: Path) -> None:
    words = text_of(page_of(tmp_path))
    assert "No group of similar images was found that fits none of the names." in words
    assert "Names that seem not to occur" not in words


def test_absent_names_are_said_at_the_top(tmp_path: Path) -> None:
    page_of(tmp_path)
    file = tmp_path / "pets/class_proportions.parquet"
    write_table(file, read_table(file).assign(absent=[False, False, True]), proportions.SCHEMA)
    words = text_of(rebuild(tmp_path))
    assert words.count("1 of 3 names seems not to occur in the images: owl.") == 2


def test_names_that_say_little_are_the_first_line_and_the_first_thing_to_mend(tmp_path: Path) -> None:
    assert "The class names say little" not in page_of(tmp_path)
    path = tmp_path / "pets/names.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"wins": 0.41, "ranks": {"cat": 0.1, "dog & <wolf>": 0.3, "owl": 0.9}}))
    page = text_of(rebuild(tmp_path))
    assert page.split("pets", 2)[2].strip().startswith("The class names say little about these images: 41 % of the images")
    assert "Least of all: cat, dog & <wolf>." in page and "No label was used." in page
    assert "What to do next Try other descriptions" in page
