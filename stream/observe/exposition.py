"""Text forms of metrics: the two that are shown and which of them a client asks for, and the one that is read.

``prometheus_client.exposition.choose_encoder`` is not used: it makes the page that the header names, with any version and
escaping in it, and raises ValueError for a version that is no number. Two forms are enough, since every name here is
plain ASCII, and two can be kept.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from prometheus_client import exposition
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


class _Shape(NamedTuple):
    content_type: str
    encode: Callable[[Collector], bytes]


class Form(Enum):
    """``encode`` renders everything that a registry collects."""

    TEXT = _Shape(exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest)
    OPENMETRICS = _Shape(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest)

    @property
    def content_type(self) -> str:
        return self.value.content_type

    def encode(self, registry: Collector) -> bytes:
        return self.value.encode(registry)


_MEDIA: Final = {
    "application/openmetrics-text": Form.OPENMETRICS,
    "text/plain": Form.TEXT,
    "text/*": Form.TEXT,
    "*/*": Form.TEXT,
}
_OPENMETRICS_VERSIONS: Final = frozenset({"", "1.0.0"})


def choose(accept: str) -> Form:
    """The form that an Accept header likes best; of equals the first. Text for whoever asks for nothing that there is:
    a person with a browser should see something.
    """
    best, form = 0.0, Form.TEXT
    for quality, wished in _wishes(accept):
        if quality > best:
            best, form = quality, wished
    return form


def _wishes(accept: str) -> Iterator[tuple[float, Form]]:
    for wish in accept.split(","):
        media, *rest = (part.strip().lower() for part in wish.split(";"))
        form = _MEDIA.get(media)
        parameters = dict(part.partition("=")[::2] for part in rest)
        if form is None or (
            form is Form.OPENMETRICS and parameters.get("version", "").strip('"') not in _OPENMETRICS_VERSIONS
        ):
            continue
        yield _quality(parameters.get("q", "1")), form


def _quality(text: str) -> float:
    """RFC 9110, 12.4.2: 0 to 1 with up to three decimals. What is none is 0: not wished for."""
    whole, _, decimals = text.partition(".")
    if whole not in {"0", "1"} or not (decimals or "0").isdecimal() or not text.isascii() or len(decimals) > 3:  # noqa: PLR2004 - see above
        return 0.0
    return min(1.0, float(text))


def read(text: str) -> list[Family]:
    """The families of the plain text form. Raises ValueError when it is none, whatever the parser trips over."""
    try:
        return list(text_string_to_metric_families(text))
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - IndexError, KeyError, TypeError: the parser trusts its text
        raise ValueError(f"no metrics: {type(error).__name__}") from None
