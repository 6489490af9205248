"""Counts as bytes, and back: msgpack. What a quiet pane is held as, and what the state holds.

Money saturates, so that all of it can be packed; no count comes near 2^63.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from stream.core.state_format import Glance, Head, Outline
from stream.core.switch import NATIVE

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.packing import pack, pack_item, unpack, unpack_into
else:
    from stream.core.native.packing import pack, pack_item
    from stream.core.native.unpacking import unpack, unpack_into

head_of: Final = msgspec.msgpack.Decoder(Head).decode
outline_of: Final = msgspec.msgpack.Decoder(Outline).decode
glance_at: Final = msgspec.msgpack.Decoder(Glance).decode

__all__ = ["glance_at", "head_of", "outline_of", "pack", "pack_item", "unpack", "unpack_into"]
