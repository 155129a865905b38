"""NoLA's second step, second half: the alignment head on self-supervised features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nola_core.device import one_thread
from nola_core.errors import NolaError
from nola_core.methods.method import Fitted
from nola_core.progress import progress

if TYPE_CHECKING:
    from nola_core.methods.alignment import Options


class AlignmentHead(nn.Sequential, Fitted):
    """h of the paper (section 3.2): Linear(d, hidden) - ReLU - Linear(hidden, C). Features [B, d] -> logits [B, C]."""

    spaces = ("ssl",)

    def __init__(self, dim: int, hidden: int, classes: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    @torch.inference_mode()
    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        """softmax(h(g)) of SSL features; see `Fitted.predict`."""
        return self(features["ssl"]).softmax(dim=-1)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.state_dict())


def train(features: Tensor, targets: Tensor, *, classes: int, options: Options, seed: int) -> AlignmentHead:
    """Train a head on pseudo-labelled features: cross-entropy, Adam, constant learning rate, a fixed last epoch.

    The head is a few hundred kB, so it trains on the CPU wherever the backbones ran, in one thread: its steps are too small to
    share, and two threads on busy cores wait for each other (benchmarks/results/scale-choices.md). So `seed` alone decides the
    result, whatever OMP_NUM_THREADS says.

    Args:
        features: float32 [n, d] of the selected images.
        targets: int64 [n], pseudo-labels.
        classes: C.
        options: section `alignment` of params.yaml.
        seed: of the initial weights and of the order of the batches.

    Raises:
        NolaError: no pseudo-label, or features or the loss are not finite.
    """
    if not len(targets):
        raise NolaError("no pseudo-label was selected, so there is nothing to train the alignment head on; look at select.")
    if not torch.isfinite(features).all():
        raise NolaError("the SSL features of the pseudo-labelled images hold NaN; run embed again and look at its model.")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = AlignmentHead(features.shape[1], options.hidden, classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=options.learning_rate, fused=True)  # one pass over the weights a step
    with one_thread(), progress(total=options.epochs, what="alignment", unit="epochs") as advance:
        for _ in range(options.epochs):
            total = 0.0
            for batch in torch.randperm(len(targets), generator=generator).split(options.batch_size):
                loss = cross_entropy(head(features[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            if not total < float("inf"):
                raise NolaError("the loss of the alignment head is not finite; lower alignment.learning_rate.")
            advance(note=f"loss {total / len(targets):.3f}")
    return head.eval().requires_grad_(False)


def restore(tensors: Mapping[str, Tensor]) -> AlignmentHead:
    """A head from its tensors, which tell its sizes."""
    hidden, dim = tensors["0.weight"].shape
    head = AlignmentHead(dim, hidden, tensors["2.weight"].shape[0])
    head.load_state_dict(dict(tensors))
    return head.eval().requires_grad_(False)
