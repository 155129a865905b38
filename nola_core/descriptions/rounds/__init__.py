"""Rounds that look at the images: classes that CLIP confuses, and captions."""
