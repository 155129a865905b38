"""The loop that tunes a student: views of the train images, an objective's loss, an optimizer.

There is no validation and no early stopping: the last epoch is the result.
"""

from __future__ import annotations

import hashlib
import io
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from nola_core.errors import NolaError
from nola_core.files import digest, remove, replacing
from nola_core.progress import progress
from nola_core.students import augmentation
from nola_core.students.images import Images, Loader
from nola_core.students.objective import Batch, Objective
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent

MOMENTUM = 0.9
CHUNK, GPU_CHUNK = 32, 128
"""Images of `CHUNK_SIDE` pixels a side whose gradient is computed at a time, more of smaller ones; those of a batch add up."""
CHUNK_SIDE = 160
LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "pillow")
"""What else decides the bits of a tuning."""
CURVE = ["epoch", "loss", "teacher_agreement", "learning_rate", "seconds"]


def tune(
    student: TunedStudent,
    images: Images,
    objective: Objective,
    *,
    targets: Tensor,
    options: Options,
    section: str,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Tune `student` in place.

    AdamW or SGD with no decay of biases; the last batch of an epoch may be smaller.

    Args:
        objective: the loss.
        targets: int64 [N], the teacher's class for every image, in the order of `images.ids`; the curve compares with it.
        section: of params.yaml that holds the options, for messages.
        checkpoint: written after every epoch and taken up again if it is there; removed at the end. An interrupted tuning
            therefore ends in the same weights as an undisturbed one on the same machine.

    Returns:
        The curve, one row an epoch: `epoch` from 1, mean `loss`, `teacher_agreement` (share of strong views the student
        answered as the teacher did, before the step), `learning_rate`, `seconds`.

    Raises:
        NolaError: the loss is not finite.
    """
    student.to(device).eval()  # no dropout, and BatchNorms keep their running statistics; only their scale and shift learn
    parameters = student.trained()
    student.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    run = Run(student, objective, _optimizer(parameters, options), targets.to(device), Loader(images), seed, device)
    first = student.values()
    curve = _resume(checkpoint, run, epochs=options.epochs)
    with progress(total=options.epochs, what="tune", unit="epochs", done=len(curve)) as advance:
        for epoch in range(len(curve) + 1, options.epochs + 1):
            start = time.monotonic()
            plan = objective.begin(student, run.loader, epoch=epoch)
            if plan.restart:
                student.put(first)
                run.optimizer = _optimizer(parameters, options)
            rate = learning_rate(options, *(plan.place or (epoch, options.epochs)))
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            rows = torch.arange(len(targets)) if plan.rows is None else plan.rows
            loss, agreement = _epoch(run, rows, options, epoch=epoch)
            if not loss < float("inf"):
                raise NolaError(f"the loss of the tuning is not finite in epoch {epoch}; lower {section}.learning_rate.")
            seconds = round(time.monotonic() - start, 2)
            curve.append([epoch, round(loss, 5), round(agreement, 5), rate, seconds])
            if checkpoint is not None and epoch < options.epochs:
                _save_checkpoint(checkpoint, run, curve)
            speed = len(rows) / max(seconds, 0.01)
            advance(note=f"loss {loss:.3f}, agrees with teacher {agreement:.1%}, {speed:,.0f} images/s")
    if checkpoint is not None:
        remove(checkpoint)
    objective.finish(student)
    student.finish()
    return pd.DataFrame(curve, columns=CURVE)


def learning_rate(options: Options, epoch: int, epochs: int) -> float:
    """Of one of some epochs, the first is 1: evenly up over the warm-up, then constant or along half a cosine towards 0."""
    if epoch <= options.warmup_epochs:
        return options.learning_rate * epoch / (options.warmup_epochs + 1)
    if options.schedule == "constant":
        return options.learning_rate
    passed = (epoch - 1 - options.warmup_epochs) / max(1, epochs - options.warmup_epochs)
    return options.learning_rate * (1 + math.cos(math.pi * passed)) / 2


@dataclass
class Run:
    """A tuning under way."""

    student: TunedStudent
    objective: Objective
    optimizer: torch.optim.Optimizer
    targets: Tensor
    loader: Loader
    seed: int
    device: torch.device


def _epoch(run: Run, rows: Tensor, options: Options, *, epoch: int) -> tuple[float, float]:
    """One pass over some images: mean loss and agreement with the teacher."""
    draws = augmentation.draw(len(run.targets), seed=run.seed, epoch=epoch, recipe=run.objective.recipe)
    order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(run.seed * 100_003 + epoch))]
    total, agreed = torch.zeros((), device=run.device), torch.zeros((), device=run.device)
    for batch, parts in _batches(run, order.split(options.batch_size), draws):
        run.optimizer.zero_grad()
        with run.student.sharing_classes():
            for part in parts:
                loss, logits = run.objective.loss(run.student, part)
                (loss / len(batch)).backward()
                total += loss.detach()
                agreed += (logits.detach().argmax(dim=1) == run.targets[part.rows]).sum()
        run.optimizer.step()
        run.objective.stepped(run.student)
    return float(total) / len(rows), float(agreed) / len(rows)


def _batches(run: Run, batches: Sequence[Tensor], draws: augmentation.Draws) -> Iterator[tuple[Tensor, Iterator[Batch]]]:
    """The rows of every batch, and its views in the chunks whose losses add up."""
    images, device, objective = run.loader.images, run.device, run.objective
    chunk = CHUNK if device.type == "cpu" else GPU_CHUNK
    chunk = max(chunk, chunk * CHUNK_SIDE**2 // math.prod(images.size))
    weak = run.loader.weak(batches) if objective.weak else None
    for rows, crops in run.loader.crops(batches, draws):
        plain = next(weak)[1] if weak is not None else None
        size = len(rows) if objective.whole else chunk

        def views(rows: Tensor = rows, crops: Tensor = crops, plain: Tensor | None = plain, size: int = size) -> Iterator[Batch]:
            seen = plain.split(size) if plain is not None else [None] * math.ceil(len(rows) / size)
            for part, pixels, deterministic in zip(rows.split(size), crops.split(size), seen, strict=True):
                strong = augmentation.strong_view(pixels.to(device), draws[part].to(device), mean=images.mean, std=images.std)
                yield Batch(part.to(device), strong, None if deterministic is None else deterministic.to(device))

        yield rows, views()


def _optimizer(parameters: dict[str, nn.Parameter], options: Options) -> torch.optim.Optimizer:
    groups = _groups(parameters, options.weight_decay)
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, eps=options.epsilon)


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


def _save_checkpoint(path: Path, run: Run, curve: list[list[float]]) -> None:
    state = {name: parameter.detach().cpu() for name, parameter in run.student.trained().items()}
    objective = {name: tensor.detach().cpu() for name, tensor in run.objective.state().items()}
    stored = {"parameters": state, "optimizer": run.optimizer.state_dict(), "objective": objective, "curve": curve}
    _write_checkpoint(path, stored)


def _write_checkpoint(path: Path, value: dict[str, Any]) -> None:
    """A line with the SHA-256 of what follows, and torch's format."""
    stream = io.BytesIO()
    torch.save(value, stream)
    data = stream.getvalue()
    with replacing(path) as scratch:
        scratch.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def _resume(path: Path | None, run: Run, *, epochs: int) -> list[list[float]]:
    """Put a checkpoint into a run: the curve so far, empty if there is none that can be used."""
    if path is None or not path.is_file():
        return []
    stored = _read_checkpoint(path)
    parameters, optimizer = run.student.trained(), run.optimizer
    if stored is None or not _fits(stored, parameters, optimizer, epochs):
        reason = "is damaged" if stored is None else "does not fit"
        print(f"{path} {reason}: it is dropped, and the tuning starts again", file=sys.stderr)
        remove(path)
        return []
    run.student.put(stored["parameters"])
    optimizer.load_state_dict(stored["optimizer"])
    run.objective.load({name: tensor.to(run.device) for name, tensor in stored["objective"].items()})
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
    if set(stored) != {"parameters", "optimizer", "objective", "curve"}:
        return False
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if {name: value.shape for name, value in stored["parameters"].items()} != shapes or len(stored["curve"]) >= epochs:
        return False
    groups, state = stored["optimizer"]["param_groups"], stored["optimizer"]["state"]
    if [group["params"] for group in groups] != [group["params"] for group in optimizer.state_dict()["param_groups"]]:
        return False
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return all(value.shape in ((), order[number].shape) for number, values in state.items() for value in values.values())
