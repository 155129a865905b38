"""Stage `predict`: every method's answer for every image, and the scores that need no label."""

from collections.abc import Callable

import pyarrow as pa
import torch
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
from nola_core.prediction import predict, prediction_table
from nola_core.progress import progress
from nola_core.stages.paths import Paths
from nola_core.tensors import read_tensors

BATCH = 256  # images a step
WRITTEN = 8192  # rows written at once, by one method


def run(paths: Paths, inputs: Inputs) -> None:
    """Ask the text classifiers, the alignment head and the tuned student about every usable image of every split."""
    place = device()
    clip = load_clip(inputs.clip, root=paths.root, device=place)
    student = tuning.Student.load(paths["student.safetensors"], clip, precision=inputs.values["precision"]).to(place)
    texts = read_tensors(paths["text_classifier.safetensors"])
    scale = float(texts.pop("logit_scale"))
    head = alignment.load(paths["alignment.safetensors"])
    open_image = image_opener(paths.root, paths.dataset)
    with table_writer(paths["predictions.parquet"], PREDICTION_SCHEMA) as write:
        answers = Answers(paths, write)
        for split in paths.splits("clip"):
            ids = answers.from_features(split, texts, scale, head)
            batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
            with progress(total=len(ids), what=f"predict {split}", unit="images") as advance:
                for batch, images in loaded_batches(batches, clip.image.preprocess, open_image):
                    p = tuning.predict(student, images.to(place))
                    answers.add(split, "nola", prediction_table(batch, p, split=split, method="nola"), p)
                    advance(len(batch))
            answers.flush()
    write_json(paths["label_free.json"], answers.label_free())


class Answers:
    """Writes every method's answers and keeps the scores that need no label."""

    def __init__(self, paths: Paths, write: Callable[[pa.Table], None]) -> None:
        self._paths, self._write = paths, write
        self._waiting: list[pa.Table] = []
        self._scores: dict[str, dict[str, LabelFreeScores]] = {}

    def add(self, split: str, method: str, table: pa.Table, probabilities: Tensor) -> None:
        """Take rows of one method and count their probabilities; small tables are written together, so that reading is fast."""
        self._waiting.append(table)
        self._scores.setdefault(split, {}).setdefault(method, LabelFreeScores()).add(probabilities)
        if sum(len(waiting) for waiting in self._waiting) >= WRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting = []

    def from_features(self, split: str, texts: dict[str, Tensor], scale: float, head: alignment.AlignmentHead) -> list[str]:
        """The answers that need no image, those of the text classifiers and of the alignment head; returns the image ids."""
        clip, ssl = (FeatureStore.open(self._paths.store(role, split)) for role in ("clip", "ssl"))
        ids = clip.index["image_id"]
        places = None if ids.equals(ssl.index["image_id"]) else ssl.positions(ids)

        def taught(start: int, stop: int) -> Tensor:
            rows = ssl.block(start, stop) if places is None else normalized(ssl.features[places[start:stop]])
            return alignment.predict(head, torch.from_numpy(rows))

        asked = {method: text_classifier.answers(clip, phi, logit_scale=scale) for method, phi in texts.items()}
        classes = len(next(iter(texts.values())))
        for method, probabilities in {**asked, "alignment": taught}.items():
            for table, p in predict(ids, probabilities, classes=classes, split=split, method=method):
                self.add(split, method, table, p)
            self.flush()
        return ids.tolist()

    def label_free(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """What label_free.json holds."""
        return {split: {method: score.result() for method, score in mine.items()} for split, mine in self._scores.items()}
