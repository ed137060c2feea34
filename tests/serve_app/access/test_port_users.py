"""The users that listen on a port."""

import socket

import pytest

from serve_app.access.port_users import is_port_of_user, users_of_port


@pytest.mark.parametrize(
    ("users", "expected"), [([], False), ([0], True), ([4321], False), ([0, 4321], False)]
)
def test_port_of_another_user(tmp_path, users, expected):
    """A port on which another user listens is recognised, also beside a listener of root."""
    table = tmp_path / "tcp"
    rows = [f" 0: 0100007F:1F41 00000000:0000 0A 0:0 00:0 0 {user} 0 1 1" for user in users]
    elsewhere = " 1: 0100007F:1F42 00000000:0000 0A 0:0 00:0 0 4321 0 1 1"
    connected = " 2: 0100007F:1F41 0100007F:9999 01 0:0 00:0 0 4321 0 1 1"
    table.write_text("\n".join(["sl local_address ...", *rows, elsewhere, connected]))
    assert is_port_of_user(8001, tables=[table, tmp_path / "missing"]) is expected


@pytest.mark.parametrize(("user", "expected"), [(4321, True), (4322, False)])
def test_port_of_a_named_user(tmp_path, user, expected):
    """A port may be that of a user that the caller names."""
    table = tmp_path / "tcp"
    table.write_text("sl ...\n 0: 0100007F:1F41 00000000:0000 0A 0:0 00:0 0 4321 0 1 1\n")
    assert is_port_of_user(8001, user, [table]) is expected
    assert users_of_port(8001, [table]) == {4321}


def test_port_of_this_user():
    """The kernel's tables have the form that is read; without them every port is trusted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert is_port_of_user(server.getsockname()[1])
    assert is_port_of_user(1, tables=[])
