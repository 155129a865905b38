"""Step 3 on a tiny CLIP: what is trained, that it learns, repeats, resumes and is loaded again."""

import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize

from nola_core.backbones.clip import Clip, load_clip
from nola_core.backbones.pairs import ClipSpec
from nola_core.errors import NolaError
from nola_core.methods import storage
from nola_core.methods.nola import METHOD, Options
from nola_core.students import augmentation, loop
from nola_core.students.images import Images
from nola_core.students.objective import HardTargets
from nola_core.students.prompting import image_size, norm_parameters
from nola_core.students.student import TunedStudent
from tests.tiny import write_clip

OPTIONS = Options(
    prompt_tokens=3,
    prompt_frame=0.1,
    epochs=4,
    batch_size=8,
    learning_rate=0.01,
    weight_decay=0.01,
    label_smoothing=0.1,
    precision="float32",
)
COUNT = 20


@pytest.fixture
def new_clip(tmp_path: Path) -> Callable[[], Clip]:
    write_clip(tmp_path / "clip")
    return lambda: load_clip(ClipSpec(model="local-dir:clip", pretrained=None, sha256=None), root=tmp_path)


def make_images(size: tuple[int, int] = (16, 16)) -> tuple[Images, torch.Tensor]:
    """Bright and dark images: a difference that survives every strong view."""
    rng = np.random.default_rng(0)
    targets = torch.arange(COUNT) % 2
    pixels = [np.uint8(rng.integers(0, 80, (18, 22, 3)) + 150 * int(t)) for t in targets]
    opened = {f"i{row}": Image.fromarray(value) for row, value in enumerate(pixels)}
    return Images(list(opened), opened.__getitem__, size, (0.5,) * 3, (0.5,) * 3), targets


def make_student(clip: Clip) -> TunedStudent:
    phi = normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(2)), dim=-1)
    return TunedStudent.make(clip, phi, options=OPTIONS, seed=5)


def tune(student: TunedStudent, options: Options = OPTIONS, checkpoint: Path | None = None) -> list[list[float]]:
    images, targets = make_images(image_size(student.clip.image.module))
    curve = loop.tune(
        student,
        images,
        HardTargets(targets, smoothing=options.label_smoothing),
        targets=targets,
        options=options,
        section="nola",
        seed=5,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
    )
    return curve.drop(columns="seconds").to_numpy().tolist()


def run_of(student: TunedStudent) -> loop.Run:
    images, targets = make_images()
    optimizer = loop._optimizer(student.trained(), OPTIONS)
    return loop.Run(student, HardTargets(targets, smoothing=0), optimizer, targets, loop.Loader(images), 5, torch.device("cpu"))


def save(student: TunedStudent, path: Path, clip: Clip) -> Path:
    storage.write(path, METHOD, student.tensors(), clip_sha256=clip.image.meta["weights_sha256"])
    return path


def load(path: Path, clip: Clip, options: Options = OPTIONS) -> TunedStudent:
    student = storage.read_student(path, METHOD, clip, options=options)
    assert isinstance(student, TunedStudent)
    return student


def trained(student: TunedStudent) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in student.trained().items()}


def test_it_trains_tokens_norms_and_classifier_and_nothing_else(new_clip: Callable[[], Clip]) -> None:
    clip, untouched = new_clip(), new_clip()
    student = make_student(clip)
    before = trained(student)
    tune(student)
    after = trained(student)
    assert set(after) == {"tokens", "classifier", *(f"norm.{name}" for name in norm_parameters(clip.image.module))}
    assert all(not torch.equal(before[name], after[name]) for name in after)
    norms = set(norm_parameters(clip.image.module))
    old = untouched.model.state_dict()
    for name, tensor in clip.model.state_dict().items():
        if name.removeprefix("visual.") not in norms:
            assert torch.equal(tensor, old[name]), name


