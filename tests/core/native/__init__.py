"""What is native against what it stands for. Skipped where it was not built; where it must be (CI), that is an error."""

import os

from stream.core.switch import NATIVE

BUILT = NATIVE

if not BUILT and os.environ.get("LIVESHOP_NATIVE") == "must":
    raise ImportError("LIVESHOP_NATIVE=must, and the native hot path is not built")
