"""``python -m stream.cli`` is ``liveshop``."""

from stream.cli import main

main()
