"""LatteCLIP: class prototypes that follow weighted texts, and a contrast of every image with the prototypes of its two labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from nola_core.device import autocast
from nola_core.students.augmentation import Recipe
from nola_core.students.objective import Batch, Epoch, Objective, recomputed

if TYPE_CHECKING:
    from nola_core.students.images import Loader
    from nola_core.students.student import TunedStudent

Weighting = Literal["paper", "published"]
LEAST = 1e-6  # added to every weight
TEXTS, IMAGES = 128, 64  # whose activations are in memory together


class Prototypes(Objective):
    """InfoNCE between images and moved prototypes, once for each of two pseudo-labels (METHODS section 2).

    Each image has two labels: the frozen zero-shot answer, and the prototype p nearest to its augmented view. The text of a
    label is the weighted mean t of the class's template and of the image's captions; the image is compared with
    z = p + step (t - p). After the step, the prototype of every class seen becomes the normalised mean of its z.

    The prototypes are the student's class embeddings and begin as its text classifier. CLIP's scale stays. Where a part
    changes the text tower, texts are encoded by it at every step, with gradient; a frozen one encodes each text once.

    Args:
        labels: int64 [N], the zero-shot answers.
        templates: a text a class.
        captions: image number -> texts; any number of them.
        step: how far z is moved from the prototype to the text.
        weighting: see `text_means`.
    """

    whole = True
    recipe = Recipe(crop=(0.9, 1.0), flip=0, jitter=(0.5, 0.5, 0.5, 0.1), again=False, perspective=0, blur=False, gray=0.2)

    def __init__(
        self,
        student: TunedStudent,
        *,
        labels: Tensor,
        templates: Sequence[str],
        captions: Mapping[int, Sequence[str]],
        step: float,
        weighting: Weighting,
    ) -> None:
        self.student, self.labels, self.step, self.weighting = student, labels, step, weighting
        self._texts = list(dict.fromkeys([*templates, *(text for texts in captions.values() for text in texts)]))
        number = {text: place for place, text in enumerate(self._texts)}
        self._template = torch.tensor([number[text] for text in templates])
        self._captions = {row: [number[text] for text in texts] for row, texts in captions.items()}
        self._encoded: Tensor | None = None
        self._seen: tuple[Tensor, Tensor] | None = None
        student.prototypes = True
        student.fixed = normalize(student.fixed, dim=-1)

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        with torch.enable_grad():
            learns = self._tower(["a"]).requires_grad
        if not learns and self._encoded is None:  # a frozen text tower is asked about each text once
            with torch.no_grad():
                parts = [self._tower(self._texts[at : at + TEXTS]).cpu() for at in range(0, len(self._texts), TEXTS)]
            self._encoded = torch.cat(parts)
        return Epoch()

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        features = normalize(recomputed(student.features, batch.strong, size=IMAGES), dim=-1)
        prototypes, rows = student.fixed, batch.rows.tolist()
        logits = student.head(features, prototypes)
        place = features.device
        labels = [logits.detach().argmax(dim=1), self.labels[batch.rows.cpu()].to(place)]
        captions = [(image, number) for image, row in enumerate(rows) for number in self._captions.get(row, ())]
        owners = torch.tensor([image for image, _ in captions], dtype=torch.int64, device=place)
        texts = [self._template[label.cpu()] for label in labels] + [torch.tensor([n for _, n in captions], dtype=torch.int64)]
        needed, where = torch.cat(texts).unique(return_inverse=True)
        found = self._features(needed, place)[where.to(place)]
        *templates, captioned = found.split([len(rows), len(rows), len(captions)])
        moved = [
            prototypes[label] + self.step * (text - prototypes[label])
            for label, text in zip(
                labels,
                text_means(templates, captioned, owners, prototypes=prototypes, weighting=self.weighting),
                strict=True,
            )
        ]
        self._seen = torch.cat(labels), torch.cat(moved).detach()
        assert student.scale is not None
        loss = torch.stack([contrast(features, z, scale=student.scale) for z in moved]).sum()
        return len(rows) * loss, logits

    @torch.no_grad()
    def stepped(self, student: TunedStudent) -> None:
        assert self._seen is not None
        labels, moved = self._seen
        sums = torch.zeros_like(student.fixed).index_add_(0, labels, moved)
        seen = labels.unique()
        student.fixed[seen] = normalize(sums[seen], dim=-1)

    def state(self) -> dict[str, Tensor]:
        return {"prototypes": self.student.fixed}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.student.fixed.copy_(state["prototypes"])

    def _features(self, numbers: Tensor, place: torch.device) -> Tensor:
        """Features of some texts by number, float32 [n, d], unit rows."""
        if self._encoded is not None:
            return self._encoded[numbers].to(place)
        return self._tower([self._texts[number] for number in numbers.tolist()])

    def _tower(self, texts: Sequence[str]) -> Tensor:
        clip = self.student.clip
        place = next(clip.model.parameters()).device

        def encode(tokens: Tensor) -> Tensor:
            with autocast(place, self.student.precision):
                features: Tensor = clip.model.encode_text(tokens)
            return normalize(features.float(), dim=-1)

        return recomputed(encode, clip.tokenize(list(texts)).to(place), size=TEXTS)


def text_means(
    templates: Sequence[Tensor], captions: Tensor, owners: Tensor, *, prototypes: Tensor, weighting: Weighting
) -> list[Tensor]:
    """The weighted mean of the texts of every image: its label's template and its captions, once for each label.

    `paper`: t_i = sum_k w_ik f_ik / sum_k w_ik over the texts of image i, with w of `margins`.

    `published` is what the published code (astra-vision/LatteCLIP, training/train.py) computes. It multiplies the template
    features [B, d] by their weights [B] and lacks the unsqueeze that the other terms have. With the published batch of
    B = d = 512 that runs: dimension j of every template is multiplied by the weight of the j-th image of the batch. The
    zero-shot label takes these weights from the current label's templates as well. The sum of the weights that it divides by
    is that of the paper. Where B is not d, that code stops with an error; here dimension j takes the weight of image j mod B.

    Args:
        templates: for each label float32 [B, d], unit rows, the current label first.
        captions: float32 [T, d], unit rows.
        owners: int64 [T], which of the B images each caption is of.
        prototypes: float32 [C, d], unit rows.

    Returns:
        For each label float32 [B, d].
    """
    weights = margins(captions, prototypes)
    sums = torch.zeros_like(templates[0]).index_add(0, owners, weights[:, None] * captions)
    totals = weights.new_zeros(len(sums)).index_add(0, owners, weights)
    own = [margins(rows, prototypes) for rows in templates]
    count, dim = sums.shape
    columns = torch.arange(dim, device=sums.device) % count
    means = []
    for rows, weight in zip(templates, own, strict=True):
        spread = weight[:, None] if weighting == "paper" else own[0][columns]
        means.append((spread * rows + sums) / (weight + totals)[:, None])
    return means


@torch.no_grad()
def margins(texts: Tensor, prototypes: Tensor) -> Tensor:
    """How clearly each text is of one class: its best cosine with a prototype less the second best, + 1e-6; without gradient.

    Args:
        texts: float32 [n, d], unit rows.
        prototypes: float32 [C, d], unit rows.

    Returns:
        float32 [n].
    """
    best = (texts @ prototypes.T).topk(min(2, len(prototypes)), dim=1).values
    return best[:, 0] - best[:, -1] + LEAST


def contrast(images: Tensor, texts: Tensor, *, scale: float) -> Tensor:
    """InfoNCE in both directions, the mean of the two: row i of images [B, d] belongs to row i of texts [B, d]."""
    logits, own = scale * images @ texts.T, torch.arange(len(images), device=images.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
