"""The hot path in Cython: what is plain and frequent. What it cannot tell it leaves to the Python of core/.

Python stays the definition. Without a C compiler these modules are not there, and everything runs as it does with them,
slower (core/pure/ holds what they replace as a whole). All of them or none: some know each other's structs.
"""

from importlib.util import find_spec
from typing import Final

MODULES: Final = (
    *("breakdowns", "counts", "fields", "hashing", "hashtable", "ids", "judging", "packing", "plain", "ranking"),
    *("records", "rendering", "table", "totals", "uniques", "unpacking"),
)

missing = [name for name in MODULES if find_spec(f"{__name__}.{name}") is None]
if missing:
    raise ModuleNotFoundError(f"not built: {', '.join(missing)} (make builds them where there is a C compiler)")
