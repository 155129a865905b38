"""The label-free methods, one module each, and the registry that finds them.

A method is fitted on the unlabeled images and the class texts of one collection and then predicts for any image. Three kinds:
text methods (such as `cde`) read the class texts alone, feature methods (such as `alignment`) read cached features, and students
(such as `nola`) are CLIP itself with a few tuned parameters. docs/methods.md explains each; the class docstring is its entry.
"""

from nola_core.methods.registry import find, names, register

__all__ = ["find", "names", "register"]
