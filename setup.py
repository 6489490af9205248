"""All of the build but the native hot path is in pyproject.toml.

Without Cython or a C compiler it is left out: liveshop does the same without it, slower. LIVESHOP_NATIVE=must makes that
an error, =no leaves it out.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("stream/core/native")


def extensions() -> list[Extension]:
    wish = os.environ.get("LIVESHOP_NATIVE", "")
    if wish == "no":
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415  # it may be missing
    except ImportError:
        if wish == "must":
            raise
        return []
    modules = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            include_dirs=[str(NATIVE)],
            depends=[str(header) for header in NATIVE.glob("*.[hp]*") if header.suffix in {".h", ".pxd"}],
            extra_compile_args=["-O2", "-fno-strict-aliasing"],
            optional=wish != "must",
        )
        for source in sorted(NATIVE.glob("*.pyx"))
    ]
    return cythonize(modules, build_dir="build/native", quiet=True)


setup(ext_modules=extensions())
