"""The shipped demo models: they load as the pipeline loads them, are small, and are what demo/README.md says they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nola_core import text_classifier
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import PACKAGE, load_pair
from nola_core.backbones.ssl import load_ssl
from nola_core.datasets.definition import load_definition
from nola_core.datasets.image import decode
from nola_core.datasets.manifest import Prepared, prepare
from nola_core.datasets.readers import open_reader
from nola_core.descriptions import describe, read_provided
from nola_core.features import normalized
from nola_core.files import sha256_file
from nola_core.neighbors import search

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, list[object], np.ndarray]:
    """The tables, the images and the truth (to check with, never to choose by), in manifest order."""
    definition = load_definition(ROOT, "digits")
    prepared = prepare(definition, max_pixels=10_000, folder=tmp_path_factory.mktemp("digits"))
    reader = open_reader(definition)
    images = [decode(reader.read(path="", shard=row.shard, row=int(row.row))) for row in prepared.manifest.itertuples()]
    return prepared, images, prepared.labels["class_id"].to_numpy()


def test_the_checkpoints_are_small_and_those_of_the_committed_log() -> None:
    log = (ROOT / "demo" / "train.log").read_text()
    files = [path for path in (PACKAGE / "demo").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 12_000_000
    for path in files:
        assert path.suffix == ".json" or sha256_file(path) in log


def test_the_descriptions_are_hand_written_and_cover_every_digit(
    digits: tuple[Prepared, list[object], np.ndarray],
) -> None:
    table = describe(read_provided(ROOT / "demo" / "descriptions.csv"), digits[0].classes, source="demo/descriptions.csv")
    assert set(table["provider"]) == {"hand-written"}
    assert table["class_id"].value_counts().min() >= 5


def test_neighbours_in_the_self_supervised_features_share_their_digit(
    digits: tuple[Prepared, list[object], np.ndarray],
) -> None:
    prepared, images, truth = digits
    encoder = load_ssl(load_pair("demo").ssl)
    with torch.inference_mode():
        features = normalized(encoder.module(torch.stack([encoder.preprocess(image) for image in images])).numpy())
    test = (prepared.manifest["split"] == "test").to_numpy()
    _, rows = search(features[~test], features[test], 5)
    votes = np.stack([np.bincount(truth[~test][row], minlength=10) for row in rows])
    assert (votes.argmax(axis=1) == truth[test]).mean() >= 0.95


def test_the_clip_reads_handwriting_it_has_never_seen_but_not_well(
    digits: tuple[Prepared, list[object], np.ndarray],
) -> None:
    prepared, images, truth = digits
    clip = load_clip(load_pair("demo").clip)
    names = prepared.classes["display_name"].tolist()
    phi = text_classifier.build(clip.encode_texts, [[f"a photo of the digit {name}."] for name in names], names=names)
    with torch.inference_mode():
        raw = clip.image.module(torch.stack([clip.image.preprocess(image) for image in images]))
    features = {"clip": torch.from_numpy(normalized(raw.numpy()))}
    p = text_classifier.TextClassifier(phi, clip.logit_scale).predict(features)
    assert 5 < raw.norm(dim=1).mean() < 20, "prompt tuning works on features that are not normalised: about OpenAI's norm"
    assert 0.4 <= (p.argmax(1).numpy() == truth).mean() <= 0.8
