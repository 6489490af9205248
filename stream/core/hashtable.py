"""A table of 64-bit hashes with a number each: a third of the memory of a dict where it is native."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.core.pure.hashtable import HashTable
else:
    try:
        from stream.core.native.hashtable import HashTable
    except ImportError:
        from stream.core.pure.hashtable import HashTable

__all__ = ["HashTable"]
