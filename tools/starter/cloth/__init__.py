"""Drawn cloth: the data of the starter model's second recipe. See ../README.md."""
