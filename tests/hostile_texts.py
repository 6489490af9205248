"""Texts that want to be more than a text: to a terminal, to rich, to a log or to a page."""

HOSTILE_IDS = (
    "[red]x",
    "[bold]x[",
    "[link=https://example]x",
    ":100:",
    "\u202e0137",
    "a\u200bb\u2060",
    "\U000e0041\U000e0042",
    "a\u2028b\u2029c",
    "\u3164",
    "a" + "\u0301" * 100,
    "\U0001f389" * 64,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x" * 128,
    "直" * 128,
    'a"b\\n{le="1"} 5',
    r"\x1b[31m",
    "%s {0} ${x}",
    "<script>x",
    "all others",
    "\ue000",
)
"""A producer may name a session or a seller so: no control character, no slash, 128 characters."""

HOSTILE_TEXTS = (
    *HOSTILE_IDS,
    "\x1b[2J\x1b[31mx",
    "\x9b31mx",
    "[/]",
    "[/red]x",
    "a\r\nlevel=error event=forged",
    "\x07\x08",
    "\ud800",
)
"""What may stand in a page, a file, a broker's words or an exception, too."""
