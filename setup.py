"""All of the build but this is in pyproject.toml: with LIVESHOP_COMPILE=3 mypyc compiles the hot part of the pure core.

The number says how hard the C compiler tries, 0 to 3. The source is the same, and so are the results
(tests/test_compiled.py). Modules of msgspec structs are not among these: msgspec needs their annotations, which a
compiled module does not keep.
"""

import os

from setuptools import Extension, setup

HOT = (
    "alerts/alerting alerts/history alerts/telling alerts/watched collect counting counts framing ids judge ontime packing "
    "panes persist render sessions shard snapshot statelog steps tidy windows"
)


def extensions() -> list[Extension]:
    level = os.environ.get("LIVESHOP_COMPILE")
    if not level:
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  # of the dev extra; an ordinary installation has none

    return mypycify([f"stream/core/{name}.py" for name in HOT.split()], opt_level=level)


setup(ext_modules=extensions())
