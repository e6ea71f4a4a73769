"""The command line: the commands, and how options become their arguments."""
