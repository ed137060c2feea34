"""Tokens and certificates of the client."""

import ssl

import pytest

from serve_app.access.local_token import ensure_local_token, local_token_path
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError, ServerUnreachableError
from testkit.certificates import write_certificate
from testkit.fake_server import MODELS, FakeServer, Reply, error

SECRET = "ts_secret-of-a-test"
MISSING = Reply(error("missing_token", "a token is required"), 401)
INVALID = Reply(error("invalid_token", "the server does not know it"), 401)
LISTED = Reply([])


@pytest.fixture
async def server():
    async with FakeServer() as server:
        yield server


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home without a local token."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


async def list_models(url, calls=1, **parameters):
    async with ModelClient(url, raise_errors=True, **parameters) as client:
        for _ in range(calls):
            await client.list_models()


async def test_token_is_sent(server, monkeypatch):
    """A token that is passed is sent, otherwise that of the environment."""
    server.script(MODELS, LISTED)
    await list_models(server.url)
    await list_models(server.url, token=SECRET)
    monkeypatch.setenv("TRADESERVE_TOKEN", "ts_other")
    await list_models(server.url, token=SECRET)
    await list_models(server.url)
    expected = [None, f"Bearer {SECRET}", f"Bearer {SECRET}", "Bearer ts_other"]
    assert server.authorizations == expected


async def test_local_token_on_request(server):
    """The local token is sent from the moment at which a server on this machine requires one."""
    local = f"Bearer {ensure_local_token()}"
    server.script(MODELS, LISTED, MISSING, LISTED)
    await list_models(server.url, calls=3)
    assert server.authorizations == [None, None, local, local]


async def test_local_token_stays_from_other_users(server, monkeypatch):
    """A program of another user that listens on the port in the server's place gets no token."""
    ensure_local_token()
    monkeypatch.setattr("serve_app.client.credentials.is_port_of_user", lambda port: False)
    server.script(MODELS, MISSING)
    with pytest.raises(ServerRejectedError):
        await list_models(server.url)
    assert server.authorizations == [None]


async def test_rejected_local_token(server):
    """A server that rejects the local token still receives calls without it."""
    local = f"Bearer {ensure_local_token()}"
    server.script(MODELS, MISSING, INVALID, LISTED)
    with pytest.raises(ServerRejectedError, match="invalid_token"):
        await list_models(server.url)
    async with ModelClient(server.url, raise_errors=True) as client:
        server.script(MODELS, MISSING, INVALID, LISTED)
        with pytest.raises(ServerRejectedError):
            await client.list_models()
        await client.list_models()
    assert server.authorizations == [None, local, None, local, None]


async def test_replaced_local_token(server):
    """A server that no longer accepts the token receives the one that replaced it."""
    old = ensure_local_token()
    server.script(MODELS, MISSING, LISTED, INVALID, LISTED)
    async with ModelClient(server.url, raise_errors=True) as client:
        await client.list_models()
        local_token_path().unlink()
        new = ensure_local_token()
        await client.list_models()
    expected = [None, f"Bearer {old}", f"Bearer {old}", f"Bearer {new}"]
    assert server.authorizations == expected


async def test_local_token_stays_on_the_machine(server):
    """A server under another name never receives the local token."""
    ensure_local_token()
    server.script(MODELS, MISSING)
    with pytest.raises(ServerRejectedError, match="missing_token"):
        await list_models(server.url.replace("127.0.0.1", "0.0.0.0"))
    assert server.authorizations == [None]


async def test_explicit_token_is_not_replaced(server):
    """A token that was passed and is rejected is an error, whatever else is there."""
    ensure_local_token()
    server.script(MODELS, INVALID)
    with pytest.raises(ServerRejectedError, match="invalid_token"):
        await list_models(server.url, token=SECRET)
    assert server.authorizations == [f"Bearer {SECRET}"]


async def test_rate_limit_is_retried(server):
    """A 429 is retried within the deadline, like a 503."""
    server.script(MODELS, Reply(error("rate_limited", "later"), 429), LISTED)
    await list_models(server.url)
    assert len(server.authorizations) == 2


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel", 3])
def test_invalid_token(token):
    """A token that no header can carry is rejected, and the message does not repeat it."""
    with pytest.raises(ValueError, match="token") as caught:
        ModelClient(token=token)
    assert not token or str(token) not in str(caught.value)


async def test_no_text_contains_the_token(server, caplog):
    """Neither the client, its errors, its log nor the URL contain the token."""
    server.script(MODELS, INVALID)
    async with ModelClient(server.url, raise_errors=True, token=SECRET) as client:
        with pytest.raises(ServerRejectedError) as caught:
            await client.list_models()
        texts = [repr(client), str(client), repr(vars(client)), str(caught.value), caplog.text]
    assert not any(SECRET in text for text in texts)
    assert list(server.received) == [MODELS]


class TestTls:
    """An https server with a certificate of its own authority."""

    @pytest.fixture(scope="class")
    @staticmethod
    def certificate(tmp_path_factory):
        """A certificate for 127.0.0.1 and its key, in one file."""
        return write_certificate(tmp_path_factory.mktemp("tls") / "server.pem")

    @pytest.fixture
    async def tls_server(self, certificate):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        async with FakeServer(tls=context) as server:
            server.script(MODELS, LISTED)
            yield server

    async def test_known_authority(self, tls_server, certificate):
        """A client that trusts the certificate calls the server, and sends its token."""
        await list_models(tls_server.url, ca_file=certificate, token=SECRET)
        assert tls_server.authorizations == [f"Bearer {SECRET}"]

    async def test_unknown_authority(self, tls_server):
        """A server whose certificate is not trusted receives nothing."""
        with pytest.raises(ServerUnreachableError, match="certificate verify failed"):
            await list_models(tls_server.url, token=SECRET, timeout_s=2)
        assert tls_server.authorizations == []

    def test_unreadable_file(self, tmp_path):
        """A file without certificates is an error of the parameter."""
        for path in (tmp_path / "missing.pem", __file__):
            with pytest.raises(ValueError, match="ca_file"):
                ModelClient(ca_file=path)
