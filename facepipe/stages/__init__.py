"""The stages: each reads top to bottom, puts leaf modules together, and knows nothing of processes."""
