"""The texts: what is asked about a class, and the tables of sentences about it."""
