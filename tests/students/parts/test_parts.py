"""All parts alike: what learns and what stays, what goes together, and that each can learn."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from nola_core.backbones.clip import WEIGHTS, load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.errors import NolaError
from nola_core.students import loop
from nola_core.students.objective import HardTargets
from nola_core.students.options import Options, PartName
from nola_core.students.parts import PARTS
from nola_core.students.student import TunedStudent
from tests.students.lessons import CPU, lesson, new_clip
from tests.students.parts.clips import IMAGES, clip, disturbed, step, student

MERGING = [name for name, part in PARTS.items() if part.merges]


def test_every_name_of_the_option_is_a_part() -> None:
    assert set(PARTS) == set(PartName.__args__)  # type: ignore[attr-defined]
    assert all(part.summary for part in PARTS.values())


@pytest.mark.parametrize("name", [name for name in PARTS if name != "all"])
def test_only_what_a_part_names_learns(name: str) -> None:
    of, untouched = clip(), clip().model.state_dict()
    some = student(of, name)
    before = some.values()
    step(some)
    # where one factor begins as 0, the other moves from the second step on
    assert all(not torch.equal(value, before[key]) for key, value in some.values().items() if not key.endswith(".down"))
    own = {f"visual.{key.removeprefix('norm.')}" for key in before} if name == "norms" else set()
    for key, value in of.model.state_dict().items():
        plain = key.replace("parametrizations.", "").removesuffix(".original")
        assert plain in own or plain not in untouched or torch.equal(value, untouched[plain]), key


@pytest.mark.parametrize("tune", [[name] for name in PARTS] + [["deep_tokens", "norms", "lora", "context"]])
def test_a_restored_student_gives_the_same_bits(tune: list[str]) -> None:
    some = disturbed(student(clip(), *tune), size=0.05)
    some.finish()
    expected = some.predict(IMAGES)
    stored = {key: value.detach().clone() for key, value in some.tensors().items()}
    assert torch.equal(TunedStudent.restore(stored, clip()).predict(IMAGES), expected)


@pytest.mark.parametrize(
    ("tune", "what"),
    [
        (["tokens", "deep_tokens"], "tokens and deep_tokens, which both change the input of the vision tower"),
        (["coupled", "frame"], "coupled and frame, which both change the input of the vision tower"),
        (["context", "classifier"], "context and classifier, which both change the class embeddings"),
        (["coupled", "context"], "coupled and context, which both change the class embeddings"),
        (["lora", "singular_values"], "lora and singular_values, which both change the attention and MLP matrices"),
    ],
)
def test_parts_that_contradict_each_other_are_refused_before_anything_is_changed(tune: list[str], what: str) -> None:
    of = clip()
    before = list(of.model.state_dict())
    with pytest.raises(NolaError, match=f"tune names {what}; keep one of them"):
        student(of, *tune)
    assert list(of.model.state_dict()) == before


@pytest.mark.parametrize(
    "tune",
    [
        ["context"],
        ["norms"],
        ["lora"],
        ["singular_values"],
        ["coupled"],
        ["frame", "norms"],
        ["deep_tokens", "norms", "classifier"],
        ["tokens", "lora", "context"],
    ],
    ids="+".join,
)
def test_its_loss_falls(tune: list[PartName], tmp_path: Path) -> None:
    of = new_clip(tmp_path)
    given = lesson(of)
    options = Options(tune=tune, prompt_tokens=2, epochs=6, batch_size=12, learning_rate=0.02, weight_decay=0)
    some = TunedStudent.make(
        of, given.classifier, names=given.texts.names, texts=given.sentences, options=options, seed=1, scale=of.logit_scale
    )
    objective = HardTargets(given.targets, smoothing=0)
    curve = loop.tune(some, given.images, objective, targets=given.targets, options=options, section="x", seed=1, device=CPU)
    assert curve["loss"].iloc[-1] < 0.8 * curve["loss"].iloc[0]


@pytest.mark.parametrize("name", ["context", "coupled", "lora", "classifier"])
def test_a_batch_in_parts_encodes_the_texts_once_and_has_the_same_gradient(name: str) -> None:
    of, gradients = clip(), []
    some = disturbed(student(of, name), size=0.1)
    encoded: list[torch.Size] = []
    of.model.ln_final.register_forward_hook(lambda _, given, __: encoded.append(given[0].shape))
    for context in (nullcontext(), some.sharing_classes()):
        encoded.clear()
        some.zero_grad()
        with context:
            for image, target in zip(IMAGES, torch.tensor([2, 0, 1]), strict=True):
                torch.nn.functional.cross_entropy(some(image[None]), target[None]).backward()
            with some.using(some.values()), torch.no_grad():
                some(IMAGES)  # an average of the weights has class embeddings of its own
        gradients.append({key: value.grad.clone() for key, value in some.trained().items() if value.grad is not None})
    assert len(encoded) == (0 if name == "classifier" else 2)
    assert gradients[0].keys() == gradients[1].keys() == some.trained().keys()
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MERGING)
def test_merged_weights_alone_give_the_features_through_open_clip(name: str, tmp_path: Path) -> None:
    of = new_clip(tmp_path)
    with torch.no_grad():
        plain = of.model.encode_image(IMAGES[..., :16, :16])
    options = Options(tune=[name], lora_rank=2)
    texts = ["a photo of a cat.", "a photo of a dog."]
    classifier = normalize(of.encode_texts(texts), dim=-1)
    some = disturbed(TunedStudent.make(of, classifier, names=["cat", "dog"], texts=texts, options=options, seed=0))
    some.finish()
    with torch.no_grad():
        features, classes = some.features(IMAGES[..., :16, :16]), some.classes()
    some.merge()
    some.merge()
    (tmp_path / "merged").mkdir()
    shutil.copy(tmp_path / "clip" / "open_clip_config.json", tmp_path / "merged")
    save_file({key: value.contiguous() for key, value in of.model.state_dict().items()}, tmp_path / "merged" / WEIGHTS[0])
    loaded = load_clip(ClipSpec(model="local-dir:merged"), root=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model.encode_image(IMAGES[..., :16, :16]), features, rtol=0, atol=1e-5)
    if name in ("norms", "lora", "singular_values"):
        assert not torch.allclose(features, plain, atol=1e-2)
    if name in ("lora", "singular_values"):
        torch.testing.assert_close(loaded.encode_texts(texts), classes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("tune", "named"), [(["tokens"], "tokens"), (["frame", "classifier"], "frame"), (["coupled"], "coupled")]
)
def test_what_plain_weights_cannot_take_up_is_named(tune: list[str], named: str) -> None:
    some = student(clip(), *tune)
    assert some.unmerged() == [named]
    with pytest.raises(NolaError, match=f"plain CLIP weights cannot take up {named}; choose other parts"):
        some.merge()
