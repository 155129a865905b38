"""FiftyOne: one data set a split in the format `FiftyOneImageClassificationDataset`, predictions with their confidence.

Format: `data/` with the images, and `labels.json` with `classes` and, by the name of a file without its suffix, `labels`.
"""

from __future__ import annotations

import json
from pathlib import Path

from nola_core.exports.pictures import COLUMNS, Pictures
from nola_core.exports.predicted import Predicted
from nola_core.progress import progress

README = """# Predictions of {dataset} for FiftyOne

```python
import fiftyone

data = fiftyone.Dataset.from_dir(
    dataset_dir={folder!r},
    dataset_type=fiftyone.types.FiftyOneImageClassificationDataset,
    label_field="prediction",
)
fiftyone.launch_app(data)
```

The predictions are by the method {method}. They are no labels: nobody has checked them.
"""


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `<split>/data/<image>` and `<split>/labels.json`, and a README.

    Args:
        out: a folder that does not exist yet.
        link: link to the images instead of copying them.

    Returns:
        The number of samples.
    """
    pictures = Pictures(predicted.root, predicted.dataset)
    written = 0
    with progress(total=predicted.count(), what="export", unit="images") as advance:
        for split in predicted.splits():
            (out / split / "data").mkdir(parents=True)
            with (out / split / "labels.json").open("w", encoding="utf-8") as stream:
                stream.write(f'{{"classes": {json.dumps(predicted.names, ensure_ascii=False)},\n"labels": {{')
                comma = "\n"
                for row in predicted.rows(split, COLUMNS):
                    file = pictures.put(row.image, row.number, out / split / "data", link=link)
                    label = {
                        "label": int(row.classes[0]),
                        "confidence": float(row.probabilities[0]),
                        "attributes": {"image_id": row.image.image_id},
                    }
                    key = json.dumps(file.rpartition(".")[0], ensure_ascii=False)
                    stream.write(f"{comma}{key}: {json.dumps(label, ensure_ascii=False)}")
                    comma, written = ",\n", written + 1
                    advance()
                stream.write("\n}}\n")
    return written


def readme(predicted: Predicted, out: Path) -> str:
    """How to open the folder at its final place."""
    return README.format(dataset=predicted.dataset, method=predicted.method, folder=str(out / predicted.splits()[0]))
