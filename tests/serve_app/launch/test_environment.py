"""The flags a cluster starts with."""

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


def test_what_the_operator_has_set_wins():
    base = {"RAY_AUTH_MODE": "token", "HOME": "/home/bot"}
    environment = server_environment(base)
    assert environment == {**SERVER_ENVIRONMENT, **base}
    assert base == {"RAY_AUTH_MODE": "token", "HOME": "/home/bot"}


@pytest.mark.parametrize(
    "name", [name for name in SERVER_ENVIRONMENT if name.startswith("RAY_SERVE_")]
)
def test_ray_serve_knows_the_flag(name):
    assert f'"{name}"' in SOURCE


def test_every_file_of_haproxy_lies_in_the_folder_and_ray_serve_knows_the_variable():
    files = haproxy_files(Path("/tmp/a"))
    assert {Path(each).parent for each in files.values()} <= {Path("/tmp/a"), Path("/tmp")}
    assert all(f'"{name}"' in SOURCE for name in files)


def test_no_file_of_haproxy_stays_in_rays_shared_folder():
    default_names = {
        line.split('"')[1]
        for line in SOURCE.splitlines()
        if '"/tmp/haproxy-serve' in line and '"RAY_SERVE_' in line
    }
    assert default_names <= set(haproxy_files(Path("/tmp/a")))


def test_a_folder_too_long_for_its_sockets_is_refused():
    folder = Path("/" + "a" * MAX_HAPROXY_FOLDER_LENGTH)
    with pytest.raises(ValueError, match=r"expected a path of at most 27 .*received 28"):
        haproxy_files(folder)
    haproxy_files(Path(str(folder)[:-1]))
