"""One face at a time: where it looks, its crop, and a head in three dimensions to turn it with."""
