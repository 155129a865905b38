"""What is told of an audit when the model is taken away."""

from typing import Any

from flows.commands.export import _measured
from nola_core import model_card

FIGURES = {"accuracy": 0.9134, "low": 0.81, "high": 0.97}
METRICS: dict[str, Any] = {
    "split": "test", "protocol": "inductive", "images": 900, "labelled": 0, "methods": {},
    "audit": {**FIGURES, "labels": 50, "methods": {"nola": FIGURES}},
}  # fmt: skip


def test_the_card_has_the_figure_of_the_audit_and_its_labels() -> None:
    measured = _measured(METRICS, "nola")
    assert measured is not None and measured["audit"]["labels"] == 50
    assert model_card._measured(measured) == (
        "Accuracy 91.3% (95 % interval 81.0% to 97.0%) on the images of the split test, measured by a person on 50 of them, "
        "which were drawn at random."
    )
    assert _measured(METRICS, "zero_shot") is None and _measured({**METRICS, "audit": None}, "nola") is None
