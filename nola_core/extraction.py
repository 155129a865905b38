"""Extraction: a frozen encoder embeds images into the row cache, which then fills the feature stores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from nola_core.backbones.encoder import ImageEncoder
from nola_core.batches import image_batch, in_batches
from nola_core.device import autocast, workers
from nola_core.errors import NolaError
from nola_core.features import RowCache, write_store
from nola_core.files import digest, replacing
from nola_core.progress import progress
from nola_core.schema import Precision

T = TypeVar("T")
R = TypeVar("R")
BATCHES_PER_CHUNK = 8  # finished batches between two writes to the row cache: what a kill can cost


def extract(
    encoder: ImageEncoder,
    manifest: pd.DataFrame,
    open_image: Callable[[str], Image.Image],
    *,
    role: str,
    out: Path,
    cache: Path,
    device: torch.device,
    code: str,
    batch_size: int = 128,
    precision: Precision = "float32",
) -> int:
    """Embed every usable image of a manifest into one store per split below `out`; see docs/formats.md.

    Batches follow the order of the manifest and are cached as a whole. A run that was killed and restarted therefore has the same
    batches and gives bit-identical results.

    Args:
        code: fingerprint of the code that computes a row; rows computed by other code are not used.

    Returns:
        How many images the encoder embedded; all others came from the cache.

    Raises:
        NolaError: a feature is NaN or infinite (the image is named), or an image can no longer be opened.
    """
    usable = manifest[manifest["ok"]]
    made_by = encoder.meta if precision == "float32" else {**encoder.meta, "precision": precision}
    meta = {"role": role, **made_by, "threads": torch.get_num_threads()}
    rows = RowCache(cache / "rows" / digest({**made_by, "dim": encoder.dim, "code": code})[:16], encoder.dim)
    todo = usable[~rows.contains(usable["sha256"].tolist())].drop_duplicates("sha256")
    with progress(total=len(usable), what=f"embed {role}", unit="images", done=len(usable) - len(todo)) as advance:
        batches = [todo["image_id"].iloc[start : start + batch_size].tolist() for start in range(0, len(todo), batch_size)]
        hashes = dict(zip(todo["image_id"], todo["sha256"], strict=True))
        pending_hashes: list[str] = []
        pending: list[np.ndarray] = []
        for number, (batch, images) in enumerate(loaded_batches(batches, encoder.preprocess, open_image), start=1):
            features = encode(encoder, images, device, precision).half()
            bad = ~torch.isfinite(features).all(dim=1)
            if bad.any():
                image_id = batch[int(bad.nonzero()[0, 0])]
                raise NolaError(
                    f"embed {role}: {encoder.meta['model']} returns NaN or infinite features (in float16) for image '{image_id}' "
                    f"({int(bad.sum())} in this batch); check this image and the weights."
                )
            pending_hashes += [hashes[image_id] for image_id in batch]
            pending.append(features.numpy())
            if number % BATCHES_PER_CHUNK == 0 or number == len(batches):
                rows.append(pending_hashes, np.concatenate(pending))
                pending_hashes, pending = [], []
            advance(len(batch))
    with replacing(out) as scratch:
        for split, part in usable.groupby("split", sort=True):
            write_store(scratch / str(split), part, rows, meta)
    return len(todo)


def loaded_batches(
    batches: Sequence[Sequence[str]],
    preprocess: Callable[[Image.Image], Tensor],
    open_image: Callable[[str], Image.Image],
) -> Iterator[tuple[Sequence[str], Tensor]]:
    """Batches of image ids with their preprocessed images [B, 3, H, W], decoded in threads ahead of the caller.

    At most three batches are in memory at a time.

    Raises:
        NolaError: an image cannot be opened or preprocessed (it is named).
    """

    def load(image_id: str) -> Tensor:
        try:
            return preprocess(open_image(image_id))
        except NolaError:
            raise
        except Exception as error:  # a transform may raise anything; the message must name the image
            raise NolaError(f"image '{image_id}' cannot be loaded ({type(error).__name__}: {error}).") from error

    for batch, images in loaded(batches, load):
        yield batch, torch.stack(images)


def loaded(batches: Iterable[Sequence[T]], load: Callable[[T], R]) -> Iterator[tuple[Sequence[T], list[R]]]:
    """Batches with what `load` makes of their items, in threads while the caller works on others; at most three are held."""
    with ThreadPoolExecutor(workers()) as pool:
        ahead: deque[tuple[Sequence[T], list[Future[R]]]] = deque()
        try:
            for batch in batches:
                ahead.append((batch, [pool.submit(load, item) for item in batch]))
                if len(ahead) == 3:
                    yield _gather(*ahead.popleft())
            while ahead:
                yield _gather(*ahead.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # a caller that stops early does not wait for hundreds of images


def _gather(batch: Sequence[T], futures: list[Future[R]]) -> tuple[Sequence[T], list[R]]:
    return batch, [future.result() for future in futures]


@torch.inference_mode()
def encode(encoder: ImageEncoder, images: Tensor, device: torch.device, precision: Precision) -> Tensor:
    """Features of preprocessed images [B, 3, H, W], float32 [B, d] on the CPU; each row is computed from its image alone."""

    def compute(batch: Tensor) -> Tensor:
        with autocast(device, precision):
            return encoder.module(batch.to(device, non_blocking=True)).float().cpu()

    return in_batches(compute, images, size=image_batch(device))
