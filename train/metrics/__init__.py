"""What a model learned, in figures."""
