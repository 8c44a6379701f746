"""``python -m streams.cli`` is ``labelwatch``."""

from streams.cli import main

main()
