import numpy as np
import pandas as pd
import torch

from nola_core import alignment
from nola_core.methods.alignment import METHOD, Options
from nola_core.methods.collection import Collection, Space
from nola_core.methods.zero_shot import METHOD as ZERO_SHOT
from nola_core.schema import Section
from tests.methods.examples import NAMES, texts


def test_it_learns_from_the_pseudo_labelled_images_wherever_they_stand() -> None:
    features = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float16)
    ids = pd.Series([f"{number}.png" for number in range(12)])
    chosen = pd.DataFrame({"image_id": ["7.png", "2.png", "11.png"], "class_id": [2, 0, 1], "confidence": [0.9, 0.8, 0.7]})
    places = np.random.default_rng(1).permutation(12)  # image i is row places[i] of the store
    text = ZERO_SHOT.fit(texts(), options=Section())
    collection = Collection(NAMES, ids, {"ssl": Space(features, places)}, text, chosen)
    options = Options(hidden=4, epochs=5)
    fitted = METHOD.fit(collection, options=options, seed=3)

    rows = torch.from_numpy(features[[places[7], places[2], places[11]]].astype(np.float32))
    x = torch.nn.functional.normalize(rows, dim=-1)
    expected = alignment.train(x, torch.tensor([2, 0, 1]), classes=3, options=options, seed=3)
    torch.testing.assert_close(fitted.predict({"ssl": x}), expected.predict({"ssl": x}), atol=1e-6, rtol=0)
    assert fitted.spaces == ("ssl",)
    assert torch.equal(METHOD.restore(fitted.tensors()).predict({"ssl": x}), fitted.predict({"ssl": x}))
