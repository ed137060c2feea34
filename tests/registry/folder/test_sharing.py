"""New files and folders give access to the users of the folder, whatever the umask."""

import os
import stat

import pytest

from registry import ModelStage
from registry.folder import atomic_io
from registry.folder.registry_folder import RegistryFolder
from registry.folder.sharing import make_folder
from tests.registry.folder.conftest import NAME


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o000], ids=oct)
def foreign_umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        (0o700, 0o600),
        (0o750, 0o640),
        (0o755, 0o644),
        (0o775, 0o664),
        (0o2775, 0o664),
        (0o777, 0o666),
        (0o1777, 0o644),
    ],
    ids=oct,
)
def test_new_files_follow_their_folder(tmp_path, foreign_umask, folder, file):
    """A new file has the permissions of its folder; in a sticky one only the owner writes."""
    tmp_path.chmod(folder)
    atomic_io.write_file(tmp_path / "written", b"")
    atomic_io.append_line(tmp_path / "appended", b"")
    atomic_io.make_file(tmp_path / "made")
    atomic_io.copy_file(tmp_path / "written", tmp_path / "copied")
    assert {mode_of(path) for path in tmp_path.iterdir()} == {file}


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o664], ids=oct)
def test_replaced_file_stays_readable(tmp_path, foreign_umask, before):
    """A file that others could read before stays readable, in a narrower folder too."""
    tmp_path.chmod(0o700)
    (tmp_path / "file").touch(mode=before)
    (tmp_path / "file").chmod(before)
    atomic_io.write_file(tmp_path / "file", b"new")
    assert mode_of(tmp_path / "file") == before


def test_private_file_stays_private(tmp_path):
    """A file with a mode of its own does not follow its folder."""
    atomic_io.write_file(tmp_path / "file", b"secret", 0o600)
    assert mode_of(tmp_path / "file") == 0o600


def test_new_folder_follows_its_parent(tmp_path, foreign_umask):
    """A new folder has the permissions of its parent, setgid included."""
    for mode in (0o700, 0o750, 0o755, 0o2775):
        tmp_path.chmod(mode)
        make_folder(tmp_path / f"{mode:o}")
        assert mode_of(tmp_path / f"{mode:o}") == mode


def test_every_change_keeps_the_registry_readable(folder, register, promote, foreign_umask):
    """No job locks others out: not with a registration, a promotion, nor any other change."""
    folder.layout.root.mkdir(mode=0o755)
    folder.layout.root.chmod(0o755)
    register("1.0.0", "1.1.0", "1.2.0")
    promote("1.0.0", "1.1.0")
    folder.stages.set_stage(NAME, "1.2.0", ModelStage.STAGING)
    folder.stages.rollback(NAME)
    folder.versions.update_metrics(NAME, "1.1.0", {"accuracy": 1.0})
    folder.versions.delete(NAME, "1.1.0")
    modes = {
        path.relative_to(folder.layout.root): mode_of(path)
        for path in folder.layout.root.rglob("*")
        if not path.is_symlink()
    }
    assert len(modes) > 6
    for path, mode in modes.items():
        is_folder = (folder.layout.root / path).is_dir()
        assert mode == (0o755 if is_folder else 0o644), path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_root_writes_for_the_owner(tmp_path, clock, check):
    """What root changes in another user's registry belongs to that user."""
    root = tmp_path / "models"
    root.mkdir()
    os.chown(root, 12345, 23456)
    folder = RegistryFolder(root, check, clock)
    (tmp_path / "model.pt").write_text("weights")
    folder.versions.register(
        NAME, "1.0.0", {"model.pt": tmp_path / "model.pt"}, {"model_type": "Net"}
    )
    folder.stages.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION)
    owners = {
        (path.lstat().st_uid, path.lstat().st_gid)
        for path in root.rglob("*")
        if not path.is_symlink()
    }
    assert owners == {(12345, 23456)}
    atomic_io.write_file(root / "secret", b"secret", 0o600)
    assert (root / "secret").stat().st_uid == 12345
