"""What a purge deletes: the oldest letters, up to the first that is not meant."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import cli
from stream.config import Settings
from stream.dlq.purge import Cut
from stream.model.names import DEAD_LETTERS, Reason
from stream.sandbox.broker import EmbeddedKafka
from tests.dlq.tools import Rec, letter, refused, write
from tests.kafka.tools import everything, send, view
from tests.operate.tools import make


@given(st.lists(st.booleans()))
def test_all_before_the_first_that_is_not_meant_is_deleted(meant: list[bool]) -> None:
    cut = Cut("t", 0, 0)
    for offset, each in enumerate(meant):
        cut.add(letter(refused(Rec()), offset), meant=each)
    first = meant.index(False) if False in meant else len(meant)
    assert (cut.before, cut.letters, cut.kept) == (first, first, sum(meant[first:]))


def test_nothing_behind_the_last_letter_that_is_meant_is_deleted() -> None:
    """Of strangers, or of those who write on meanwhile."""
    cut = Cut("t", 0, 2)
    assert cut.before == 2
    for offset in (3, 5):
        cut.add(letter(refused(Rec()), offset), meant=True)
    assert (cut.before, cut.letters) == (6, 2)


def purge(config: Settings, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()  # what the test itself has logged
    with pytest.raises(SystemExit) as caught:
        cli.main(
            ["dlq", "purge", f"--brokers={config.brokers}", f"--topic-prefix={config.topic_prefix}", "--json", *words]
        )
    out, err = capsys.readouterr()
    assert (caught.value.code or 0) == code, err
    return orjson.loads(out) if out else err


@pytest.mark.kafka
def test_letters_are_deleted_only_with_their_number(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    late, early = Reason.LATE, Reason.FUTURE

    async def prepare() -> Settings:
        config = await make(kafka, prefix, 2)
        await write(kafka, config, [refused(Rec(view(1)), reason) for reason in (late, late, early, late)])
        await write(kafka, config, [refused(Rec(view(1)), reason) for reason in (early, late)], partition=1)
        return config

    async def reasons(partition: int) -> list[bytes]:
        found = await everything(kafka, config.topic(DEAD_LETTERS), partition)
        return [dict(each.headers)["liveshop-reason"] for each in found]

    config = asyncio.run(prepare())
    first, second = purge(config, capsys, "--reason=late")
    assert (first["before"], first["letters"], first["kept"], first["deleted"]) == (2, 2, 1, False)
    assert (second["letters"], second["kept"], second["deleted"]) == (0, 1, False)
    assert "there are 2 dead letters to delete now" in purge(config, capsys, "--reason=late", "--confirm=3", code=2)
    assert len(asyncio.run(reasons(0))) == 4
    first, second = purge(config, capsys, "--reason=late", "--confirm=2")
    assert (first["deleted"], second["deleted"]) == (True, False)
    assert asyncio.run(reasons(0)) == [b"future", b"late"]
    assert asyncio.run(reasons(1)) == [b"future", b"late"]
    assert [each["letters"] for each in purge(config, capsys, "--reason=late", "--confirm=0")] == [0, 0]
    assert [each["letters"] for each in purge(config, capsys, "--to", "-1h", "--confirm=4")] == [2, 2]
    assert asyncio.run(reasons(0)) == []


@pytest.mark.kafka
def test_records_of_strangers_stay_where_no_letter_is_behind_them_and_are_told_of_elsewhere(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def prepare() -> Settings:
        config = await make(kafka, prefix)
        for value in (b"between", b"behind"):
            await write(kafka, config, [refused(Rec(view(1)), Reason.LATE)])
            await send(kafka, config.topic(DEAD_LETTERS), [(b"k", value)])
        return config

    config = asyncio.run(prepare())
    with pytest.raises(SystemExit) as caught:
        cli.main(
            ["dlq", "purge", f"--brokers={config.brokers}", f"--topic-prefix={config.topic_prefix}", "--reason=late"]
        )
    assert not caught.value.code
    out, err = capsys.readouterr()
    assert "without --confirm 2" in out
    assert "are deleted where they lie before the offset: 2, the first at offset 1" in err
    [cut] = purge(config, capsys, "--reason=late", "--confirm=2")
    assert (cut["before"], cut["deleted"]) == (3, True)
    assert [each.value for each in asyncio.run(everything(kafka, config.topic(DEAD_LETTERS)))] == [b"behind"]


def test_all_is_never_meant_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["dlq", "purge", "--brokers=127.0.0.1:1", "--confirm=0"])
    assert caught.value.code == 2
    assert "--to: say up to when" in capsys.readouterr().err
