"""Everything that touches private names of aiokafka. No other module does (tests/test_layout.py).

Each module is one patch. Its docstring says what aiokafka does that we cannot live with; tests/kafka/patches holds each to
what it stands on, so that a version which changes that, or makes a patch needless, is noticed. All were made for the one
version of `TESTED`: what they change has no promise behind it, so another one is refused at the start.

==============  ==========================================================  =================================================
module          what is changed, and why                                    upstream
==============  ==========================================================  =================================================
fetch           the fetcher's buffer: batches are unpacked within bounds,   none found for the bounds; the pause of 0.1 s
                and handed out in one step instead of a dataclass a record  beside unread records came with pull request 534
fetchbyid       fetches name topics by id: one that was made anew under     none found (KIP-516)
                its name does not answer for the one before
aborted         nothing: which batches aiokafka would leave out             none needed
end_txn         the end of a transaction is asked for until it is           none found for late copies (KIP-890); issue 1145
                confirmed, and a producer that needed two requests for it   and issue 1133: a coordinator that is gone
                is given up
abort_producer  nothing: ends the tasks of a producer whose brokers are     issue 1101: stop() waits for ever
                gone, and retrieves the failures that nobody awaits
connection      logins are renewed in time; what a token was refused for    issues 1080, 1015, pull request 1105 (KIP-368);
                is said; a bootstrap leaves no connection open, and a       issue 460: a cluster that names no broker
                cluster without a broker is no connection
admin           a question is asked of another broker when one is away      issue 939 (the same: 865)
access          nothing: the client beneath a consumer, a producer or an    none needed
                admin client, to send what aiokafka has no method for
==============  ==========================================================  =================================================

Upstream is github.com/aio-libs/aiokafka.
"""

from typing import Final

import aiokafka

from stream.errors import FailedError

TESTED: Final = "0.14.0"


def check_version() -> None:
    """To be called before a connection is started. FailedError for an aiokafka that these patches were not made for."""
    if aiokafka.__version__ != TESTED:
        raise FailedError(f"this aiokafka ({aiokafka.__version__}) was not tested: install {TESTED}")
