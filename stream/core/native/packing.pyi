from stream.core.pure.packing import pack as pack
from stream.core.pure.packing import pack_item as pack_item
