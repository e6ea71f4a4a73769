"""The list of what to read, cut into parts and written beside the output; and videos' frames."""
