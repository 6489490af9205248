"""What the image apache/kafka does with its environment, by the jars of the embedded Kafka."""

import sys
from collections.abc import Mapping
from typing import Final

from stream.sandbox import jars
from stream.sandbox.java import java

SETTINGS: Final = "/opt/kafka/config/server.properties"
LOOK: Final = "/opt/kafka/bin/kafka-broker-api-versions.sh"
START: Final = "/opt/kafka/start"
_JVM: Final = "-Xmx512m -Xms64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Files for a container. Raises UsageError when Java or the fetcher of jars is missing.

    Each ``KAFKA_LOG_DIRS`` becomes a line ``log.dirs``, as the image does it. Kafka's tools are not among the jars: a
    request for metadata stands for the look at a broker's API versions.
    """
    lines = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }
    run = f"exec {java()} {_JVM} -cp '{jars.fetch(print)}/*'"
    return {
        SETTINGS: "".join(f"{name}={value}\n" for name, value in lines.items()),
        START: "#!/bin/sh\nset -e\n"
        f"({run} kafka.tools.StorageTool format --ignore-formatted --cluster-id=$CLUSTER_ID -c {SETTINGS})\n"
        f"{run} kafka.Kafka {SETTINGS}\n",
        LOOK: f'#!/bin/sh\nexec {sys.executable} -c "{_ASK}" "$2"\n',
    }


_ASK: Final = (
    "import sys; from stream.sandbox.broker import answers; host, port = sys.argv[1].split(':'); "
    "sys.exit(not answers(host, int(port)))"
)
