"""What stage `fit` reads of the descriptions; the whole stage is in test_stages.py."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from nola_core.errors import NolaError
from nola_core.stages.fit import described
from nola_core.stages.paths import Paths
from nola_core.tensors import write_tensors


def write(paths: Paths, features: torch.Tensor) -> None:
    table = pd.DataFrame({"class_id": [0, 0, 2], "kept": [True, False, True]}).astype({"class_id": "int32"})
    paths["description_quality.parquet"].parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(paths["description_quality.parquet"])
    write_tensors(paths["description_features.safetensors"], {"features": features.half()})


def test_methods_get_the_descriptions_in_use(tmp_path: Path) -> None:
    paths = Paths(tmp_path, "toy")
    write(paths, torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]))
    found = described(paths)
    assert found.class_ids.tolist() == [0, 2]
    torch.testing.assert_close(found.features, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_features_of_other_descriptions_are_refused(tmp_path: Path) -> None:
    paths = Paths(tmp_path, "toy")
    write(paths, torch.ones(2, 2))
    with pytest.raises(NolaError, match=r"has 2 rows, description_quality\.parquet 3; run classify again"):
        described(paths)
