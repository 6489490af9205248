"""``make jars``: which jars an embedded Kafka needs, found anew and pinned with their checksums.

``python -m tests.sandbox.pin_jars VERSION...`` writes ``stream/sandbox/locks/kafka-VERSION.lock``.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

from stream.sandbox.jars import LOCKS

SLF4J = "1.7.36"


def pin(kafka: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        wanted = (f"org.apache.kafka:kafka_2.13:{kafka}", f"org.slf4j:slf4j-simple:{SLF4J}")
        asked, more = context.resolver.resolve([context.create_dependency(each) for each in wanted])
        lines = {
            f"{each.groupId}:{each.artifactId}:{each.version} "
            f"{hashlib.sha256(each.artifact.resolve().read_bytes()).hexdigest()}\n"
            for each in (*asked, *more)
        }
    return "".join(sorted(lines))


if __name__ == "__main__":
    for version in sys.argv[1:]:
        (LOCKS / f"kafka-{version}.lock").write_text(pin(version))
