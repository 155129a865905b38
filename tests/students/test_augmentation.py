"""Every batched step compared with torchvision's function for one image, and every draw with torchvision's `get_params`."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision import transforms

from nola_core.students import augmentation
from nola_core.students.augmentation import (
    Draws,
    Recipe,
    blur,
    corner_points,
    crop_box,
    draw,
    jitter,
    perspective,
    random_crop,
    strong_view,
)

NUMBERS = st.floats(0, 1, exclude_max=True, width=32)  # the values of torch.rand: 24 bits, never 1
LAST = 1 - 2.0**-24


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(12, 3, 20, 26, generator=torch.Generator().manual_seed(1))


def test_jitter_is_torchvisions_in_each_images_own_order(images: torch.Tensor) -> None:
    draws = draw(len(images), seed=3, epoch=1)
    on = torch.tensor([True] * 10 + [False] * 2)
    steps = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    )
    expected = images.clone()
    for row in range(10):
        for step in draws.order[row, 0].tolist():
            expected[row] = steps[step](expected[row], draws.factors[row, 0, step].item())
    actual = jitter(images, draws.factors[:, 0], draws.order[:, 0], on)
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)
    assert len({tuple(order) for order in draws.order[:, 0].tolist()}) > 3
    assert torch.equal(actual[10:], images[10:])


def test_gray_pixels_have_no_hue_to_turn() -> None:
    gray = torch.rand(4, 1, 5, 5).expand(4, 3, 5, 5)
    turned = jitter(gray, torch.tensor([[1.0, 1, 1, 0.1]]).expand(4, 4), torch.arange(4).expand(4, 4), torch.ones(4) > 0)
    torch.testing.assert_close(turned, gray)


def test_perspective_is_torchvisions(images: torch.Tensor) -> None:
    draws = draw(len(images), seed=5, epoch=2)
    height, width = images.shape[-2:]
    start, end = corner_points(draws.corners, width=width, height=height)
    expected = images.clone()
    for row in draws.perspective.nonzero()[:, 0].tolist():
        expected[row] = reference.perspective(images[row], start.int().tolist(), end[row].int().tolist())
    assert len(set(end.flatten().tolist())) > 8
    assert 0 < int(draws.perspective.sum()) < len(images)
    torch.testing.assert_close(perspective(images, draws.corners, draws.perspective), expected, atol=1e-4, rtol=0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """torchvision's random numbers in [0, 1): areas and ratios from the front of this list, whole numbers from its end."""
    script: list[float] = []

    def randint(low: int, high: int, size: tuple[int, ...]) -> torch.Tensor:
        assert size == (1,)
        return torch.tensor([low + int(script.pop() * (high - low))])

    def uniform(tensor: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return tensor.fill_(float(low) + (float(high) - float(low)) * script.pop(0))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", randint)
        patch.setattr(torch.Tensor, "uniform_", uniform)
        yield script


@pytest.mark.parametrize("outwards", [False, True])
def test_the_corners_reach_as_far_as_torchvisions_at_every_size(scripted: list[float], outwards: bool) -> None:
    """The two ends of every draw, for all widths to 260 beside another height, by torchvision's own function."""
    for width in range(1, 261):
        height = (7 * width) % 256 + 1
        # Inwards is up for the left and the upper side, down for the right and the lower.
        near, far = (0.0, LAST) if outwards else (LAST, 0.0)
        scripted[:] = reversed([near, near, far, near, far, far, near, far])
        start, end = transforms.RandomPerspective.get_params(width, height, augmentation.PERSPECTIVE)
        mine = corner_points(torch.full((1, 4, 2), near), width=width, height=height)
        assert (mine[0].tolist(), mine[1][0].tolist()) == (start, end), (width, height)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (20, 26), (224, 224)])
