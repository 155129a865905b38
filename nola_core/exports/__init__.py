"""Predictions in the formats of other tools; `formats.FORMATS` lists them."""
