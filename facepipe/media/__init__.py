"""Files of pictures and videos -> upright RGB arrays."""
