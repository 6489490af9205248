"""The shapes of what the state stores: what msgspec reads them by, and nothing else.

Counts are packed as one array: the plain figures of `figures.HEAD`, GMV, an array of all other plain figures, then what is
not plain. Both arrays only grow, in the order of `figures.FIGURES`: bytes of an earlier version are shorter and hold
nothing of what came later, bytes of a later version are longer. So packed counts need no names: those that a checkpoint
holds are named once, in its `Meta`, and told apart there.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream.core.breakdown import Clicks, Labels, Money, Orders, Source
from stream.core.figures import ADDED, BREAKDOWNS, BY_NAME, HEAD, NEVER, REST, TEXTS, Figure, How

_BREAKDOWN: Final = {"Clicks": Clicks, "Orders": Orders, "Labels": Labels}
IN_ONE: Final = tuple(name for name in BREAKDOWNS if BY_NAME[name] not in ADDED)
"""Breakdowns by id of the first layout, in an array of their own."""


def _field(figure: Figure) -> tuple[str, Any, Any]:
    """Of a figure that is not plain: name, type and what stands where there is none."""
    if figure.how is How.MONEY:
        return figure.name, Money, msgspec.field(default_factory=dict)
    return figure.name, bytes | None if figure.how is How.SKETCH else _BREAKDOWN[figure.of] | None, None


def _plain(names: tuple[str, ...]) -> list[tuple[str, type]]:
    return [(name, str if name in TEXTS else int) for name in names]


UNKNOWN: Final = -2
"""Instead of a figure that was not counted when its counts were stored."""
_FIRST: Final = [
    (name, *_field(BY_NAME[name])[1:2]) for name in ("item_value", "local_item_value", "viewers", "buyers")
]
_TAIL: Final = [
    ("sources", dict[str, Source] | None),
    ("breakdowns", tuple.__class_getitem__(tuple(_field(BY_NAME[name])[1] for name in IN_ONE))),
    ("incomplete", bool),
    ("late", Any, None),
    *map(_field, ADDED),
]

if TYPE_CHECKING:

    class _Figures(msgspec.Struct):
        """Attributes are figures of the table, which mypy cannot read."""

        def __getattr__(self, name: str) -> Any: ...

    class Head(_Figures): ...

    class Glance(_Figures): ...

    class Outline(Head):
        @property
        def on_air_to(self) -> int: ...
        @property
        def start_to(self) -> int: ...
        @property
        def end_to(self) -> int: ...

    class Packed(Head): ...

else:
    Head = msgspec.defstruct("Head", [*_plain(HEAD), ("gmv", Money)], array_like=True, gc=False)
    """The beginning of packed counts, which is read without unpacking the rest."""

    _Seen = msgspec.defstruct("_Seen", _plain(REST[: REST.index("platform") + 1]), array_like=True, gc=False)

    class Glance(Head, array_like=True, gc=False):
        """What people see of a pane, read without unpacking the rest."""

        plain: _Seen

        @property
        def platform(self) -> str:
            return self.plain.platform

        @property
        def last(self) -> int:
            return self.plain.last

    _Aired = msgspec.defstruct(
        "_Aired",
        [(name, str if name in TEXTS else int, UNKNOWN) for name in REST[: REST.index("end_to") + 1]],
        array_like=True,
        gc=False,
    )

    class Outline(Head, array_like=True, gc=False):
        """What a session knows of its panes and of its base, read without unpacking the rest."""

        plain: _Aired

        @property
        def on_air_to(self) -> int:
            time = self.plain.on_air_to
            return self.last_event if time == UNKNOWN else time

        @property
        def start_to(self) -> int:
            return max(self.plain.start_to, NEVER)

        @property
        def end_to(self) -> int:
            return max(self.plain.end_to, NEVER)

    Packed = msgspec.defstruct(
        "Packed",
        [("rest", list), *_FIRST, *_TAIL],
        bases=(Head,),
        array_like=True,
        gc=False,
        forbid_unknown_fields=True,
    )
    """Packed counts: what one pane holds."""


class Meta(msgspec.Struct):
    """What a checkpoint says of the shard as a whole. New fields need a default."""

    owner: dict[str, str]
    policy: dict[str, Any]
    generation: int
    positions: dict[str, int]
    clocks: dict[str, int | None]
    watermark: int | None
    horizon: list[int]
    drop_line: int
    gaps: dict[str, int | None]
    alerted_through: int | None = None
    """Slides that end here or earlier are judged."""
    silent: tuple[dict[str, int], list[bytes]] | None = None
    """While a rebuild tells no alerts: until the inputs have passed these ends, and what was told before."""
    checkout_floor: int = -(2**62)
    gone_floor: int = -(2**62)
    """Checkout keys and let-go sessions of before are forgotten: there were too many."""
    admitted: dict[str, dict[int, int]] | None = None
    """New sessions by topic and start of the pane; None of a version that knew no bound on them."""
    transactional_id: str = ""
    """Of the producer that wrote it; empty of a version that did not say."""
    partitions: int | None = None
    """How many there were of each topic: keys are placed by it. None of a version that did not write it."""
    moved_to: str | None = None
    """The prefix of the topics to which what is not counted here was moved: nothing more is counted here."""
    topic_ids: dict[str, str] = {}
    """Kafka's ids of the topics read and written, by their names in the code. Empty of a version that did not ask."""
    promoted_to: int | None = None
    """Next offset of live.promotions; None where it is not read."""
    unseen: tuple[int, int, int] | None = None
    """Where the inputs stood when it began to be noted up to where each session has changed; None: it was not yet."""
    ledger_floor: int = -(2**62)
    """Of sessions that were let go before nothing is known."""
    version: str = ""
    """Of the program that wrote it; empty of one that did not say."""
    figures: list[str] = []
    """What packed counts hold, by name and in the order of `figures.FIGURES`. Empty of a version that did not name them."""


class Section(msgspec.Struct, array_like=True):
    """A piece of the content of a checkpoint; only the first has a meta and what is dropped."""

    meta: bytes = b""
    drops: list[bytes] = []
    dropped_buckets: list[bytes] = []
    puts: list[tuple[bytes, bytes]] = []
    additions: list[tuple[bytes, bytes]] = []
