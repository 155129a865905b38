"""The two frozen models of a run: a dual encoder and a self-supervised image encoder, by pair name."""
