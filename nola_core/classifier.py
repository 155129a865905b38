"""The model one takes away: a fitted method with the towers it needs; images in, predictions out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from nola_core import batches
from nola_core.backbones.clip import Clip
from nola_core.backbones.encoder import ImageEncoder
from nola_core.datasets.given import Given, Images, count, given
from nola_core.errors import NolaError
from nola_core.extraction import encode, loaded
from nola_core.features import normalized
from nola_core.methods.collection import Space, answers, probabilities
from nola_core.methods.method import Fitted, Student
from nola_core.prediction import TOP, top
from nola_core.progress import progress
from nola_core.schema import Precision

CPU = torch.device("cpu")
BATCH = 64
"""Images decoded together; three such batches are in memory at a time."""


@dataclass(frozen=True)
class Classifier:
    """A fitted method and what it needs to predict the class of any image.

    `nola_core.load` and `nola_core.adapt` make one. The probabilities of an image do not depend on the images predicted with it.

    Attributes:
        about: what the model folder records, as in `model.json` (docs/formats.md).
        class_names: by class id.
        fitted: the method: one on features, or a student.
        encoders: role -> frozen tower, of the spaces that a method on features reads.
        clip: the dual encoder a student is part of.
        device: where the towers are.
        precision: of the frozen towers.
        predictions: of the collection it was fitted on, where `adapt` made it; columns as of `predict`.
    """

    about: Mapping[str, Any]
    class_names: Sequence[str]
    fitted: Fitted | Student
    encoders: Mapping[str, ImageEncoder]
    clip: Clip | None = None
    device: torch.device = CPU
    precision: Precision = "float32"
    predictions: pd.DataFrame | None = None

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.about["method"])

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:3]) + (", ..." if len(self.class_names) > 3 else "")
        return f"Classifier({self.about['title']}, {len(self.class_names)} classes: {names})"

    def predict(self, images: Images, *, quiet: bool = False) -> pd.DataFrame:
        """The predicted class of every image.

        Example:
            >>> nola_core.load("model").predict(["a.jpg", "b.jpg"])
               image class  probability class_2  probability_2 reason
            0  a.jpg   cat        0.913     dog          0.061   None
            1  b.jpg  None          NaN    None            NaN   No such file or directory

        Args:
            images: a folder, a path, a PIL image, or any iterable of paths and PIL images, which is streamed.
            quiet: show no progress.

        Returns:
            One row an image, in order: `image` (its path or number), `class`, `probability`, then `class_2, probability_2` to
            `class_5, probability_5` (fewer where there are fewer classes), and `reason`: why an image could not be read; then
            the other columns are empty.

        Raises:
            NolaError: a folder without any image, or something that is neither a path nor an image.
        """
        total = count(images)
        shown = progress(total=total, what="predict", unit="images") if total and not quiet else _silent()
        tables = []
        with shown as advance:
            for table in self.stream(images):
                tables.append(table)
                advance(len(table))
        return pd.concat(tables, ignore_index=True) if tables else self._table([], torch.empty(0, len(self.class_names)), [])

    def stream(self, images: Images) -> Iterator[pd.DataFrame]:
        """`predict` in tables of at most `BATCH` images, decoded on the way; memory does not grow with their number."""
        for batch, views in loaded(_grouped(given(images), BATCH), self._view):
            good = [view for view in views if not isinstance(view, NolaError)]
            p = self._of_views(good) if good else torch.empty(0, len(self.class_names))
            yield self._table([one.name for one in batch], p, views)

    def probabilities(self, images: Images) -> Tensor:
        """Class probabilities, float32 [N, C], of images that can all be read.

        Raises:
            NolaError: an image cannot be read (it is named).
        """
        parts = []
        for batch, views in loaded(_grouped(given(images), BATCH), self._view):
            for one, view in zip(batch, views, strict=True):
                if isinstance(view, NolaError):
                    raise NolaError(f"image '{one.name}' cannot be used: {view}.")
            parts.append(self._of_views(views))  # type: ignore[arg-type]  # no NolaError is left
        return torch.cat(parts) if parts else torch.empty(0, len(self.class_names))

    def of_images(self, views: Tensor) -> Tensor:
        """Probabilities of a student, float32 [B, C] on the CPU, of images as CLIP's preprocessing makes them, [B, 3, H, W]."""
        student = self.fitted
        assert isinstance(student, Student)
        size = batches.image_batch(self.device)
        return batches.in_batches(lambda part: student.predict(part.to(self.device)).float().cpu(), views, size=size)

    def of_features(self, spaces: Mapping[str, Space]) -> Callable[[int, int], Tensor]:
        """Probabilities of a method on cached features, by the range of their rows; see `methods.collection.answers`."""
        assert isinstance(self.fitted, Fitted)
        return answers(self.fitted, spaces)

    def save(self, folder: str | Path, *, include_weights: bool = False) -> Path:
        """Write the model as a folder; `nola_core.load` reads it.

        Args:
            folder: must not exist, or be a model of NoLA already.
            include_weights: put the frozen towers in as well, which are otherwise referenced by name and hash.

        Raises:
            NolaError: the folder holds something else, or the weights cannot be included.
        """
        from nola_core import model_folder

        return model_folder.save(self, Path(folder), include_weights=include_weights)

    def _view(self, one: Given) -> dict[str, Tensor] | NolaError:
        """What the towers see of an image, or why it cannot be read."""
        try:
            image = one.open()
            if self.clip is not None:
                return {"clip": self.clip.image.preprocess(image)}
            return {role: encoder.preprocess(image) for role, encoder in self.encoders.items()}
        except NolaError as error:
            return error
        except Exception as error:  # a transform may raise anything; it costs one row, not the run
            return NolaError(f"{type(error).__name__}: {error}")

    def _of_views(self, views: Sequence[dict[str, Tensor]]) -> Tensor:
        stacked = {role: torch.stack([view[role] for view in views]) for role in views[0]}
        if isinstance(self.fitted, Student):
            return self.of_images(stacked["clip"])
        features = {}
        for role, encoder in self.encoders.items():
            rows = encode(encoder, stacked[role], self.device, self.precision).half()  # rounded as in a feature store
            features[role] = torch.from_numpy(normalized(rows.numpy()))
        return probabilities(self.fitted, features)

    def _table(self, names: Sequence[str], p: Tensor, views: Sequence[object]) -> pd.DataFrame:
        """Rows of `predict`: `p` [n, C] belongs to the n views that are no errors."""
        good = [row for row, view in enumerate(views) if not isinstance(view, NolaError)]
        best, classes = top(p, TOP)
        labels = pd.Series(list(self.class_names), dtype="str")
        table = pd.DataFrame({"image": pd.Series(list(names), dtype="str")})
        for place in range(min(TOP, len(self.class_names))):
            suffix = f"_{place + 1}" if place else ""
            table[f"class{suffix}"] = pd.Series(labels.to_numpy()[classes[:, place].numpy()], index=good, dtype="str")
            table[f"probability{suffix}"] = pd.Series(best[:, place].numpy(), index=good, dtype="float32")
        table["reason"] = pd.Series([str(view) if isinstance(view, NolaError) else None for view in views], dtype="str")
        return table

    def with_predictions(self, table: pd.DataFrame) -> Classifier:
        """The same with the predictions of its own collection."""
        return replace(self, predictions=table)


@contextmanager
def _silent() -> Iterator[Callable[..., None]]:
    """Stands in for `progress`."""
    yield lambda count=1, note="": None


def _grouped(items: Iterator[Given], size: int) -> Iterator[list[Given]]:
    while group := list(itertools.islice(items, size)):
        yield group
