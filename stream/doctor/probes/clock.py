"""The controller's clock. The protocol has no question for the time; this answer holds it by the way."""

from stream.doctor.clock import Controller
from stream.doctor.probes.visit import Visit, now_ms
from stream.kafka import requests


async def controller(visit: Visit) -> Controller:
    """The first answer may have waited for a connection; the second one has not."""
    await requests.controller_time(visit.admin)
    asked = now_ms()
    time = await requests.controller_time(visit.admin)
    return Controller(time, asked, now_ms())
