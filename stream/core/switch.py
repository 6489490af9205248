"""Native or Python: decided once, for all of the hot path. Modules that have both ask here which one to import.

What is native (stream/core/native) was compiled when liveshop was installed. It does the same as the Python that defines it
(stream/core/pure holds the modules that stand in its place), and the bytes that leave are equal. Python stands in only where
nothing was built. A build that lacks a part, or a module that cannot be imported, ends the program with its error:
otherwise nobody would notice that everything is slower.
"""

from importlib.util import find_spec
from typing import Final

PACKAGE: Final = "stream.core.native"
MODULES: Final = (
    *("breakdowns", "counts", "fields", "hashing", "hashtable", "ids", "judging", "packing", "plain", "ranking"),
    *("records", "rendering", "table", "totals", "uniques"),
)
"""All or none: some know each other's structs."""


def is_built() -> bool:
    """Whether all native modules are there, not whether they can be imported. ImportError for some without the others."""
    if find_spec(PACKAGE) is None:
        return False
    missing = [name for name in MODULES if find_spec(f"{PACKAGE}.{name}") is None]
    if len(missing) == len(MODULES):
        return False
    if missing:
        raise ImportError(
            f"the native hot path is built in part: {', '.join(missing)} missing. Its installation must be done again"
        )
    return True


NATIVE: Final = is_built()
