"""A table of 64-bit hashes with a number each: a third of the memory of a dict where it is native."""

from typing import TYPE_CHECKING

from stream.core.switch import NATIVE

if TYPE_CHECKING or not NATIVE:
    from stream.core.pure.hashtable import HashTable
else:
    from stream.core.native.hashtable import HashTable

__all__ = ["HashTable"]
