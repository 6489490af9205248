from stream.core.pure.packing import unpack as unpack
from stream.core.pure.packing import unpack_into as unpack_into
