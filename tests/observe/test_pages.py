"""Pages are made once, however many ask."""

import asyncio
import threading
from http import HTTPStatus

from structlog.testing import capture_logs

from stream.observe.pages import FAILED, TEXT, Answer, Page

DEADLINE = 60.0


class Maker:
    """Makes a page when it is let, and counts how often."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.made = 0

    def __call__(self) -> Answer:
        assert self.gate.wait(DEADLINE)
        self.made += 1
        return Answer(HTTPStatus.OK, TEXT, b"%d" % self.made)


def test_whoever_asks_while_a_page_is_made_is_given_that_one() -> None:
    async def main() -> None:
        maker = Maker()
        page = Page("p", maker, every=0.0)
        asking = [asyncio.create_task(page.get()) for _ in range(100)]
        await asyncio.sleep(0)
        maker.gate.set()
        async with asyncio.timeout(DEADLINE):
            assert {(await each).body for each in asking} == {b"1"}
            assert (await page.get()).body == b"2", "it may not be kept at all"

    asyncio.run(main())


def test_a_page_is_handed_out_until_it_is_too_old() -> None:
    async def main() -> None:
        maker = Maker()
        maker.gate.set()
        page = Page("p", maker, every=0.3)
        async with asyncio.timeout(DEADLINE):
            loop = asyncio.get_running_loop()
            asked = loop.time()
            assert (await page.get()).body == b"1"
            while (await page.get()).body == b"1":  # noqa: ASYNC110 - nobody tells when it is too old
                await asyncio.sleep(0)
        assert loop.time() - asked >= 0.3

    asyncio.run(main())


def test_one_who_does_not_wait_any_more_takes_it_from_nobody() -> None:
    async def main() -> None:
        maker = Maker()
        page = Page("p", maker, every=60.0)
        leaving, staying = asyncio.create_task(page.get()), asyncio.create_task(page.get())
        await asyncio.sleep(0)
        leaving.cancel()
        maker.gate.set()
        async with asyncio.timeout(DEADLINE):
            assert (await staying).body == b"1"
            assert (await page.get()).body == b"1"

    asyncio.run(main())


def test_a_page_that_fails_is_told_once_and_tried_again_later() -> None:
    async def main() -> None:
        def fail() -> Answer:
            raise ZeroDivisionError

        page = Page("p", fail, every=60.0)
        with capture_logs() as lines:
            async with asyncio.timeout(DEADLINE):
                assert [await page.get() for _ in range(10)] == [FAILED] * 10
        assert [line["event"] for line in lines] == ["a page could not be made"]

    asyncio.run(main())
