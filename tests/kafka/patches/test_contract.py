"""What the patches of aiokafka stand on is as it was when they were made; and each is still needed."""

import ast
import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import BaseHandler, EndTxnHandler, Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.transaction import EndTxnRequest

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import client, patches

UPSTREAM: Final = Path(aiokafka.__file__).parent
OURS: Final = Path(patches.__file__).parent

STANDS_ON: Final[dict[str, dict[Any, str]]] = {
    "fetch": {
        Fetcher.__init__: "bf21ecb7e0f2",
        Fetcher._proc_fetch_request: "59bf948fff47",
        Fetcher._fetch_requests_routine: "2a8ec5932644",
        Fetcher.fetched_records: "be4348896b9b",
        FetchResult: "d7db13f06de8",
        PartitionRecords: "94aa0da0dbec",
    },
    "fetchbyid": {
        FetchRequest: "ef21d383f137",
        AIOKafkaConnection.send: "5909ea32f4ef",
        AIOKafkaConnection._handle_frame: "46a7d9b8cf7c",
    },
    "aborted": {
        PartitionRecords._consume_aborted_up_to: "56876530cd64",
        PartitionRecords._unpack_records: "b803e6d46480",
    },
    "end_txn": {
        AIOKafkaProducer.commit_transaction: "c7f9677c8941",
        BaseHandler: "41fc76293ab9",
        EndTxnHandler: "47656efcfc99",
        Sender._sender_routine: "2380dc5e333d",
        Sender._find_coordinator: "33001a36bf6a",
        TransactionManager: "d0932794d69a",
    },
    "abort_producer": {
        AIOKafkaProducer.stop: "43ef97147111",
        MessageAccumulator: "562530971ca9",
        MessageBatch: "36a7b1dac89d",
        Sender._sender_routine: "2380dc5e333d",
    },
    "connection": {AIOKafkaClient: "e5e5f4239536", AIOKafkaConnection: "ac26ab36fe7c"},
    "admin": {AIOKafkaAdminClient._send_request: "1ed126f126dd"},
    "access": {
        AIOKafkaAdminClient._send_request_to_node: "5123e2972003",
        AIOKafkaConsumer.__init__: "01506f316191",
        AIOKafkaProducer.__init__: "fd6f2966fb3d",
    },
}
"""By patch: what it replaces, wraps or knows by heart, and a hash of its source."""


def patch_modules() -> Iterator[Path]:
    return (path for path in sorted(OURS.glob("*.py")) if path.name != "__init__.py")


def test_every_patch_says_what_it_stands_on_and_is_in_the_list() -> None:
    names = [path.stem for path in patch_modules()]
    assert sorted(STANDS_ON) == names
    for name in names:
        assert f"\n{name} " in (patches.__doc__ or ""), f"the list in patches/__init__.py does not name {name}"


@pytest.mark.parametrize("patch", STANDS_ON)
def test_upstream_is_as_it_was(patch: str) -> None:
    """Fails for each new version that changes what a patch stands on: read both, then write the new hash down."""
    found = {part.__qualname__: digest(part) for part in STANDS_ON[patch]}
    assert found == {part.__qualname__: known for part, known in STANDS_ON[patch].items()}


def digest(part: Any) -> str:
    return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12]


def test_every_private_name_of_the_patches_is_one_of_aiokafka_or_ours() -> None:
    theirs = "".join(path.read_text() for path in UPSTREAM.rglob("*.py"))
    unknown = []
    for path in patch_modules():
        text = path.read_text()
        own = {name for name, is_own in private_names(text) if is_own}
        unknown += [
            f"{path.name}: {name}"
            for name, is_own in private_names(text)
            if not is_own and name not in own
            if f".{name}" not in theirs and f"def {name}" not in theirs
        ]
    assert unknown == []


def private_names(text: str) -> Iterator[tuple[str, bool]]:
    """And whether it is set on, or defined by, a class of ours."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            yield node.attr, is_self and isinstance(node.ctx, ast.Store)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, True
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            yield node.target.attr, True


def test_an_untested_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked anything. Its own reading has no bounds."""

    async def main() -> None:
        config = Settings(brokers="127.0.0.1:1")
        for make in (client.make_reader, partial(client.make_member, name="worker"), client.make_admin):
            with pytest.raises(FailedError, match=r"was not tested: install 0\.0\.1"):
                await client.start(make(config), config)

    monkeypatch.setattr(patches, "TESTED", "0.0.1")
    asyncio.run(main())


def test_the_installed_version_is_the_tested_one() -> None:
    patches.check_version()


# -- each is still needed


def test_aiokafka_still_makes_an_object_of_each_record() -> None:
    assert "ConsumerRecord(" in inspect.getsource(PartitionRecords)


def test_aiokafka_still_fetches_by_name() -> None:
    assert "topic_id" not in inspect.getsource(FetchRequest)


def test_aiokafka_still_asks_for_the_end_of_a_transaction_in_a_version_that_cannot_tell_them_apart() -> None:
    """From version 5 on a new epoch comes with each transaction (KIP-890)."""
    assert EndTxnRequest.API_KEY == 26
    assert max(version.API_VERSION for version in RequestStruct.__subclasses__() if version.API_KEY == 26) < 5


def test_aiokafka_still_has_no_stop_without_waiting() -> None:
    assert "timeout" not in inspect.signature(AIOKafkaProducer.stop).parameters


def test_aiokafka_still_knows_no_end_of_a_login() -> None:
    assert "session_lifetime" not in inspect.getsource(AIOKafkaConnection) + inspect.getsource(AIOKafkaClient)


def test_aiokafka_still_goes_on_without_a_broker() -> None:
    """It looks whether there is any, and then only keeps the connection."""
    assert "self._conns[bootstrap_id] = bootstrap_conn" in inspect.getsource(AIOKafkaClient.bootstrap)


def test_aiokafka_s_admin_still_asks_one_broker_once() -> None:
    assert "except" not in inspect.getsource(AIOKafkaAdminClient._send_request)
