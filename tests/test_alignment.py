import pytest
import torch

from nola_core import alignment
from nola_core.errors import NolaError
from nola_core.methods.alignment import Options

OPTIONS = Options(hidden=16, epochs=30, batch_size=8, learning_rate=0.01)


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    return torch.eye(3)[targets].repeat(1, 2) + 0.2 * torch.randn(60, 6, generator=generator), targets


def test_it_learns_separable_classes_and_repeats_with_the_seed() -> None:
    features, targets = blobs()
    before = torch.random.get_rng_state()
    head = alignment.train(features, targets, classes=3, options=OPTIONS, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is the caller's"
    p = head.predict({"ssl": features})
    assert (p.argmax(1) == targets).all()
    torch.testing.assert_close(p.sum(1), torch.ones(60))
    again = alignment.train(features, targets, classes=3, options=OPTIONS, seed=1)
    other = alignment.train(features, targets, classes=3, options=OPTIONS, seed=2)
    assert torch.equal(again.predict({"ssl": features}), p)
    assert not torch.equal(other.predict({"ssl": features}), p)
    assert torch.equal(alignment.restore(head.tensors()).predict({"ssl": features}), p)


def test_the_number_of_threads_changes_nothing_and_is_left_as_it_was() -> None:
    features, targets = blobs()
    before = torch.get_num_threads()
    heads = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            heads.append(alignment.train(features.repeat(1, 200), targets, classes=3, options=OPTIONS, seed=1))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(heads[0].parameters(), heads[1].parameters(), strict=True))


def test_it_is_the_papers_head() -> None:
    head = alignment.AlignmentHead(768, 256, 10)
    assert [tuple(p.shape) for p in head.parameters()] == [(256, 768), (256,), (10, 256), (10,)]
    x = torch.randn(2, 768)
    first, second = head[0], head[2]
    expected = torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_without_pseudo_labels_keeps_its_place_and_is_nobodys_answer(absent: int) -> None:
    features, targets = blobs()
    there = targets != absent
    head = alignment.train(features[there], targets[there], classes=3, options=OPTIONS, seed=1)
    p = head.predict({"ssl": features})
    assert p.shape == (60, 3)
    assert torch.equal(p[there].argmax(dim=1), targets[there]), "the others keep their numbers"
    assert p[:, absent].max() < 0.1


def test_bad_input_is_one_sentence() -> None:
    features, targets = blobs()
    with pytest.raises(NolaError, match="no pseudo-label was selected"):
        alignment.train(features[:0], targets[:0], classes=3, options=OPTIONS, seed=1)
    features[3, 2] = torch.nan
    with pytest.raises(NolaError, match="hold NaN"):
        alignment.train(features, targets, classes=3, options=OPTIONS, seed=1)