def test_corners_are_as_likely_as_torchvisions(width: int, height: int) -> None:
    _, end = corner_points(draw(6000, seed=1, epoch=1).corners, width=width, height=height)
    torch.manual_seed(0)
    theirs = torch.tensor([transforms.RandomPerspective.get_params(width, height, 0.2)[1] for _ in range(1500)])
    for corner in range(4):
        for axis, side in enumerate((width, height)):
            counts = Counter(end[:, corner, axis].int().tolist())
            assert set(counts) >= set(theirs[:, corner, axis].tolist())
            assert len(counts) == int(0.2 * (side // 2)) + 1
            assert stats.chisquare(list(counts.values())).pvalue > 1e-3, (corner, axis)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
)
@given(st.integers(1, 400), st.integers(1, 400), st.lists(NUMBERS, min_size=22, max_size=22))
@example(11, 400, [0.5] * 22)  # nothing fits: the central crop
@example(400, 11, [0.5] * 22)
@example(2, 16, [0.5] * 9 + [0.0] * 12 + [0.5])  # only the tenth fits
def test_the_crop_is_torchvisions_for_the_same_numbers(
    scripted: list[float], width: int, height: int, numbers: list[float]
) -> None:
    areas, ratios, (x, y) = numbers[:10], numbers[10:20], numbers[20:]
    area, ratio = width * height * (0.2 + 0.8 * np.array(areas)), 0.75 * (16 / 9) ** np.array(ratios)
    sizes = np.sqrt([area * ratio, area / ratio])
    assume((np.abs(sizes % 1 - 0.5) > 1e-3).all())  # torchvision computes them in single precision
    image = torch.zeros(3, 1, 1).expand(3, height, width)
    scripted[:] = [number for pair in zip(areas, ratios, strict=True) for number in pair] + [x, y]
    i, j, h, w = transforms.RandomResizedCrop.get_params(image, list(augmentation.CROP_SCALE), list(augmentation.CROP_RATIO))
    assert crop_box(width, height, torch.tensor(numbers)) == (j, i, j + w, i + h)


def test_every_draw_is_as_likely_as_torchvisions() -> None:
    draws = draw(20_000, seed=3, epoch=2)
    uniform = {"sigma": (draws.sigma, *augmentation.BLUR_SIGMA)}
    for place in range(2):
        for step, (name, strength) in enumerate(
            zip(("brightness", "contrast", "saturation", "hue"), augmentation.JITTER, strict=True)
        ):
            low, high = getattr(transforms.ColorJitter(*augmentation.JITTER), name)
            assert high - low == pytest.approx(2 * strength)
            uniform[f"{name} {place}"] = (draws.factors[:, place, step], low, high)
        orders = Counter(tuple(order) for order in draws.order[:, place].tolist())
        assert len(orders) == 24 and stats.chisquare(list(orders.values())).pvalue > 1e-3
    for number in range(22):
        uniform[f"crop {number}"] = (draws.crop[:, number], 0, 1)
    for name, (values, low, high) in uniform.items():
        assert low <= values.min() and values.max() <= high, name
        assert stats.kstest(values.numpy(), stats.uniform(low, high - low).cdf).pvalue > 1e-3, name
    for chance, drawn in ((0.5, draws.flip), (0.5, draws.perspective), (0.8, draws.jitter[:, 0]), (1.0, draws.jitter[:, 1])):
        assert stats.binomtest(int(drawn.sum()), len(drawn), chance).pvalue > 1e-3
    together = torch.cat([draws.crop, draws.factors.flatten(1), draws.corners.flatten(1), draws.sigma[:, None]], dim=1)
    together = torch.cat([together, draws.flip[:, None], draws.jitter[:, :1], draws.perspective[:, None]], dim=1)
    off_diagonal = torch.corrcoef(together.T).fill_diagonal_(0)
    assert off_diagonal.abs().max() < 4.5 / 20_000**0.5, "no draw decides another"


def test_blur_is_torchvisions(images: torch.Tensor) -> None:
    sigma = torch.linspace(*augmentation.BLUR_SIGMA, len(images))
    expected = torch.stack([reference.gaussian_blur(x, [17, 17], [s, s]) for x, s in zip(images, sigma.tolist(), strict=True)])
    torch.testing.assert_close(blur(images, sigma), expected, atol=1e-5, rtol=0)


def test_blur_keeps_a_constant_image_even_when_the_kernel_is_wider_than_it() -> None:
    flat = torch.full((2, 3, 4, 6), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([2.0, 0.1])), flat)


