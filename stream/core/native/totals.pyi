from stream.core.pure.counts import merge_breakdowns as merge_breakdowns
from stream.core.pure.counts import total as total
from stream.core.pure.ontime import column_of as column_of
