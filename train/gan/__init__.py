"""Generators of faces, and the discriminators that teach them."""
