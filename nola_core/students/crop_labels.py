"""microCLIP's labels: crops under the frozen tower with a frozen head, the image under the student's with a learnt one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from nola_core.device import autocast
from nola_core.progress import progress
from nola_core.students.augmentation import resized, standardized
from nola_core.students.images import Loader
from nola_core.students.objective import Batch, Epoch, Objective, recomputed

if TYPE_CHECKING:
    from nola_core.students.lesson import Lesson
    from nola_core.students.student import TunedStudent

SIDE = (0.5, 0.9)  # of a crop, as a share of the image's shorter side
KEPT = 0.5  # of the running mean, at every batch
FAIRNESS = 2.0
BATCH = 8  # images whose crops are in memory together
IMAGES = 64  # whose activations are in memory together


class CropLabels(Objective):
    """CE(strong, label) - 2 mean_c log m_c with label = argmax(gamma c . W_frozen + (1 - gamma) f . W_learnt).

    c: the image's crops, weighted; see `weighted`. f: the student's feature of the deterministic view. W: class embeddings.
    All are unit vectors. m: the running mean of the predictions of an epoch, half its last value (without gradient) and half
    the batch's mean.

    Args:
        frozen: float32 [C, d], the text classifier.
        crops: float16 [N, d], the c of every image, of `crop_features`.
        gamma: the frozen head's share.
    """

    weak = True
    whole = True

    def __init__(self, *, frozen: Tensor, crops: Tensor, gamma: float) -> None:
        self.frozen, self.crops, self.gamma = normalize(frozen, dim=-1), crops, gamma
        self._mean: Tensor | None = None

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        self._mean = None
        return Epoch()

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.weak is not None
        labels = self.labels(student, batch.rows, batch.weak)
        logits = student.head(recomputed(student.features, batch.strong, size=IMAGES), student.classes())
        mean = logits.softmax(dim=1).mean(dim=0)
        if self._mean is not None:
            mean = KEPT * self._mean + (1 - KEPT) * mean
        self._mean = mean.detach()
        unfair = -mean.clamp_min(torch.finfo(mean.dtype).tiny).log().mean()
        return len(logits) * (cross_entropy(logits, labels) + FAIRNESS * unfair), logits

    @torch.no_grad()
    def labels(self, student: TunedStudent, rows: Tensor, views: Tensor) -> Tensor:
        """The pseudo-labels of some images, int64 [B].

        Args:
            rows: int64 [B], the images' numbers.
            views: float32 [B, 3, H, W], their deterministic views.
        """
        place = views.device
        crops = self.crops[rows.cpu()].to(place).float()
        learnt = normalize(student.features(views), dim=-1) @ normalize(student.classes(), dim=-1).T
        return (self.gamma * crops @ self.frozen.to(place).T + (1 - self.gamma) * learnt).argmax(dim=1)


def weighted(crops: Tensor, whole: Tensor) -> Tensor:
    """The mean norm(sum_k softmax_k(crop_k . whole) crop_k), where crops that resemble the whole image count more.

    Args:
        crops: float32 [B, K, d], unit rows.
        whole: float32 [B, d], unit rows.

    Returns:
        float32 [B, d], unit rows.
    """
    weights = torch.einsum("bkd,bd->bk", crops, whole).softmax(dim=1)
    return normalize(torch.einsum("bk,bkd->bd", weights, crops), dim=-1)


@torch.no_grad()
def crop_features(student: TunedStudent, lesson: Lesson, *, count: int, seed: int) -> Tensor:
    """The weighted crops of every train image under CLIP's own tower, float16 [N, d]: as much memory as its features take.

    Square crops of 0.5 to 0.9 of the shorter side, drawn once.

    Args:
        student: before its first step.
        count: crops an image.
        seed: of the crops.
    """
    images, tower = lesson.images, student.clip.image.module
    place = next(student.clip.model.parameters()).device
    numbers = torch.rand(len(lesson.targets), count, 3, generator=torch.Generator().manual_seed(seed))

    def cut(image: Image.Image, row: int) -> Tensor:
        boxes = [crop_box(image.width, image.height, drawn) for drawn in numbers[row]]
        return torch.stack([resized(image, box, images.size) for box in boxes])

    batches, parts = torch.arange(len(lesson.targets)).split(BATCH), []
    with progress(total=len(lesson.targets), what="crops", unit="images") as advance:
        for rows, crops in Loader(images).each(batches, cut):
            views = standardized(crops.flatten(0, 1).to(place).float() / 255, mean=images.mean, std=images.std)
            with autocast(place, student.precision):
                features = tower(views)
            features = normalize(features.float(), dim=-1).cpu().unflatten(0, (len(rows), count))
            parts.append(weighted(features, lesson.features.rows(rows.numpy())).half())
            advance(len(rows))
    return torch.cat(parts)


def crop_box(width: int, height: int, numbers: Tensor) -> tuple[int, int, int, int]:
    """A square in an image (left, top, right, bottom), in pixels, from three uniform numbers: its side, and where it lies."""
    share, across, down = numbers.tolist()
    side = max(1, int((SIDE[0] + (SIDE[1] - SIDE[0]) * share) * min(width, height)))
    left, top = int(across * (width - side + 1)), int(down * (height - side + 1))
    return left, top, left + side, top + side
