from collections.abc import Sequence

from stream.core.decode import Events
from stream.core.judge import Judge
from stream.model.names import Kind
from stream.model.results import Record

class Index: ...

def judge_plain(judge: Judge, kind: Kind, records: Sequence[Record], events: Events) -> None: ...
