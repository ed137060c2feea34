"""The environment in which a cluster starts."""

from pathlib import Path

import pytest
from ray.serve._private import constants

from serve_app.launch.environment import (
    MACHINE_ENVIRONMENT,
    MAX_HAPROXY_FOLDER_LENGTH,
    SERVER_ENVIRONMENT,
    client_environment,
    exported,
    haproxy_files,
    server_environment,
)
from serve_app.launch.ray_token import token_path

PATHS = {"RAY_AUTH_TOKEN_PATH": "/run/token", "RAY_TMPDIR": "/run/ray"}
SOURCE = Path(constants.__file__).read_text()


def test_precedence():
    """Variables that are already set take precedence."""
    base = {"RAY_worker_niceness": "5", **PATHS}
    environment = server_environment(base)
    assert environment == {**SERVER_ENVIRONMENT, **MACHINE_ENVIRONMENT, **base}
    assert base == {"RAY_worker_niceness": "5", **PATHS}


def test_token_file():
    """Ray finds the token by its path, unless a variable contains the token itself."""
    assert server_environment({})["RAY_AUTH_TOKEN_PATH"] == str(token_path({}))
    assert "RAY_AUTH_TOKEN_PATH" not in server_environment({"RAY_AUTH_TOKEN": "a"})


def test_client_environment():
    """A client has a token and accepts a loopback address; its own variables take precedence."""
    assert client_environment(PATHS) == {
        **PATHS,
        "RAY_AUTH_MODE": "token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def test_multi_node():
    """Only a cluster of several machines listens on the node's address."""
    own, shared = (exported({}, is_multi_node) for is_multi_node in (False, True))
    assert own.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0"
    assert shared.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "1"
    assert own == shared


@pytest.mark.parametrize(
    "name",
    [name for name in (*SERVER_ENVIRONMENT, *MACHINE_ENVIRONMENT) if name.startswith("RAY_SERVE_")],
)
def test_flag_exists(name):
    """Ray Serve reads each of its flags."""
    assert f'"{name}"' in SOURCE


def test_haproxy_files():
    """Every file of HAProxy lies in the folder, and Ray Serve reads each variable."""
    files = haproxy_files(Path("/tmp/a"))
    assert {Path(file).parent for file in files.values()} <= {Path("/tmp/a"), Path("/tmp")}
    assert all(f'"{name}"' in SOURCE for name in files)


def test_no_shared_files():
    """No file of HAProxy remains in Ray's shared folder."""
    default_names = {
        line.split('"')[1]
        for line in SOURCE.splitlines()
        if '"/tmp/haproxy-serve' in line and '"RAY_SERVE_' in line
    }
    assert default_names <= set(haproxy_files(Path("/tmp/a")))


def test_long_folder():
    """A folder that is too long for the paths of its sockets is rejected."""
    folder = Path("/" + "a" * MAX_HAPROXY_FOLDER_LENGTH)
    with pytest.raises(ValueError, match=r"expected a path of at most 27 .*received 28"):
        haproxy_files(folder)
    haproxy_files(Path(str(folder)[:-1]))
