from stream.core.pure.counts import Counts as Counts
from stream.core.pure.panes import Pane as Pane
from stream.core.pure.panes import told_values as told_values
