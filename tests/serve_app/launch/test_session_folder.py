"""Ray's temporary folder."""

import os

import pytest

from serve_app.launch.environment import server_environment
from serve_app.launch.errors import SessionFolderError
from serve_app.launch.session_folder import (
    MAX_FOLDER_BYTES,
    default_folder,
    logs_folder,
    prepare_folder,
)


@pytest.fixture
def environment(short_folder):
    """The environment of a server whose TMPDIR is empty."""
    return server_environment({"TMPDIR": str(short_folder)})


def test_new_folder(environment):
    """Only its user can enter the folder, which a second start accepts."""
    for _start in range(2):
        prepare_folder(environment)
        folder = default_folder(environment)
        assert environment["RAY_TMPDIR"] == str(folder)
        assert folder.stat().st_mode & 0o7777 == 0o700


def test_default_folder_fits():
    """The folder of every user below /tmp is short enough for the paths of sockets."""
    longest = str(default_folder({})).replace(str(os.getuid()), str(2**32 - 2))
    assert len(longest) <= MAX_FOLDER_BYTES
    socket = f"{longest}/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/dash_TaskEventsHead"
    assert len(socket) <= 107


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_open_folder(environment, mode):
    """A folder that others may enter is rejected, since they may have changed what it contains."""
    default_folder(environment).mkdir()
    default_folder(environment).chmod(mode)
    with pytest.raises(SessionFolderError, match=f"expected mode 0700, received {mode:04o}"):
        prepare_folder(environment)


def test_folder_of_another_user(environment, monkeypatch):
    """A folder that another user has created in its place is rejected with the remedy."""
    default_folder(environment).mkdir(mode=0o700)
    owner, folder = os.getuid(), default_folder(environment)
    monkeypatch.setattr("serve_app.launch.session_folder.default_folder", lambda _: folder)
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(SessionFolderError, match=f"received one of user {owner}; .* RAY_TMPDIR"):
        prepare_folder(environment)


def test_link(environment, short_folder):
    """A link in its place is rejected, wherever it leads."""
    (short_folder / "elsewhere").mkdir(mode=0o700)
    default_folder(environment).symlink_to(short_folder / "elsewhere")
    with pytest.raises(SessionFolderError, match="expected a folder of this user"):
        prepare_folder(environment)


def test_long_path():
    """A path with which Ray's sockets could not be opened is rejected before Ray starts."""
    environment = server_environment({"RAY_TMPDIR": "/" + "a" * MAX_FOLDER_BYTES})
    with pytest.raises(SessionFolderError, match=r"at most 32 bytes, .* received one of 33"):
        prepare_folder(environment)


def test_long_default():
    """A TMPDIR that is too long for the paths of sockets is not used."""
    assert default_folder({"TMPDIR": "/" + "a" * 12}).parent != default_folder({}).parent
    assert default_folder({"TMPDIR": "/" + "a" * 30}) == default_folder({})


def test_chosen_folder(short_folder):
    """A folder that the operator chose is used as it is."""
    environment = server_environment({"RAY_TMPDIR": str(short_folder / "mine")})
    prepare_folder(environment)
    assert environment["RAY_TMPDIR"] == str(short_folder / "mine")
    assert not (short_folder / "mine").exists()


def test_logs(short_folder):
    """The logs of a server are those of its own session, also beside a later one."""
    sessions = short_folder / "ray"
    for name in ("session_2026-01-01_00-00-00_000000_7", "session_2026-01-02_00-00-00_000000_8"):
        (sessions / name).mkdir(parents=True)
    environment = {"RAY_TMPDIR": str(short_folder)}
    own = sessions / "session_2026-01-01_00-00-00_000000_7" / "logs" / "serve"
    assert logs_folder(environment, 7) == own
    assert logs_folder(environment, 9) == sessions / "session_latest" / "logs" / "serve"
