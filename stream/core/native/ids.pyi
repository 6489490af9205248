from stream.core.pure.ids import IdSet as IdSet

PIECE: int
