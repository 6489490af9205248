"""How many examples a law is tried on: as many as it says, or as the environment says for all."""

import os


def examples(usual: int) -> int:
    """``LAW_EXAMPLES`` if it is set: ``make laws`` tries thousands, ``make mutants`` a few for each mistake."""
    return int(os.environ.get("LAW_EXAMPLES", usual))
