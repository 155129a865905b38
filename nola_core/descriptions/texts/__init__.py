"""The texts: what is asked about a class, the tables of sentences about it, and what each sentence is worth."""
