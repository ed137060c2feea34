"""The environment in which a cluster starts."""

from pathlib import Path

import pytest
from ray.serve._private import constants

from serve_app.launch.environment import (
    MAX_HAPROXY_FOLDER_LENGTH,
    SERVER_ENVIRONMENT,
    haproxy_files,
    server_environment,
)

SOURCE = Path(constants.__file__).read_text()


def test_precedence():
    """Variables that are already set take precedence."""
    base = {"RAY_AUTH_MODE": "token", "HOME": "/home/bot"}
    environment = server_environment(base)
    assert environment == {**SERVER_ENVIRONMENT, **base}
    assert base == {"RAY_AUTH_MODE": "token", "HOME": "/home/bot"}


@pytest.mark.parametrize(
    "name", [name for name in SERVER_ENVIRONMENT if name.startswith("RAY_SERVE_")]
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
