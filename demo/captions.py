"""Captions of the rendered digits: a name in a template, or a sentence about the shape.

A caption is true of a set of digits: "the digit seven" of one, "it has a flat bar at the top" of five and seven. The
contrastive loss takes every picture a caption is true of as its positive, so no true pair is pushed apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TEMPLATES = (
    "{}.",
    "the digit {}.",
    "the number {}.",
    "a photo of the digit {}.",
    "a photo of the number {}.",
    "a photo of a handwritten {}.",
    "a handwritten {}.",
    "a handwritten digit {}.",
    "a scan of a handwritten {}.",
    "a blurry photo of the digit {}.",
    "a low resolution image of the number {}.",
    "a picture of a {}.",
    "an image of the digit {}.",
    "a drawing of the number {}.",
    "a white {} on a black background.",
    "a {} written by hand.",
    "a {} drawn with a thick pen.",
    "the figure {} in white on black.",
    "this is what a {} looks like.",
    "a caption of an image of the digit {}:",
)

OPENINGS = (
    "it has",
    "it shows",
    "the digit has",
    "the number shows",
    "a digit with",
    "a handwritten digit with",
    "a shape with",
    "a figure made of",
    "it looks like",
    "it is drawn as",
    "you can recognise it by",
    "it can be identified by",
    "it consists of",
    "it is written with",
    "the image shows",
    "the stroke forms",
)

# Each phrase and the digits it is true of.
PHRASES = (
    # closed loops
    ("one closed oval loop", "0"),
    ("one big ring around an empty middle", "0"),
    ("an ellipse taller than wide with a hole inside", "0"),
    ("a single round closed curve without any straight line", "0"),
    ("an egg shaped outline that meets itself", "0"),
    ("two closed loops on top of each other", "8"),
    ("two small rings stacked vertically", "8"),
    ("a narrow waist where the lines cross in the middle", "8"),
    ("an upper circle that touches a lower circle", "8"),
    ("a stroke that crosses itself between two holes", "8"),
    ("a closed loop at the bottom", "68"),
    ("a closed loop at the top", "89"),
    ("a closed loop", "0689"),
    ("a hole enclosed by a curve", "0689"),
    ("a single closed loop at the bottom and a stem above it", "6"),
    ("a long curve that comes down on the left and curls into a ring", "6"),
    ("a round belly closed at the lower right under an open top", "6"),
    ("a tall left side that bends into a circle at the base", "6"),
    ("a single closed loop at the top and a tail below it", "9"),
    ("a small circle above with a stem going down on the right", "9"),
    ("a round head closed at the upper left over a hanging tail", "9"),
    ("a ring at the top that ends in a hook at the bottom", "9"),
    # straight strokes
    ("one single straight vertical line", "1"),
    ("an upright bar with no curve and no loop", "1"),
    ("a narrow stick with a short flag at the top left", "1"),
    ("a thin column standing in the middle", "1"),
    ("one long vertical stroke, sometimes with a small foot", "1"),
    ("two straight strokes that cross at the right", "4"),
    ("a vertical line on the right crossed by a horizontal line", "4"),
    ("a horizontal bar across the lower middle", "4"),
    ("a slanted stroke on the left that meets a crossbar", "4"),
    ("a sharp angle or triangle at the upper left and a vertical stem", "4"),
    ("a flat bar at the top", "57"),
    ("a horizontal line along the top", "57"),
    ("a flat bar at the top and a diagonal line down to the left", "7"),
    ("a horizontal top edge that turns at a sharp corner on the right", "7"),
    ("a slanted leg below a straight roof", "7"),
    ("two straight strokes that meet at the upper right corner", "7"),
    ("mostly straight strokes", "147"),
    ("no closed loop", "12357"),
    # open curves
    ("an arch at the top and a flat line at the bottom", "2"),
    ("a curved neck like a swan over a straight base", "2"),
    ("a hook at the top and a diagonal that runs down to the lower left", "2"),
    ("a horizontal base line at the bottom under an open curve", "2"),
    ("two open curves stacked, both open to the left", "3"),
    ("two bumps that point to the right", "3"),
    ("an upper and a lower half circle joined in the middle, open on the left", "3"),
    ("a point in the middle between two arcs on the right side", "3"),
    ("a flat bar at the top and a round belly at the bottom", "5"),
    ("a short vertical stroke on the upper left above an open curve", "5"),
    ("a top line, a corner on the left, and a bowl that opens to the left", "5"),
    ("a belly bulging to the lower right that stays open on the left", "5"),
    ("a round open curve at the top", "23"),
    ("a round curve at the bottom, open on the left", "35"),
    ("only curves and no straight line", "03689"),
)


class Caption(NamedTuple):
    """A text and whether it is true of each of the ten digits."""

    text: str
    fits: tuple[bool, ...]


def named_captions() -> list[list[Caption]]:
    """For each digit its name in every template."""
    fits = np.eye(10, dtype=bool)
    return [[Caption(t.format(name), tuple(fits[digit])) for t in TEMPLATES] for digit, name in enumerate(NAMES)]


def shape_captions() -> list[list[Caption]]:
    """For each digit every opening with each phrase that is true of the digit, some with its name in front."""
    captions: list[list[Caption]] = [[] for _ in NAMES]
    for phrase, digits in PHRASES:
        fits = tuple(str(digit) in digits for digit in range(10))
        shared = [Caption(f"{opening} {phrase}.", fits) for opening in OPENINGS]
        for digit in map(int, digits):
            captions[digit] += shared
            own = tuple(other == digit for other in range(10))
            for form in ("a {name} has {phrase}.", "the digit {name} has {phrase}.", "{name}: {phrase}."):
                captions[digit].append(Caption(form.format(name=NAMES[digit], phrase=phrase), own))
    return captions
