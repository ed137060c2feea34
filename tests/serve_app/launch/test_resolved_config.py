"""The configuration that Serve receives does not depend on where it starts."""

from pathlib import Path

import pytest

from serve_app.launch.resolved_config import ipv6_host, resolved

BUILDER = "serve_app.app:build"
FOLDER = Path("/bots/momentum")


def resolved_args(**args):
    content = {"applications": [{"name": "a", "import_path": BUILDER, "args": args}]}
    return resolved(content, BUILDER, FOLDER)["applications"][0]["args"]


def test_default_registry():
    """The default registry is that of the working directory, as before."""
    content = {"applications": [{"import_path": BUILDER}]}
    (application,) = resolved(content, BUILDER, FOLDER)["applications"]
    assert application["args"] == {"registry_root": "/bots/momentum/models"}
    assert content == {"applications": [{"import_path": BUILDER}]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("reg", "/bots/momentum/reg"),
        ("../reg", "/bots/momentum/../reg"),
        ("/data/reg", "/data/reg"),
    ],
)
def test_paths(path, expected):
    """Every path in our settings is absolute."""
    args = resolved_args(
        registry_root=path,
        access={"token_file": path, "anonymous": True},
        experiments={"database_url": f"sqlite:///{path}"},
    )
    assert args["registry_root"] == args["access"]["token_file"] == expected
    assert args["access"]["anonymous"] is True
    assert args["experiments"]["database_url"] == f"sqlite:///{expected}"


def test_other_databases():
    """A database that is no file is kept."""
    url = "postgresql://user:password@host/database"
    assert resolved_args(experiments={"database_url": url})["experiments"]["database_url"] == url


def test_other_applications():
    """Applications of others are unchanged."""
    application = {"name": "b", "import_path": "bot:app", "args": {"registry_root": "x"}}
    assert resolved({"applications": [application]}, BUILDER, FOLDER)["applications"] == [
        application
    ]


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("::", "0.0.0.0"),
        ("0:0:0:0:0:0:0:0", "0.0.0.0"),
        ("::1", "127.0.0.1"),
        ("[::1]", "127.0.0.1"),
        ("fd00::5", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("192.0.2.1", "192.0.2.1"),
        ("localhost", "localhost"),
    ],
)
def test_host(host, served):
    """Behind an IPv6 address of HAProxy, Serve listens on the IPv4 counterpart."""
    content = {"applications": [], "http_options": {"host": host, "port": 8001}}
    http = resolved(content, BUILDER, FOLDER)["http_options"]
    assert http == {"host": served, "port": 8001}
    assert (ipv6_host(host) is None) == (host == served)
