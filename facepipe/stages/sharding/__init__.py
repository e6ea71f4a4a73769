"""How `shard` gathers and writes: what to write (plan), in which order, the pixels, the records."""