def test_in_bfloat16_the_tower_alone_is_rough(new_clip: Callable[[], Clip], tmp_path: Path) -> None:
    fine = make_student(new_clip())
    rough = make_student(new_clip())
    rough.precision = "bfloat16"
    views = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert rough(views).dtype == torch.float32 and not torch.equal(rough(views), fine(views))
        assert torch.allclose(rough(views), fine(views), atol=0.05)
    tune(rough)
    assert {value.dtype for value in trained(rough).values()} == {torch.float32}
    path = save(rough, tmp_path / "s.safetensors", new_clip())
    loaded = load(path, new_clip(), OPTIONS.model_copy(update={"precision": "bfloat16"}))
    assert torch.equal(loaded.predict(views), rough.predict(views))


def test_the_curve_falls_and_the_student_comes_to_agree(new_clip: Callable[[], Clip]) -> None:
    curve = tune(make_student(new_clip()), OPTIONS.model_copy(update={"epochs": 25}))
    assert [row[0] for row in curve] == list(range(1, 26))
    assert curve[-1][1] < curve[0][1]
    assert curve[-1][2] >= 0.9


def test_one_step_is_the_papers_loss_and_optimizer(new_clip: Callable[[], Clip]) -> None:
    """The oracle: one full-batch step written out: unnormalised feature times classifier, no temperature, AdamW."""
    options = OPTIONS.model_copy(update={"epochs": 1, "batch_size": COUNT})
    student = make_student(new_clip())
    (_, loss, agreement, _), *_ = tune(student, options)
    twin = make_student(new_clip())
    images, targets = make_images()
    draws = augmentation.draw(COUNT, seed=5, epoch=1)
    crops = torch.stack([augmentation.random_crop(images.open(i), draws.crop[r], (16, 16)) for r, i in enumerate(images.ids)])
    views = augmentation.strong_view(crops, draws, mean=images.mean, std=images.std)
    parameters = twin.trained()
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    logits = twin.tower(views) @ parameters["classifier"].T
    expected = cross_entropy(logits, targets, label_smoothing=0.1)
    assert loss == pytest.approx(expected.item(), abs=1e-4)
    assert agreement == pytest.approx((logits.argmax(1) == targets).float().mean().item(), abs=1e-4)
    gradients = torch.autograd.grad(expected, list(parameters.values()))
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        decay = 0.0 if name.endswith("bias") else 0.01
        # AdamW's first step: decoupled decay, then lr times gradient / (|gradient| + eps)
        stepped = parameter * (1 - 0.01 * decay) - 0.01 * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-4  # elsewhere rounding decides the sign
        torch.testing.assert_close(student.trained()[name][sure], stepped[sure], atol=2e-4, rtol=0)


def test_same_seed_same_weights(new_clip: Callable[[], Clip]) -> None:
    one, two = make_student(new_clip()), make_student(new_clip())
    assert tune(one) == tune(two)
    assert all(torch.equal(value, trained(two)[name]) for name, value in trained(one).items())


