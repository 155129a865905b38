"""NoLA's third step: the alignment head's answers teach prompts, norm layers and classifier of CLIP's vision tower.

The teacher sees the weak view, which is fixed, so its answer for an image never changes: it is read from a table that stage
`align` made once from the cached features. The published code runs DINO again at every step for the same answers.

There is no validation and no early stopping: the last epoch is the result.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nola_core import augmentation
from nola_core.backbones.clip import Clip
from nola_core.device import autocast, workers
from nola_core.errors import NolaError
from nola_core.files import digest, remove, replacing
from nola_core.methods.method import Student
from nola_core.progress import progress
from nola_core.prompting import norm_parameters, prompted
from nola_core.schema import Precision

if TYPE_CHECKING:
    from nola_core.methods.nola import Options

BETAS = (0.9, 0.999)
CHUNK, GPU_CHUNK = 32, 128
"""Images of `CHUNK_SIDE` pixels a side whose gradient is computed at a time, more of smaller ones; those of a batch add up."""
CHUNK_SIDE = 160
LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "pillow")
"""What else decides the bits of a tuning."""
CURVE = ["epoch", "loss", "teacher_agreement", "learning_rate", "seconds"]


class PromptedStudent(nn.Module, Student):
    """The prompted tower and a bias-free classifier: images -> logits [B, C] = f(x) W^T, no normalisation, no temperature.

    Attributes:
        tower: with its prompts: tokens in a transformer, a frame around the images of any other tower.
        classifier: [C, d], begins as the class-description embedding.
        temperature: what `predict` divides the logits by; 1 until something fits it. The tuning does not see it.
    """

    def __init__(
        self,
        clip: Clip,
        classifier: Tensor,
        *,
        prompt_tokens: int,
        prompt_frame: float,
        seed: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.precision = precision
        generator = torch.Generator().manual_seed(seed)
        self.prompt_frame = prompt_frame
        self.temperature = 1.0
        self.tower = prompted(clip.image.module, tokens=prompt_tokens, frame=prompt_frame, generator=generator)
        self.classifier = nn.Parameter(classifier.clone())

    def forward(self, images: Tensor) -> Tensor:
        with autocast(images.device, self.precision):
            features = self.tower(images)
        return features.float() @ self.classifier.T

    def trained(self) -> dict[str, nn.Parameter]:
        """What step 3 trains, by the names it is stored under: `tokens` or `frame`, `classifier`, `norm.<name in the tower>`."""
        norms = {f"norm.{name}": parameter for name, parameter in norm_parameters(self.tower.tower).items()}
        return {**self.tower.prompts, "classifier": self.classifier, **norms}

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        return self(images)

    def tensors(self) -> dict[str, Tensor]:
        numbers = {"prompt_frame": self.prompt_frame, "temperature": self.temperature}
        return {**self.trained(), **{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip, *, precision: Precision = "float32") -> PromptedStudent:
        """Put `tensors()` into `clip`'s tower (in place) and return the student, frozen, on the tower's device.

        Raises:
            NolaError: the tensors do not fit the tower, or the temperature is not above 0.
        """
        rest = dict(tensors)
        temperature = float(rest.pop("temperature", 1.0))  # earlier versions wrote none
        if not 0 < temperature < math.inf:
            raise NolaError(f"the student has the temperature {temperature}, which must be above 0; run tune again.")
        tokens, frame = len(rest.get("tokens", ())), float(rest.pop("prompt_frame", 0.0))
        student = cls(clip, rest["classifier"], prompt_tokens=tokens, prompt_frame=frame, seed=0, precision=precision)
        student.temperature = temperature
        mine = student.trained()
        if set(mine) != set(rest) or any(mine[name].shape != rest[name].shape for name in mine):
            raise NolaError(f"the student does not fit the vision tower of {clip.image.meta['model']}; run tune again.")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(rest[name])
        return student.eval().requires_grad_(False).to(next(clip.model.parameters()).device)


@dataclass(frozen=True)
class Images:
    """The train images of a tuning.

    Attributes:
        ids: one an image; the row of an image here is its number in every draw.
        open: image id -> RGB image.
        size: height and width the tower takes.
        mean: of the model's normalisation.
        std: likewise.
    """

    ids: Sequence[str]
    open: Callable[[str], Image.Image]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def tune(
    student: PromptedStudent,
    images: Images,
    targets: Tensor,
    *,
    options: Options,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Tune `student` in place towards the teacher's answers on strong views.

    Label-smoothed cross-entropy; AdamW at a constant rate with no decay of biases; the last batch of an epoch may be smaller.

    Args:
        targets: int64 [N], the teacher's class for every image, in the order of `images.ids`.
        checkpoint: written after every epoch and taken up again if it is there; removed at the end. An interrupted tuning
            therefore ends in the same weights as an undisturbed one on the same machine.

    Returns:
        The curve, one row an epoch: `epoch` from 1, mean `loss`, `teacher_agreement` (share of strong views the student
        answered as the teacher did, before the step), `learning_rate`, `seconds`.

    Raises:
        NolaError: the loss is not finite.
    """
    student.to(device).train()
    student.tower.tower.eval()  # no dropout, and BatchNorms keep their running statistics; only their scale and shift learn
    parameters = student.trained()
    student.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(_groups(parameters, options.weight_decay), lr=options.learning_rate, betas=BETAS)
    curve = _resume(checkpoint, parameters, optimizer, epochs=options.epochs)
    loader = _Loader(images)
    targets = targets.to(device)
    with progress(total=options.epochs, what="tune", unit="epochs", done=len(curve)) as advance:
        for epoch in range(len(curve) + 1, options.epochs + 1):
            start = time.monotonic()
            loss, agreement = _epoch(student, loader, targets, optimizer, options, seed=seed, epoch=epoch, device=device)
            if not loss < float("inf"):
                raise NolaError(f"the loss of the tuning is not finite in epoch {epoch}; lower nola.learning_rate.")
            seconds = round(time.monotonic() - start, 2)
            curve.append([epoch, round(loss, 5), round(agreement, 5), options.learning_rate, seconds])
            if checkpoint is not None and epoch < options.epochs:
                _save_checkpoint(checkpoint, parameters, optimizer, curve)
            rate = len(targets) / max(seconds, 0.01)
            advance(note=f"loss {loss:.3f}, agrees with teacher {agreement:.1%}, {rate:,.0f} images/s")
    if checkpoint is not None:
        remove(checkpoint)
    student.eval().requires_grad_(False)
    return pd.DataFrame(curve, columns=CURVE)


