"""`python -m facepipe` and the console script."""

from __future__ import annotations

from facepipe.cli.commands import main

if __name__ == "__main__":
    main()
