"""What is tuned inside CLIP: where the parameters sit (`parts`), what they learn (`objective`), and the loop that tunes them.

The student methods are modules of `nola_core.methods`; each puts these together in its own way.
"""
