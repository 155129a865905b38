"""Stage `predict`: every method's answer for every image, and the scores that need no label."""

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor

from nola_core import alignment, text_classifier, tuning
from nola_core.backbones.clip import load_clip
from nola_core.datasets.opener import image_opener
from nola_core.device import device
from nola_core.extraction import loaded_batches
from nola_core.features import FeatureStore, normalized
from nola_core.files import PREDICTION_SCHEMA, table_writer, write_json
from nola_core.inputs import Inputs
from nola_core.label_free import LabelFreeScores
from nola_core.prediction import prediction_table
from nola_core.progress import progress
from nola_core.stages.paths import Paths

BATCH = 256  # images a step


def run(paths: Paths, inputs: Inputs) -> None:
    """Ask the text classifiers, the alignment head and the tuned student about every usable image of every split."""
    place = device()
    clip = load_clip(inputs.clip, root=paths.root, device=place)
    student = tuning.Student.load(paths["student.safetensors"], clip, precision=inputs.values["precision"]).to(place)
    texts = load_file(paths["text_classifier.safetensors"])
    scale = float(texts.pop("logit_scale"))
    head = alignment.load(paths["alignment.safetensors"])
    open_image = image_opener(paths.root, paths.dataset)
    scores: dict[str, dict[str, LabelFreeScores]] = {}
    with table_writer(paths["predictions.parquet"], PREDICTION_SCHEMA) as write:
        for split in paths.splits("clip"):
            store, ssl = (FeatureStore.open(paths.store(role, split)) for role in ("clip", "ssl"))
            scores[split] = {method: LabelFreeScores() for method in (*texts, "alignment", "nola")}

            def answer(method: str, ids: list[str], probabilities: Tensor, split: str = split) -> None:
                write(prediction_table(ids, probabilities, split=split, method=method))
                scores[split][method].add(probabilities)

            ids = store.index["image_id"].tolist()
            _ask_features(store, ids, texts, scale, answer)
            for start in range(0, len(ids), BATCH):
                part = ids[start : start + BATCH]
                answer("alignment", part, alignment.predict(head, torch.from_numpy(ssl.rows(part))))
            batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
            with progress(total=len(ids), what=f"predict {split}", unit="images") as advance:
                for batch, images in loaded_batches(batches, clip.image.preprocess, open_image):
                    answer("nola", list(batch), tuning.predict(student, images.to(place)))
                    advance(len(batch))
    results = {split: {method: score.result() for method, score in mine.items()} for split, mine in scores.items()}
    write_json(paths["label_free.json"], results)


def _ask_features(
    store: FeatureStore,
    ids: list[str],
    texts: dict[str, Tensor],
    scale: float,
    answer: Callable[[str, list[str], Tensor], None],
) -> None:
    for start in range(0, len(ids), BATCH):
        x = torch.from_numpy(normalized(store.features[start : start + BATCH]))
        for method, classifier in texts.items():
            p = text_classifier.probabilities(x, classifier, logit_scale=scale)
            answer(method, ids[start : start + BATCH], p)