def _epoch(
    student: PromptedStudent,
    loader: _Loader,
    targets: Tensor,
    optimizer: torch.optim.Optimizer,
    options: Options,
    *,
    seed: int,
    epoch: int,
    device: torch.device,
) -> tuple[float, float]:
    """One pass over all images: mean loss and agreement with the teacher."""
    count = len(targets)
    draws = augmentation.draw(count, seed=seed, epoch=epoch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
    total, agreed = torch.zeros((), device=device), torch.zeros((), device=device)
    images = loader.images
    chunk = CHUNK if device.type == "cpu" else GPU_CHUNK
    chunk = max(chunk, chunk * CHUNK_SIDE**2 // math.prod(images.size))
    for rows, crops in loader.batches(order.split(options.batch_size), draws):
        optimizer.zero_grad()
        for part, pixels in zip(rows.split(chunk), crops.split(chunk), strict=True):
            views = augmentation.strong_view(pixels.to(device), draws[part].to(device), mean=images.mean, std=images.std)
            logits = student(views)
            wanted = targets[part.to(device)]
            loss = cross_entropy(logits, wanted, label_smoothing=options.label_smoothing, reduction="sum")
            (loss / len(rows)).backward()
            total += loss.detach()
            agreed += (logits.argmax(dim=1) == wanted).sum()
        optimizer.step()
    return float(total) / count, float(agreed) / count


class _Loader:
    """Crops of the next batch made in threads while the model works; decoded images are kept while they fit in memory."""

    KEEP_BYTES = 2 << 30

    def __init__(self, images: Images) -> None:
        self.images = images
        self._kept: dict[int, Image.Image] = {}
        self._room = self.KEEP_BYTES

    def batches(self, batches: Sequence[Tensor], draws: augmentation.Draws) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, uint8 [B, 3, H, W]) of every batch of rows."""

        def crop(row: int) -> Tensor:
            return augmentation.random_crop(self._image(row), draws.crop[row], self.images.size)

        with ThreadPoolExecutor(workers()) as pool:
            ahead = [pool.submit(crop, row) for row in batches[0].tolist()]
            for number, rows in enumerate(batches):
                crops = torch.stack([future.result() for future in ahead])
                if number + 1 < len(batches):
                    ahead = [pool.submit(crop, row) for row in batches[number + 1].tolist()]
                yield rows, crops

    def _image(self, row: int) -> Image.Image:
        image = self._kept.get(row)
        if image is None:
            image = self.images.open(self.images.ids[row])
            size = 3 * image.width * image.height
            if self._room > size:
                self._room -= size
                self._kept[row] = image
        return image


def _groups(parameters: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    biases = [parameter for name, parameter in parameters.items() if name.endswith("bias")]
    others = [parameter for name, parameter in parameters.items() if not name.endswith("bias")]
    return [{"params": others, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0.0}]


def checkpoint_key(inputs: dict[str, Any]) -> str:
    """The key of a tuning's checkpoint: a digest, 16 hex digits, of what decides its result.

    Args:
        inputs: options, seed, hashes of the files read, device, and `code`, the fingerprint of the code; JSON values alone.
            The versions of the libraries are added here.
    """
    return digest({**inputs, "versions": {name: version(name) for name in LIBRARIES}})[:16]


def _save_checkpoint(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, curve: list[list[float]]
) -> None:
    state = {name: parameter.detach().cpu() for name, parameter in parameters.items()}
    _write_checkpoint(path, {"parameters": state, "optimizer": optimizer.state_dict(), "curve": curve})


def _write_checkpoint(path: Path, value: dict[str, Any]) -> None:
    """A line with the SHA-256 of what follows, and torch's format."""
    stream = io.BytesIO()
    torch.save(value, stream)
    data = stream.getvalue()
    with replacing(path) as scratch:
        scratch.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def _resume(
    path: Path | None, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, *, epochs: int
) -> list[list[float]]:
    """Put a checkpoint into `parameters` and `optimizer`: the curve so far, empty if there is none that can be used."""
    if path is None or not path.is_file():
        return []
    stored = _read_checkpoint(path)
    if stored is None or not _fits(stored, parameters, optimizer, epochs):
        reason = "is damaged" if stored is None else "does not fit"
        print(f"{path} {reason}: it is dropped, and the tuning starts again", file=sys.stderr)
        remove(path)
        return []
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored["parameters"][name])
    optimizer.load_state_dict(stored["optimizer"])
    return [list(row) for row in stored["curve"]]


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    first, _, data = path.read_bytes().partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != first:
        return None
    try:
        stored: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError:
        return None
    return stored


def _fits(stored: dict[str, Any], parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, epochs: int) -> bool:
    """Whether all shapes are those of this tuning, and an epoch is left to be done."""
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if {name: value.shape for name, value in stored["parameters"].items()} != shapes or len(stored["curve"]) >= epochs:
        return False
    groups, state = stored["optimizer"]["param_groups"], stored["optimizer"]["state"]
    if [group["params"] for group in groups] != [group["params"] for group in optimizer.state_dict()["param_groups"]]:
        return False
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return all(value.shape in ((), order[number].shape) for number, values in state.items() for value in values.values())