def test_an_interrupted_tuning_ends_where_an_undisturbed_one_does(
    new_clip: Callable[[], Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_student(new_clip())
    curve = tune(whole)
    checkpoint = tmp_path / "checkpoint.pt"
    broken = make_student(new_clip())
    real, calls = loop._epoch, []

    def dies_in_the_third(*args: object, **kwargs: object) -> tuple[float, float]:
        calls.append(kwargs["epoch"])
        if kwargs["epoch"] == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_epoch", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        tune(broken, checkpoint=checkpoint)
    monkeypatch.setattr(loop, "_epoch", lambda *args, **kwargs: (calls.append(kwargs["epoch"]), real(*args, **kwargs))[1])
    resumed = make_student(new_clip())
    assert tune(resumed, checkpoint=checkpoint) == curve
    assert calls == [1, 2, 3, 3, 4]
    assert all(torch.equal(value, trained(whole)[name]) for name, value in trained(resumed).items())
    assert not checkpoint.exists()


def checkpoint_of(new_clip: Callable[[], Clip], path: Path) -> bytes:
    """What a tuning that is interrupted in its third epoch leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "remove", lambda path: None)
        tune(make_student(new_clip()), OPTIONS.model_copy(update={"epochs": 3}), checkpoint=path)
    return path.read_bytes()


def test_a_damaged_checkpoint_is_dropped_with_one_line(
    new_clip: Callable[[], Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    sound = checkpoint_of(new_clip, checkpoint)
    student = make_student(new_clip())
    before = trained(student)
    run = run_of(student)
    capsys.readouterr()
    flipped = [sound[:place] + bytes([sound[place] ^ 4]) + sound[place + 1 :] for place in range(0, len(sound), len(sound) // 40)]
    for data in [b"", sound[:40], sound[: len(sound) // 2], sound[:-1], sound + b"x", *flipped]:
        checkpoint.write_bytes(data)
        assert loop._resume(checkpoint, run, epochs=4) == [] and not checkpoint.exists()
        assert capsys.readouterr().err == f"{checkpoint} is damaged: it is dropped, and the tuning starts again\n"
    assert all(torch.equal(value, before[name]) for name, value in trained(student).items()) and not run.optimizer.state
    checkpoint.write_bytes(sound)
    assert [row[0] for row in loop._resume(checkpoint, run, epochs=4)] == [1, 2]


def test_a_checkpoint_that_does_not_fit_is_dropped(
    new_clip: Callable[[], Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    sound = checkpoint_of(new_clip, checkpoint)
    clip = new_clip()
    phi = torch.zeros(3, 16)  # one class more
    other = TunedStudent.make(clip, phi, options=OPTIONS, seed=5)
    more = TunedStudent.make(new_clip(), phi[:2], options=OPTIONS.model_copy(update={"prompt_tokens": 5}), seed=5)
    for student, epochs in ((other, 4), (more, 4), (make_student(new_clip()), 2)):
        checkpoint.write_bytes(sound)
        before = trained(student)
        assert loop._resume(checkpoint, run_of(student), epochs=epochs) == []
        assert all(torch.equal(value, before[name]) for name, value in trained(student).items())
        assert "does not fit: it is dropped, and the tuning starts again" in capsys.readouterr().err and not checkpoint.exists()


def test_a_checkpoint_holds_no_code(new_clip: Callable[[], Clip], tmp_path: Path) -> None:
    """A pickle that would run a command is not run, whatever digest it carries."""

    class Command:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    checkpoint = tmp_path / "checkpoint.pt"
    loop._write_checkpoint(checkpoint, {"curve": Command()})
    student = make_student(new_clip())
    assert loop._resume(checkpoint, run_of(student), epochs=4) == []
    assert not (tmp_path / "ran").exists() and not checkpoint.exists()


def test_the_key_of_a_checkpoint_is_that_of_its_inputs_and_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"seed": 1, "code": "a"}
    key = loop.checkpoint_key(inputs)
    assert key == loop.checkpoint_key({"code": "a", "seed": 1}) and re.fullmatch("[0-9a-f]{16}", key)
    assert key != loop.checkpoint_key(inputs | {"code": "b"})
    for library in ("torch", "open_clip_torch", "timm", "pillow", "torchvision"):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "version", lambda name, library=library: "9" if name == library else version(name))
            assert loop.checkpoint_key(inputs) != key, library


def test_a_saved_student_answers_the_same_and_knows_its_clip(new_clip: Callable[[], Clip], tmp_path: Path) -> None:
    clip = new_clip()
    student = make_student(clip)
    tune(student)
    x = torch.randn(4, 3, 16, 16)
    expected = student.predict(x)
    path = save(student, tmp_path / "student.safetensors", clip)
    loaded = load(path, new_clip())
    assert torch.equal(loaded.predict(x), expected)
    write_clip(tmp_path / "other", seed=9)
    other = load_clip(ClipSpec(model="local-dir:other", pretrained=None, sha256=None), root=tmp_path)
    with pytest.raises(NolaError, match="was tuned from other CLIP weights than local-dir:other has now"):
        load(path, other)


def test_the_temperature_belongs_to_the_student_and_changes_how_sure_it_is_alone(
    new_clip: Callable[[], Clip], tmp_path: Path
) -> None:
    clip = new_clip()
    student, path = make_student(clip), tmp_path / "student.safetensors"
    student.eval().requires_grad_(False)
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits, plain = student(x), student.predict(x)
    torch.testing.assert_close(plain, logits.softmax(dim=1))
    student.temperature = 0.3
    sharp = student.predict(x)
    torch.testing.assert_close(sharp, (logits / 0.3).softmax(dim=1))
    assert torch.equal(sharp.argmax(dim=1), plain.argmax(dim=1)) and (sharp.amax(dim=1) > plain.amax(dim=1)).all()
    assert torch.equal(student(x), logits), "the loss of the tuning sees no temperature"
    loaded = load(save(student, path, clip), new_clip())
    assert loaded.temperature == 0.3 and torch.equal(loaded.predict(x), sharp)

    with safe_open(path, framework="pt") as stored:
        tensors, metadata = {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    assert tensors.pop("temperature").shape == ()
    save_file(tensors, path, metadata=metadata)
    old = load(path, new_clip())
    assert old.temperature == 1 and torch.equal(old.predict(x), plain)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        save_file(tensors | {"temperature": torch.tensor(wrong)}, path, metadata=metadata)
        with pytest.raises(
            NolaError, match=f"student.safetensors: the student has the temperature {wrong}, which must be above 0"
        ):
            load(path, new_clip())


def test_a_loss_that_blows_up_is_one_sentence(new_clip: Callable[[], Clip]) -> None:
    student = make_student(new_clip())
    with torch.no_grad():
        student.trained()["classifier"][0, 0] = torch.inf
    with pytest.raises(NolaError, match=r"not finite in epoch 1; lower nola.learning_rate"):
        tune(student)


@pytest.fixture
def convolutional(tmp_path: Path) -> Callable[[], Clip]:
    """A tiny CLIP of open_clip's own ResNet kind, whose BatchNorms have seen images."""
    resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 16}
    write_clip(tmp_path / "clip", vision=resnet)
    return lambda: load_clip(ClipSpec(model="local-dir:clip"), root=tmp_path)


def test_a_convolutional_tower_learns_frame_scales_and_shifts_and_keeps_its_statistics(
    convolutional: Callable[[], Clip], tmp_path: Path
) -> None:
    clip, untouched = convolutional(), convolutional()
    student = make_student(clip)
    before = trained(student)
    curve = tune(student)
    assert set(before) == {"frame", "classifier", *(f"norm.{name}" for name in norm_parameters(clip.image.module))}
    assert all(not torch.equal(before[name], value) for name, value in trained(student).items())
    norms, old = set(norm_parameters(clip.image.module)), untouched.model.state_dict()
    for name, tensor in clip.model.state_dict().items():  # running means, variances and counts among them
        assert name.removeprefix("visual.") in norms or torch.equal(tensor, old[name]), name

    checkpoint = tmp_path / "checkpoint.pt"
    half = make_student(convolutional())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "remove", lambda path: None)
        options = OPTIONS.model_copy(update={"epochs": 3})  # its checkpoint is that of epoch 2
        tune(half, options, checkpoint)
    resumed = make_student(convolutional())
    assert tune(resumed, checkpoint=checkpoint) == curve
    assert all(torch.equal(value, trained(student)[name]) for name, value in trained(resumed).items())

    loaded = load(save(student, tmp_path / "student.safetensors", untouched), convolutional())
    x = torch.randn(4, 3, 32, 32)
    assert torch.equal(loaded.predict(x), student.predict(x))


def test_chunks_of_a_batch_add_up_to_it(new_clip: Callable[[], Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    options = OPTIONS.model_copy(update={"epochs": 1, "batch_size": COUNT})
    whole, parts = make_student(new_clip()), make_student(new_clip())
    (one,) = tune(whole, options)
    monkeypatch.setattr(loop, "CHUNK", 3)
    monkeypatch.setattr(loop, "CHUNK_SIDE", 0)
    (two,) = tune(parts, options)
    assert two == pytest.approx(one, abs=2e-5)
    torch.testing.assert_close(parts.classes(), whole.classes(), atol=1e-5, rtol=0)
