"""Rounds that look at the images: questions about the classes that CLIP confuses."""