def test_random_crop_resizes_the_box() -> None:
    ramp = Image.fromarray(np.uint8(np.arange(64)[None, :, None].repeat(64, 0).repeat(3, 2) * 4))
    numbers = draw(1, seed=11, epoch=0).crop[0]
    left, _, right, _ = crop_box(64, 64, numbers)
    crop = random_crop(ramp, numbers, (10, 12))
    assert crop.shape == (3, 10, 12)
    assert crop.dtype == torch.uint8
    assert abs(crop[0, 5].float().mean().item() - 4 * (left + right - 1) / 2) < 4


def test_a_view_depends_on_seed_epoch_and_image_alone() -> None:
    full = draw(40, seed=7, epoch=3)
    some = torch.tensor([31, 2, 17])
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    kwargs = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.4, 0.3)}
    whole = strong_view(images, full, **kwargs)
    part = strong_view(images[some], full[some], **kwargs)
    torch.testing.assert_close(part, whole[some], atol=1e-6, rtol=0)
    assert not torch.equal(draw(40, seed=7, epoch=4).sigma, full.sigma)
    assert not torch.equal(draw(40, seed=8, epoch=3).sigma, full.sigma)


def test_without_any_draw_a_view_is_the_normalised_image() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    still = Draws(
        crop=torch.zeros(2, 22),
        flip=torch.tensor([False, True]),
        factors=torch.tensor([1.0, 1, 1, 0]).expand(2, 2, 4),
        order=torch.arange(4).expand(2, 2, 4),
        jitter=torch.zeros(2, 2) > 0,
        perspective=torch.zeros(2) > 0,
        corners=torch.zeros(2, 4, 2),
        sigma=torch.full((2,), 1e-3),
        gray=torch.zeros(2) > 0,
    )
    view = strong_view(images, still, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    expected = (images / 255 - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    torch.testing.assert_close(view[0], expected[0])
    torch.testing.assert_close(view[1], expected[1].flip(-1))


def test_blur_is_in_proportion_to_the_input() -> None:
    images = torch.randint(0, 256, (1, 3, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    draws = draw(1, seed=0, epoch=0)
    draws = Draws(
        **{**vars(draws), "flip": torch.tensor([False]), "jitter": torch.zeros(1, 2) > 0, "perspective": torch.tensor([False])}
    )
    view = strong_view(images, draws, mean=(0, 0, 0), std=(1, 1, 1))
    torch.testing.assert_close(view, blur(images / 255, draws.sigma / 8), atol=1e-3, rtol=0)


def test_a_recipe_changes_what_it_names_and_no_other_draw() -> None:
    """Without a recipe the draws are NoLA's, as they were before there were recipes."""
    light = Recipe(crop=(0.9, 1.0), flip=0, jitter=(0.5, 0.5, 0.5, 0.1), again=False, perspective=0, blur=False, gray=0.2)
    mine, ours = draw(4000, seed=3, epoch=1, recipe=light), draw(4000, seed=3, epoch=1)
    for name in ("crop", "order", "corners", "sigma"):
        assert torch.equal(getattr(mine, name), getattr(ours, name))
    assert torch.equal(mine.jitter[:, 0], ours.jitter[:, 0]) and not mine.jitter[:, 1].any() and ours.jitter[:, 1].all()
    assert not mine.flip.any() and not mine.perspective.any() and not ours.gray.any()
    torch.testing.assert_close((mine.factors - 1)[..., :3], (ours.factors - 1)[..., :3] * 5 / 4)
    assert stats.binomtest(int(mine.gray.sum()), len(mine.gray), 0.2).pvalue > 1e-3

    images = torch.randint(0, 256, (20, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    some = mine[torch.arange(20)]
    view = strong_view(images, some, mean=(0.0, 0, 0), std=(1.0, 1, 1))
    jittered = jitter(images / 255, some.factors[:, 0], some.order[:, 0], some.jitter[:, 0])
    expected = torch.stack([
        reference.rgb_to_grayscale(one, 3) if gray else one for one, gray in zip(jittered, some.gray.tolist(), strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(view, expected, atol=1e-6, rtol=0)
    numbers = mine.crop[0]
    left, top, right, bottom = crop_box(100, 100, numbers, light.crop)
    assert (right - left) * (bottom - top) >= 0.89 * 100 * 100
    loose = random_crop(Image.new("RGB", (200, 100)), numbers, (8, 8), light.crop)
    assert loose.shape == (3, 8, 8) and loose.dtype == torch.uint8
