"""What is native against what it stands for. Skipped where it was not built; where it must be (CI), that is an error."""

import os

try:
    import stream.core.native  # noqa: F401 - asked whether it is there
except ModuleNotFoundError:
    BUILT = False
    if os.environ.get("LIVESHOP_NATIVE") == "must":
        raise
else:
    BUILT = True
