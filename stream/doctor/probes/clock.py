"""The controller's clock. The protocol has no question for the time; this answer holds it by the way."""

from stream.doctor.clock import Controller
from stream.doctor.probes.facts import ClusterFacts, now_ms
from stream.kafka import requests


async def controller(facts: ClusterFacts) -> Controller:
    """The first answer may have waited for a connection; the second one has not."""
    await requests.controller_time(facts.admin)
    asked = now_ms()
    time = await requests.controller_time(facts.admin)
    return Controller(time, asked, now_ms())
