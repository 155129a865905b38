import torch
from torch.nn.functional import normalize

from nola_core.methods.collection import Texts
from nola_core.methods.selected import METHOD, Options
from tests.methods.made import made_texts

A, B, C = torch.eye(3)


def test_only_descriptions_nearer_to_their_class_are_kept() -> None:
    known = {"a": A, "b": B, "c": C, "clear": A + 0.1 * C, "fair": A + 0.5 * B, "misleading": 0.3 * A + B, "plain": C}
    texts = Texts(
        names=["a", "b", "c"],
        templates=[["a"], ["b"], ["c"]],
        descriptions=[["misleading", "fair", "clear", "clear"], [], ["plain"]],
        encode=lambda some: normalize(torch.stack([known[text] for text in some]), dim=1),
        logit_scale=1.0,
        patterns=["{}"],
    )
    assert METHOD.texts(texts, Options()) == [["clear", "fair", "a"], ["b"], ["plain", "c"]]
    assert METHOD.texts(texts, Options(descriptions=1)) == [["clear", "a"], ["b"], ["plain", "c"]]
    assert METHOD.texts(texts, Options(templates=False)) == [["clear", "fair"], ["b"], ["plain"]]


def test_without_descriptions_or_with_one_name_it_is_templates() -> None:
    for texts in (made_texts(["a", "b"]), made_texts(["a"], [["alone"]])):
        assert METHOD.texts(texts, Options()) == texts.templates
        assert METHOD.fit(texts, options=Options()).tensors()["weights"].isfinite().all()


def test_the_order_of_the_classes_does_not_matter() -> None:
    names = [f"n{row}" for row in range(6)]
    described = [[f"{name} has {part}" for part in ("wings", "legs", "a tail")] for name in names]
    forward = METHOD.texts(made_texts(names, described), Options(neighbors=2))
    backward = METHOD.texts(made_texts(names[::-1], described[::-1]), Options(neighbors=2))
    assert forward == backward[::-1]
