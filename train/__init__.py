"""Trains autoencoders and GANs on the shards that `facepipe shard` writes."""
