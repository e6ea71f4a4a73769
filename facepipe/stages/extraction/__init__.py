"""How `extract` makes a part: read, decode, find, turn, choose, cut, a batch of pictures at a time."""
