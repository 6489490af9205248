from stream.core.pure.packing import pack as pack
from stream.core.pure.packing import pack_item as pack_item
from stream.core.pure.packing import unpack as unpack
from stream.core.pure.packing import unpack_into as unpack_into
