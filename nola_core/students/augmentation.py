"""The augmentation of the student, for a whole batch at a time.

Crop, flip, colour jitter, perspective, colour jitter, blur, grayscale, drawn separately for every image; a `Recipe` says how
strong each is. The crop happens when the image is decoded (it needs the full resolution); all later steps work on the batch, on
any device. The tests compare every step with torchvision's functions for single images.

The draws depend only on (seed, epoch, image), not on batches, threads or the point where an interrupted run was resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample

CROP_SCALE = (0.2, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
JITTER = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
JITTER_PROBABILITY = 0.8  # of the first jitter; the second is always on
PERSPECTIVE = 0.2
PERSPECTIVE_PROBABILITY = 0.5
BLUR_SIGMA = (0.1, 2.0)  # pixels in an image of width REFERENCE_SIDE; scaled with the tower's input size
REFERENCE_SIDE = 224
GRAY = (0.2989, 0.587, 0.114)  # the luma weights torchvision uses


@dataclass(frozen=True)
class Recipe:
    """What is done to an image, and how strongly; by default NoLA's strong view.

    Attributes:
        crop: smallest and largest share of the image's area.
        flip: probability.
        jitter: brightness, contrast, saturation, hue.
        jitter_probability: of the jitter.
        again: whether a second jitter follows the perspective, always on.
        perspective: probability.
        blur: whether images are blurred.
        gray: probability.
    """

    crop: tuple[float, float] = CROP_SCALE
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = JITTER
    jitter_probability: float = JITTER_PROBABILITY
    again: bool = True
    perspective: float = PERSPECTIVE_PROBABILITY
    blur: bool = True
    gray: float = 0.0


STRONG = Recipe()


@dataclass(frozen=True)
class Draws:
    """The random draws for N images; every tensor has N rows.

    Attributes:
        crop: [N, 22] uniform numbers: ten areas, ten aspect ratios, two positions.
        flip: bool [N].
        factors: [N, 2, 4] brightness, contrast, saturation (about 1) and hue (turns, about 0) of both jitters.
        order: int64 [N, 2, 4], the order of a jitter's four steps.
        jitter: bool [N, 2], whether each jitter is applied.
        perspective: bool [N].
        corners: [N, 4, 2] uniform numbers that say how far each corner moves inwards, see `corner_points`.
        sigma: [N], blur in pixels for an image of width 224.
        gray: bool [N].
        recipe: what was drawn from.
    """

    crop: Tensor
    flip: Tensor
    factors: Tensor
    order: Tensor
    jitter: Tensor
    perspective: Tensor
    corners: Tensor
    sigma: Tensor
    gray: Tensor
    recipe: Recipe = STRONG

    def __getitem__(self, rows: Tensor) -> Draws:
        return self._each(lambda drawn: drawn[rows])

    def to(self, device: torch.device) -> Draws:
        """The same draws on another device."""
        return self._each(lambda drawn: drawn.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        names = [field.name for field in fields(self) if field.name != "recipe"]
        return Draws(**{name: change(getattr(self, name)) for name in names}, recipe=self.recipe)


def draw(count: int, *, seed: int, epoch: int, recipe: Recipe = STRONG) -> Draws:
    """Draw the views of one epoch for images 0 to count - 1. The same numbers are drawn for every recipe."""
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(mixed >> np.uint64(1)))

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    strength = torch.tensor(recipe.jitter)
    factors = (2 * uniform(2, 4) - 1) * strength + torch.tensor([1.0, 1.0, 1.0, 0.0])
    on = torch.stack([uniform() < recipe.jitter_probability, torch.full((count,), recipe.again)], dim=1)
    low, high = BLUR_SIGMA
    return Draws(
        crop=uniform(2 * CROP_ATTEMPTS + 2),
        flip=uniform() < recipe.flip,
        factors=factors,
        order=uniform(2, 4).argsort(dim=-1),
        jitter=on,
        perspective=uniform() < recipe.perspective,
        corners=uniform(4, 2),
        sigma=low + (high - low) * uniform(),
        gray=uniform() < recipe.gray,
        recipe=recipe,
    )


def crop_box(width: int, height: int, numbers: Tensor, scale: tuple[float, float] = CROP_SCALE) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of RandomResizedCrop, from 22 uniform numbers.

    The area is between the two shares of `scale` and the aspect ratio 3/4 to 4/3. The first of ten draws that fits is used; if
    none fits, the largest central box within these ratios.
    """
    drawn = numbers.tolist()
    for attempt in range(CROP_ATTEMPTS):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * drawn[attempt])
        low, high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
        ratio = math.exp(low + (high - low) * drawn[CROP_ATTEMPTS + attempt])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(drawn[-2] * (width - w + 1)), int(drawn[-1] * (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, round(height * CROP_RATIO[1]))
    h = min(height, round(width / CROP_RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def random_crop(image: Image.Image, numbers: Tensor, size: tuple[int, int], scale: tuple[float, float] = CROP_SCALE) -> Tensor:
    """Crop, resize to `size` (height, width; bicubic) and convert: uint8 [3, height, width]."""
    return resized(image, crop_box(*image.size, numbers, scale), size)


def resized(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Tensor:
    """The part of an image in `box` (left, top, right, bottom) at `size` (height, width; bicubic): uint8 [3, height, width]."""
    height, width = size
    small = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return torch.from_numpy(np.array(small, dtype=np.uint8)).permute(2, 0, 1)


def strong_view(images: Tensor, draws: Draws, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Everything after the crop, and the model's normalisation.

    Args:
        images: uint8 [B, 3, H, W], cropped.
        draws: the draws of these B images, on the device of `images`.
        mean: mean of the model's preprocessing, one value per channel.
        std: its standard deviation, likewise.

    Returns:
        float32 [B, 3, H, W].
    """
    x = images.float() / 255
    x = torch.where(draws.flip[:, None, None, None], x.flip(-1), x)
    x = jitter(x, draws.factors[:, 0], draws.order[:, 0], draws.jitter[:, 0])
    x = perspective(x, draws.corners, draws.perspective)
    x = jitter(x, draws.factors[:, 1], draws.order[:, 1], draws.jitter[:, 1])
    if draws.recipe.blur:
        scale = x.shape[-1] / REFERENCE_SIDE
        x = blur(x, draws.sigma * scale, largest=BLUR_SIGMA[1] * scale)
    if draws.recipe.gray:
        x = torch.where(draws.gray[:, None, None, None], _gray(x).expand_as(x), x)
    return standardized(x, mean=mean, std=std)


def standardized(x: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] as the tower wants them."""
    center, spread = (torch.tensor(values, device=x.device)[:, None, None] for values in (mean, std))
    return (x - center) / spread


def jitter(x: Tensor, factors: Tensor, order: Tensor, on: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, each image in its own order.

    Args:
        x: float [B, 3, H, W] in [0, 1].
        factors: [B, 4]; order: int64 [B, 4]; on: bool [B].
    """
    x = x.clone()
    for place in range(4):
        for step, apply in enumerate((_brightness, _contrast, _saturation, _hue)):
            rows = (on & (order[:, place] == step)).nonzero()[:, 0]
            if len(rows):
                x[rows] = apply(x[rows], factors[rows, step][:, None, None, None])
    return x


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp(0, 1)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    return (factor * x + (1 - factor) * _gray(x).mean(dim=(-2, -1), keepdim=True)).clamp(0, 1)


def _saturation(x: Tensor, factor: Tensor) -> Tensor:
    return (factor * x + (1 - factor) * _gray(x)).clamp(0, 1)


def _gray(x: Tensor) -> Tensor:
    weights = torch.tensor(GRAY, device=x.device, dtype=x.dtype)
    return (x * weights[:, None, None]).sum(dim=1, keepdim=True)


def _hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hue by a fraction of a full turn, keeping value and saturation (HSV).

    In HSV each channel is value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n + 6 * hue) mod 6 with n = 5, 3, 1 for R, G, B.
    """
    value, lowest = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
    chroma = value - lowest
    r, g, b = x.unbind(dim=1)
    safe = chroma[:, 0].clamp(min=torch.finfo(x.dtype).tiny)
    sixths = torch.where(value[:, 0] == r, (g - b) / safe, torch.where(value[:, 0] == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    offsets = torch.tensor([5.0, 3.0, 1.0], device=x.device, dtype=x.dtype)[:, None, None]
    k = (offsets + sixths[:, None] + 6 * turns) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def perspective(x: Tensor, corners: Tensor, on: Tensor) -> Tensor:
    """Move each image's corners inwards (bilinear) and fill the uncovered area with black.

    Args:
        x: float [B, 3, H, W].
        corners: [B, 4, 2] in [0, 1), see `corner_points`.
        on: bool [B].
    """
    rows = on.nonzero()[:, 0]
    if not len(rows):
        return x
    height, width = x.shape[-2:]
    start, end = corner_points(corners[rows], width=width, height=height)
    a, b, c, d, e, f, g, h = _homography(end, start.expand_as(end)).unbind(dim=1)
    ys, xs = torch.meshgrid(
        torch.arange(height, device=x.device) + 0.5, torch.arange(width, device=x.device) + 0.5, indexing="ij"
    )

    def at(p: Tensor, q: Tensor, r: Tensor | float) -> Tensor:
        r = r[:, None, None] if isinstance(r, Tensor) else r
        return p[:, None, None] * xs + q[:, None, None] * ys + r

    scale = at(g, h, 1.0)
    grid = torch.stack([at(a, b, c) / scale / (0.5 * width) - 1, at(d, e, f) / scale / (0.5 * height) - 1], dim=-1)
    out = x.clone()
    out[rows] = grid_sample(x[rows], grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
    return out


def corner_points(numbers: Tensor, *, width: int, height: int) -> tuple[Tensor, Tensor]:
    """RandomPerspective's points: each corner moves inwards by 0 to int(0.2 * half the side) whole pixels, all equally likely.

    Args:
        numbers: [B, 4, 2] uniform in [0, 1): x and y of the top left, top right, bottom right and bottom left corner.

    Returns:
        The original corners [4, 2] and the moved corners [B, 4, 2], in pixels.
    """
    start = torch.tensor([[0.0, 0.0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], device=numbers.device)
    inward = torch.tensor([[1.0, 1.0], [-1, 1], [-1, -1], [1, -1]], device=numbers.device)
    values = torch.tensor([int(PERSPECTIVE * (side // 2)) + 1 for side in (width, height)], device=numbers.device)
    return start, start + inward * torch.floor(numbers * values)


def _homography(points: Tensor, images: Tensor) -> Tensor:
    """The eight coefficients [B, 8] of the perspective maps that send points [B, 4, 2] to images [B, 4, 2]."""
    (px, py), (ix, iy) = points.double().unbind(-1), images.double().unbind(-1)
    one, zero = torch.ones_like(px), torch.zeros_like(px)
    upper = torch.stack([px, py, one, zero, zero, zero, -ix * px, -ix * py], dim=-1)
    lower = torch.stack([zero, zero, zero, px, py, one, -iy * px, -iy * py], dim=-1)
    return torch.linalg.solve(torch.cat([upper, lower], dim=1), torch.cat([ix, iy], dim=1)).float()


def blur(x: Tensor, sigma: Tensor, *, largest: float = BLUR_SIGMA[1]) -> Tensor:
    """Gaussian blur with a separate sigma for each image, mirrored at the borders.

    Each pass multiplies by a [side, side] matrix per image, which is faster than a grouped convolution on any device.

    Args:
        x: float [B, 3, H, W].
        sigma: [B], pixels.
        largest: the largest possible sigma; kernels end at four times this value.
    """
    height, width = x.shape[-2:]
    vertical, horizontal = _blur_matrices(sigma, height, largest), _blur_matrices(sigma, width, largest)
    return vertical[:, None].to(x.dtype) @ x @ horizontal[:, None].mT.to(x.dtype)


def _blur_matrices(sigma: Tensor, side: int, largest: float) -> Tensor:
    """[B, side, side]: row i contains the weights of the input pixels for output pixel i."""
    radius = min(math.ceil(4 * largest), side - 1)
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    source = (torch.arange(side, device=sigma.device)[:, None] + offsets).abs()
    source = torch.where(source >= side, 2 * (side - 1) - source, source)
    matrices = torch.zeros(len(sigma), side, side, device=sigma.device)
    return matrices.scatter_add_(2, source.expand(len(sigma), -1, -1), kernel[:, None].expand(-1, side, -1).contiguous())
