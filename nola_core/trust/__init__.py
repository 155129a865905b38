"""How far a result can be trusted, told without labels."""
