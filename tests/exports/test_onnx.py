"""The graph agrees with torch, says so, and a graph that does not is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nola_core.alignment import AlignmentHead
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import ClipSpec, SslSpec
from nola_core.backbones.ssl import load_encoder
from nola_core.classifier import Classifier
from nola_core.errors import NolaError
from nola_core.exports.checking import readable
from nola_core.files import read_json, sha256_file
from nola_core.methods.method import Fitted
from nola_core.text_classifier import TextClassifier
from tests.exports.tuned import NAMES, about, images, student

onnx = pytest.importorskip("nola_core.exports.onnx")
onnxruntime = pytest.importorskip("onnxruntime")


class BothSpaces(Fitted):
    """A head on the SSL features and a text classifier, multiplied: two towers, two inputs."""

    spaces = ("clip", "ssl")

    def __init__(self, text: TextClassifier, head: AlignmentHead) -> None:
        self._text, self._head = text, head

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        both = self._text.predict(features) * self._head.predict(features)
        return both / both.sum(dim=1, keepdim=True)

    def tensors(self) -> dict[str, Tensor]:
        return {}


class OutsideOfTorch(BothSpaces):
    """What it adds to the logits is computed by numpy, which no graph sees."""

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        seen = torch.from_numpy(features["ssl"].numpy()[:, :3].copy())
        return (super().predict(features).log() + 5 * seen).softmax(dim=1)


def on_features(folder: Path, kind: type[BothSpaces]) -> Classifier:
    clip = load_clip(ClipSpec(model="local-dir:clip"), root=folder)
    ssl = load_encoder(SslSpec(model="local-dir:ssl"), root=folder)
    torch.manual_seed(2)
    text = TextClassifier(torch.nn.functional.normalize(torch.randn(3, clip.image.dim), dim=1), 2.0)
    fitted = kind(text, AlignmentHead(ssl.dim, 8, 3).eval().requires_grad_(False))
    return Classifier(about=about("both"), class_names=NAMES, fitted=fitted, encoders={"clip": clip.image, "ssl": ssl})


@pytest.mark.parametrize("what", [["tokens", "norms", "classifier"], ["deep_tokens"], ["lora"], "both"])
def test_a_graph_answers_as_torch_does(folder: Path, tmp_path: Path, what: list[str] | str) -> None:
    model = on_features(folder, BothSpaces) if what == "both" else student(folder, what)  # type: ignore[arg-type]
    shown = images(11)
    check = onnx.write(model, tmp_path / "out", iter(shown))
    assert check["images"] == check["same_answers"] == 11 and check["largest_difference"] < 1e-4
    record = read_json(tmp_path / "out" / "model.json")
    assert record["check"] == check and record["classes"] == NAMES
    assert record["files"] == {"model.onnx": sha256_file(tmp_path / "out" / "model.onnx")}
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    encoders = onnx.inputs(model)
    assert [one["name"] for one in record["inputs"]] == list(encoders) == [one.name for one in session.get_inputs()]
    views = {role: torch.stack([one.preprocess(image) for image in shown]).numpy() for role, one in encoders.items()}
    (found,) = session.run(None, views)  # another batch than the graph was traced and checked with
    assert np.abs(found - model.probabilities(shown).numpy()).max() < 1e-4 and np.ptp(found, axis=0).max() > 2e-3


def test_what_a_graph_cannot_hold_is_found_by_the_check(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"graph of both does not agree with torch: it takes no other images"):
        onnx.write(on_features(folder, OutsideOfTorch), tmp_path / "out", images(9))
    assert not (tmp_path / "out").exists()


def test_without_an_image_there_is_no_graph(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(NolaError, match="no image to check the model on"):
        onnx.write(on_features(folder, BothSpaces), tmp_path / "out", readable(tmp_path / "torn.png"))
    assert not (tmp_path / "out").exists()
