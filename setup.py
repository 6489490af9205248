"""All of the build but the native hot path is in pyproject.toml.

Without Cython or a C compiler it is left out: liveshop does the same without it, slower. LIVESHOP_NATIVE=must makes that
an error, =no leaves it out.
"""

import importlib.util
import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("stream/core/native")
WISH = os.environ.get("LIVESHOP_NATIVE", "")


class BuildAllOrNone(build_ext):
    """A compiler that is missing, or fails, is no reason not to install."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if WISH == "must":
                raise
            sys.stderr.write(f"the native hot path is left out: {error}\n")
            for extension in self.extensions:  # a part of it is an error when liveshop starts
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []


def generate() -> None:
    """What C knows of the table of figures: sources that are not in the repository."""
    spec = importlib.util.spec_from_file_location("generate", NATIVE / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write()


def extensions() -> list[Extension]:
    if WISH == "no":
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415  # it may be missing
    except ImportError:
        if WISH == "must":
            raise
        return []
    generate()
    modules = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            include_dirs=[str(NATIVE)],
            depends=[str(header) for header in NATIVE.glob("*.[hp]*") if header.suffix in {".h", ".pxd"}],
            extra_compile_args=["-O2", "-fno-strict-aliasing"],
        )
        for source in sorted(NATIVE.glob("*.pyx"))
    ]
    return cythonize(modules, build_dir="build/native", quiet=True)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildAllOrNone})
