"""The jobs in Java: jars fetched once by Maven, classes made by javac, both kept in the cache beside Kafka's jars."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.errors import FailedError, UsageError
from stream.sandbox import jars
from stream.sandbox.java import OLDEST_JAVA, java

SOURCES: Final = Path(__file__).with_name("java")
SHARED: Final = ("Event.java", "Counts.java")
FETCH_SECONDS: Final = 600
COMPILE_SECONDS: Final = 120
# Both as they are run by default, but for the heap: with a quarter of the machine to fill, RSS would say nothing.
JVM: Final = ("-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Djava.awt.headless=true")
# Flink reaches into the JDK when it cleans closures and copies arguments; its own scripts open these as well.
PACKAGES: Final = ("lang", "lang.reflect", "net", "nio", "text", "time", "util", "util.concurrent")
OPENED: Final = tuple(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in PACKAGES)


@dataclass(frozen=True)
class Job:
    """``name`` is that of its pom, ``main`` its class."""

    name: str
    main: str
    flags: tuple[str, ...] = ()

    @property
    def pom(self) -> Path:
        return SOURCES / f"{self.name}.xml"

    @property
    def sources(self) -> list[Path]:
        return [SOURCES / name for name in (*SHARED, f"{self.main}.java")]


FLINK: Final = Job("flink", "FlinkJob", OPENED)
STREAMS: Final = Job("streams", "StreamsJob")


def command(job: Job, say: jars.Say) -> list[str]:
    """What starts it, but for its arguments; fetches and compiles what the cache has not. Safe when two run at once.

    Raises UsageError when Java, its compiler or Maven is missing, FailedError when one of them failed.
    """
    runtime = java()
    lib = _cache() / f"{job.name}-{_digest([job.pom])}"
    classes = _cache() / f"{job.name}-classes-{_digest([job.pom, *job.sources])}"
    with jars.alone(_cache() / ".lock"):
        if not classes.is_dir():
            mvn, javac = _tool("mvn"), _tool("javac")  # both, before 90 MB are fetched for nothing
            _fetch(job, lib, mvn, say)
            _compile(job, lib, classes, javac)
    return [runtime, *JVM, *job.flags, "-cp", f"{classes}:{lib}/*", f"liveshop.bench.{job.main}"]


def _fetch(job: Job, lib: Path, mvn: str, say: jars.Say) -> None:
    if lib.is_dir():
        return
    say(f"fetching the jars of {job.name} by Maven, once, into {lib} (80 to 95 MB)")
    with tempfile.TemporaryDirectory(dir=_cache(), prefix=".fetching-") as scratch:
        shutil.copy(job.pom, Path(scratch) / "pom.xml")
        copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={scratch}/lib")
        _do([mvn, "-q", "-B", *copy], Path(scratch), FETCH_SECONDS)
        (Path(scratch) / "lib").rename(lib)


def _compile(job: Job, lib: Path, classes: Path, javac: str) -> None:
    with tempfile.TemporaryDirectory(dir=_cache(), prefix=".compiling-") as scratch:
        out = Path(scratch) / "classes"
        options = ("--release", str(OLDEST_JAVA), "-cp", f"{lib}/*", "-d", str(out))
        _do([javac, *options, *map(str, job.sources)], Path(scratch), COMPILE_SECONDS)
        out.rename(classes)


def _cache() -> Path:
    folder = jars.cache_folder().with_name("bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(files: Iterable[Path]) -> str:
    """Another pom or source, another folder."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:10]


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"{name} is missing (Debian: apt install openjdk-17-jdk-headless maven)")
    return found


def _do(tool: list[str], folder: Path, seconds: int) -> None:
    try:
        done = subprocess.run(tool, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise FailedError(f"{tool[0]} was not done within {seconds} s") from None
    if done.returncode != 0:
        raise FailedError(f"{tool[0]} failed:\n" + "\n".join((done.stdout + done.stderr).splitlines()[-15:]))
