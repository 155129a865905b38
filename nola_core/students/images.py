"""The train images as a student sees them: crops for strong views, and the deterministic view, made in threads ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from nola_core.device import workers
from nola_core.students import augmentation


@dataclass(frozen=True)
class Images:
    """The train images of a tuning.

    Attributes:
        ids: one an image; the row of an image here is its number in every draw.
        open: image id -> RGB image.
        size: height and width the tower takes.
        mean: of the model's normalisation.
        std: likewise.
        weak: RGB image -> float32 [3, H, W], the tower's own deterministic view; only objectives that look at it need it.
    """

    ids: Sequence[str]
    open: Callable[[str], Image.Image]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weak: Callable[[Image.Image], Tensor] | None = None


class Loader:
    """Views of the next batch made in threads while the model works; decoded images are kept while they fit in memory."""

    KEEP_BYTES = 2 << 30

    def __init__(self, images: Images) -> None:
        self.images = images
        self._kept: dict[int, Image.Image] = {}
        self._room = self.KEEP_BYTES

    def crops(self, batches: Sequence[Tensor], draws: augmentation.Draws) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, uint8 [B, 3, H, W]) of every batch of rows: the random crops that strong views begin with."""
        size, scale = self.images.size, draws.recipe.crop
        return self._ahead(batches, lambda row: augmentation.random_crop(self.image(row), draws.crop[row], size, scale))

    def weak(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, float32 [B, 3, H, W]) of every batch of rows: the deterministic view."""
        view = self.images.weak
        assert view is not None
        return self._ahead(batches, lambda row: view(self.image(row)))

    def each(self, batches: Sequence[Tensor], make: Callable[[Image.Image, int], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, tensors) of every batch of rows, each made from the decoded image and its number."""
        return self._ahead(batches, lambda row: make(self.image(row), row))

    def image(self, row: int) -> Image.Image:
        """The decoded image of a row."""
        image = self._kept.get(row)
        if image is None:
            image = self.images.open(self.images.ids[row])
            size = 3 * image.width * image.height
            if self._room > size:
                self._room -= size
                self._kept[row] = image
        return image

    def _ahead(self, batches: Sequence[Tensor], make: Callable[[int], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        with ThreadPoolExecutor(workers()) as pool:
            ahead = [pool.submit(make, row) for row in batches[0].tolist()]
            for number, rows in enumerate(batches):
                made = torch.stack([future.result() for future in ahead])
                if number + 1 < len(batches):
                    ahead = [pool.submit(make, row) for row in batches[number + 1].tolist()]
                yield rows, made
