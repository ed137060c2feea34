"""A router follows the tokens."""

import asyncio

import pytest

from serve_app.access.token_follower import TokenFollower
from serve_app.access.token_source import ReadTokens
from serve_app.access.tokens import TokenTable
from serve_app.errors import TokenFileError
from serve_app.timeouts import TOKENS_FOLLOW_PERIOD_S, TOKENS_LATE_S

ONE, TWO = ((1, 1, 1), None), ((2, 2, 2), None)


class EndedError(Exception):
    pass


class Reads:
    """Returns or raises each result in turn, then ends the follower."""

    def __init__(self, *results):
        self.results, self.known = list(results), []

    async def __call__(self, known):
        self.known.append(known)
        if not self.results:
            raise EndedError
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


async def follow(*results):
    """Return the tables that a router adopted, and the revisions that it sent."""
    reads, adopted, slept = Reads(*results), [], []

    async def sleep(seconds):
        slept.append(seconds)
        await asyncio.sleep(0)

    follower = TokenFollower(reads, sleep)
    adopted.append(await follower.first())
    with pytest.raises(EndedError):
        await follower.follow_forever(adopted.append)
    assert set(slept) == {TOKENS_FOLLOW_PERIOD_S}
    return adopted, reads.known


async def test_changes_are_adopted():
    """Each changed table is adopted once, and its revision is known from then on."""
    first, second = TokenTable(), TokenTable()
    adopted, known = await follow(ReadTokens(ONE, first), None, ReadTokens(TWO, second), None)
    assert adopted == [first, second]
    assert known == [None, ONE, ONE, TWO, TWO]


async def test_last_tokens_hold(caplog):
    """While the tokens cannot be read, the last ones hold; the reason is logged once."""
    damaged = TokenFileError("tokens.json", "1 invalid entries")
    adopted, known = await follow(ReadTokens(ONE, TokenTable()), damaged, damaged, None)
    assert len(adopted) == 1
    assert known == [None, ONE, ONE, ONE, ONE]
    assert caplog.text.count("tokens not read, the last ones hold") == 1


async def test_router_does_not_start_without_tokens():
    """An unreadable file at the start is raised: without it, everybody would be let in."""
    follower = TokenFollower(Reads(TokenFileError("tokens.json", "damaged")))
    with pytest.raises(TokenFileError):
        await follower.first()


async def test_problem():
    """A source that fails is a problem with its reason, and so is one that does not respond."""
    now_s, hangs = 0.0, asyncio.Event()
    results = [ReadTokens(ONE, TokenTable()), TokenFileError("tokens.json", "damaged"), None]

    async def read(_known):
        if not results:
            await hangs.wait()
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    steps = asyncio.Semaphore(0)
    follower = TokenFollower(read, lambda _: steps.acquire(), lambda: now_s)
    await follower.first()
    following = asyncio.create_task(follower.follow_forever(lambda _: None))
    for problem in ("damaged", "None", "None"):
        steps.release()
        await asyncio.sleep(0.01)
        assert problem in str(await follower.problem())
    now_s += TOKENS_LATE_S + 0.1
    assert await follower.problem() == "no response for 1.3 s"
    following.cancel()
