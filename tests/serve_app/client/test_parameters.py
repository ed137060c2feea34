"""Proxies, the parameter that decides which address receives a call."""

import pytest

from serve_app.access.local_token import ensure_local_token
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError, ServerUnreachableError
from testkit.fake_server import MODELS, FakeServer, Reply, error

PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


async def test_proxy_receives_the_calls(server):
    """With `proxy`, the server's address need not be reachable from here; a password is sent."""
    server.script(MODELS, Reply([{"name": "net"}]))
    proxy = server.url.replace("http://", "http://bot:secret@")
    async with ModelClient("http://models.invalid:8001", timeout_s=5, proxy=proxy) as client:
        assert await client.list_models() == [{"name": "net"}]


async def test_environment_has_no_proxy(server, monkeypatch, free_port):
    """Variables for proxies do not capture the calls to a server on this machine."""
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.script(MODELS, Reply([{"name": "net"}]))
    async with ModelClient(server.url, timeout_s=5) as client:
        assert await client.list_models() == [{"name": "net"}]


async def test_unreachable_proxy(free_port):
    """The error names the proxy's address, without its password."""
    proxy = f"http://bot:secret@127.0.0.1:{free_port}"
    async with ModelClient(proxy=proxy, timeout_s=0.2, raise_errors=True) as client:
        with pytest.raises(ServerUnreachableError, match=f"127.0.0.1:{free_port}") as caught:
            await client.list_models()
    assert "secret" not in str(caught.value)


async def test_proxy_receives_no_local_token(monkeypatch, tmp_path):
    """The user's local token stays on this machine: the proxy may be on another one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ensure_local_token()
    async with FakeServer() as proxy:
        proxy.script(MODELS, Reply(error("missing_token", "a token is required"), 401))
        async with ModelClient(proxy.url, proxy=proxy.url, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError, match="missing_token"):
                await client.list_models()
        assert proxy.authorizations == [None]


@pytest.mark.parametrize(
    "proxy",
    [
        *("", "proxy:3128", "http://", "http://p:0", "http://p/a", 7),
        *("socks5://bot:secret@proxy:1080", "http://bot:secret@proxy:99999"),
    ],
)
def test_unusable_proxy(proxy):
    """A proxy that cannot be used is rejected, and the error does not repeat a password."""
    with pytest.raises(ValueError, match="proxy: expected http://host:port") as caught:
        ModelClient(proxy=proxy)
    assert "secret" not in str(caught.value)
