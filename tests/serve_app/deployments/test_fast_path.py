"""Who answers what in a router's process: its short way, or Serve."""

import asyncio
from types import SimpleNamespace

import pytest
from ray import serve
from starlette.responses import PlainTextResponse

from serve_app.deployments import fast_path
from serve_app.deployments.fast_path import ShortWay, TakeShortWay, middlewares


def is_hot(scope):
    return scope["path"] == "/hot"


@pytest.fixture
def serves(monkeypatch):
    """Say what Serve serves in this process."""

    def say(served):
        context = SimpleNamespace(servable_object=served)
        monkeypatch.setattr(serve, "get_replica_context", lambda: context)

    return say


async def who_answers(path):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path}
    await TakeShortWay(PlainTextResponse("Serve"))(scope, None, send)
    return sent[1]["body"].decode()


def router():
    return SimpleNamespace(short_way=ShortWay(PlainTextResponse("router"), is_hot, 1))


async def test_the_router_answers_what_its_short_way_is_meant_for_and_serve_the_rest(serves):
    serves(router())
    assert await who_answers("/hot") == "router"
    assert await who_answers("/cold") == "Serve"


@pytest.mark.parametrize("served", [None, object()])
async def test_serve_answers_everything_where_no_router_is_served(serves, served):
    serves(served)
    assert await who_answers("/hot") == "Serve"


async def test_serve_answers_everything_where_its_server_has_a_loop_of_its_own(serves):
    serves(router())
    assert await asyncio.to_thread(asyncio.run, who_answers("/hot")) == "Serve"


def test_a_proxy_has_no_short_way():
    assert middlewares() == []


def test_a_replica_has_one(monkeypatch):
    monkeypatch.setattr(fast_path.serve, "get_replica_context", lambda: SimpleNamespace())
    assert [each.cls for each in middlewares()] == [TakeShortWay]


async def test_no_more_requests_than_allowed_are_in_work():
    in_work, most, go = set(), [], asyncio.Event()

    async def app(scope, receive, send):
        in_work.add(scope["number"])
        most.append(len(in_work))
        await go.wait()
        in_work.discard(scope["number"])

    way = ShortWay(app, is_hot, 2)
    requests = [asyncio.create_task(way({"number": n}, None, None)) for n in range(5)]
    await asyncio.sleep(0.01)
    assert most == [1, 2]
    go.set()
    await asyncio.gather(*requests)
    assert (len(most), max(most)) == (5, 2)
