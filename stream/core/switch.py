"""Native or Python: decided once, for all of the hot path. Whoever has both asks here, and then imports without a net.

What is native (stream/core/native) was compiled when liveshop was installed. It does the same as the Python that defines it
(what stands for it as a whole lies in stream/core/pure), and the bytes that leave are equal. That it was not built is the
only reason to do without. A build of which a part is missing is a broken one, and so is a module that is there and cannot
be imported: it ends the program with its error, which nobody would notice otherwise.
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
