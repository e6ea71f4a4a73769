"""What `verify` looks at in each kind of folder."""
